"""The look from one set of values: CSS variables, the Gradio theme, and the files of the assets folder."""

from __future__ import annotations

import inspect
from pathlib import Path

import gradio as gr

from engine import messages

ASSETS = Path(__file__).resolve().parent.parent / "assets"
LIGHT = {
    "page": "#F6F7F9", "surface": "#FFFFFF", "sunken": "#EEF1F4", "line": "#DDE2E8", "text": "#14202B", "muted": "#5A6875",
    "accent": "#0B7A75", "on-accent": "#FFFFFF", "good": "#2E7D32", "warn": "#B26A00", "bad": "#B3261E", "edge": "#7D8A97",
}
DARK = {
    "page": "#0E1318", "surface": "#161D24", "sunken": "#0A0E12", "line": "#26303A", "text": "#E8EDF2", "muted": "#93A1AE",
    "accent": "#3CC7BE", "on-accent": "#0A0E12", "good": "#66BB6A", "warn": "#FFB74D", "bad": "#F2776B", "edge": "#66747F",
}
WELL = "#0A0E12"
FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans SC", "PingFang SC", "Microsoft YaHei", "sans-serif")
MONOSPACE = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")
# token -> the settings of a Gradio theme that take it
PAINT = {
    "page": """
        body_background_fill""",
    "text": """
        body_text_color block_title_text_color button_secondary_text_color button_secondary_text_color_hover checkbox_label_text_color
        table_text_color accordion_text_color""",
    "muted": """
        body_text_color_subdued block_label_text_color block_info_text_color input_placeholder_color""",
    "surface": """
        background_fill_primary block_background_fill block_label_background_fill panel_background_fill input_background_fill
        input_background_fill_hover button_secondary_background_fill button_cancel_background_fill checkbox_background_color
        checkbox_label_background_fill table_even_background_fill table_odd_background_fill error_background_fill""",
    "sunken": """
        background_fill_secondary color_accent_soft button_secondary_background_fill_hover button_cancel_background_fill_hover
        checkbox_label_background_fill_hover checkbox_label_background_fill_selected table_row_focus code_background_fill""",
    "line": """
        border_color_primary block_border_color panel_border_color checkbox_label_border_color table_border_color""",
    "accent": """
        border_color_accent color_accent input_border_color_focus button_primary_background_fill button_primary_background_fill_hover
        button_primary_border_color slider_color loader_color checkbox_background_color_selected checkbox_border_color_selected
        checkbox_border_color_focus checkbox_label_border_color_selected link_text_color link_text_color_hover link_text_color_visited
        link_text_color_active stat_background_fill""",
    "edge": """
        input_border_color button_secondary_border_color checkbox_border_color""",
    "on-accent": """
        button_primary_text_color button_primary_text_color_hover""",
    "bad": """
        button_cancel_text_color button_cancel_text_color_hover button_cancel_border_color error_text_color error_border_color
        error_icon_color""",
}
SHADOW = "0 1px 3px rgb(10 14 18 / 12%)"
UNSHADED = "block_shadow input_shadow input_shadow_focus button_primary_shadow button_secondary_shadow"
SHAPES = {
    "shadow_drop": SHADOW, "shadow_drop_lg": SHADOW, "block_border_width": "1px", "block_border_width_dark": "1px", "input_border_width": "1px",
    "input_border_width_dark": "1px", "button_border_width": "1px", "button_border_width_dark": "1px", "block_radius": "8px",
    "button_large_radius": "8px", "button_medium_radius": "8px", "button_small_radius": "8px", "input_radius": "8px", "container_radius": "8px",
    "block_label_radius": "8px", "block_title_text_weight": "500", "block_title_text_size": "13px", "block_label_text_size": "13px",
    "input_text_size": "15px", "button_large_text_size": "15px", "button_medium_text_size": "15px", "button_small_text_size": "13px",
    "button_large_text_weight": "600", "button_medium_text_weight": "500", "button_small_text_weight": "500",
    "button_transition": "background-color 120ms, border-color 120ms", "button_large_padding": "10px 16px", "layout_gap": "16px",
    "block_padding": "16px",
}
SHEETS = ("style.css", "data.css", "pages.css")
TOASTS = ("error", "warning", "success", "info")


def css() -> str:
    """The tokens as variables, then the style sheets that use them: the frame's (style.css) and the pages'."""
    light = f":root {{ {_variables(LIGHT)} --lb-well: {WELL}; --lb-shadow: {SHADOW}; }}"
    return "\n".join((light, f".dark {{ {_variables(DARK)} }}", _toasts(), *map(_asset, SHEETS)))


def _toasts() -> str:
    """Titles of pop-up messages, which Gradio can only write in English."""
    titles = {language: " ".join(f'--lb-toast-{kind}: "{messages.text(f"ui.toast.{kind}", language)}";' for kind in TOASTS)
              for language in messages.LANGUAGES}
    return "\n".join(f":root[lang={language}] {{ {each} }}" for language, each in titles.items())


def head() -> str:
    """The script of ui/page.py: language, theme, and the page's place in the address."""
    return f"<script>{_asset('frame.js')}</script>"


def logo() -> str:
    return _asset("logo.svg")


def _variables(tokens: dict[str, str]) -> str:
    return " ".join(f"--lb-{name}: {value};" for name, value in tokens.items())


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def theme() -> gr.themes.Base:
    """Gradio's own parts in the same colours; nothing is fetched from outside."""
    look = gr.themes.Base(font=FONTS, font_mono=MONOSPACE, radius_size=gr.themes.sizes.radius_md, text_size=gr.themes.sizes.text_sm)
    pairs = {name: token for token, names in PAINT.items() for name in names.split()}
    values = {name: LIGHT[token] for name, token in pairs.items()} | {f"{name}_dark": DARK[token] for name, token in pairs.items()}
    return look.set(**_known(values), **{f"{name}{dark}": "none" for name in UNSHADED.split() for dark in ("", "_dark")}, **SHAPES)


def _known(values: dict[str, str]) -> dict[str, str]:
    """Only the settings that this Gradio has; some exist for the light theme alone."""
    known = inspect.signature(gr.themes.Base.set).parameters
    return {name: value for name, value in values.items() if name in known}
