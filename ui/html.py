"""Small pieces of HTML. Every text is escaped unless it is `Html`, which only these helpers make."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

from engine.overlay import DASHES, PALETTE, color_of

ICONS = {
    "sample": '<circle cx="12" cy="12" r="8.5"/><path d="M10 8.8v6.4l5-3.2z"/>',
    "folder": '<path d="M3.5 18V6.5a1 1 0 0 1 1-1h4.6l2 2.5h8.4a1 1 0 0 1 1 1V18a1 1 0 0 1-1 1h-15a1 1 0 0 1-1-1z"/>',
    "model": '<circle cx="5.5" cy="7" r="2"/><circle cx="5.5" cy="17" r="2"/><circle cx="18.5" cy="12" r="2"/>'
             '<path d="M7.3 8 16.7 11.2M7.3 16l9.4-3.2"/>',
    "data": '<rect x="3.5" y="4.5" width="7" height="7" rx="1"/><rect x="13.5" y="4.5" width="7" height="7" rx="1"/>'
            '<rect x="3.5" y="14.5" width="7" height="5" rx="1"/><rect x="13.5" y="14.5" width="7" height="5" rx="1"/>',
    "runs": '<path d="M4 19V5M4 19h16M7 15l4-5 3 3 5-7"/>',
    "image": '<rect x="3.5" y="5" width="17" height="14" rx="1.5"/><circle cx="9" cy="10" r="1.5"/><path d="m5 18 5-5 3 3 3-4 4 5"/>',
    "machine": '<rect x="6.5" y="6.5" width="11" height="11" rx="1.5"/><path d="M9.5 3.5v3m5-3v3m-5 11v3m5-3v3m-11-11h3m-3 5h3m11-5h3m-3 5h3"/>',
    "convert": '<path d="M4 8.5h14.5m-4-4 4 4-4 4M20 15.5H5.5m4 4-4-4 4-4"/>',
    "check": '<path d="m5 12.5 4.5 4.5L19 7.5"/>',
    "warn": '<path d="M12 4.5 21 19.5H3zM12 10v4.5m0 2.4v.1"/>',
    "error": '<circle cx="12" cy="12" r="8.5"/><path d="M12 7.5v5.5m0 2.9v.1"/>',
    "note": '<circle cx="12" cy="12" r="8.5"/><path d="M12 11v5.5m0-8.5v-.1"/>',
    "theme": '<circle cx="12" cy="12" r="8"/><path d="M12 4v16a8 8 0 0 0 0-16z" fill="currentColor" stroke="none"/>',
    "back": '<path d="m14.5 5.5-6.5 6.5 6.5 6.5"/>',
    "next": '<path d="m9.5 5.5 6.5 6.5-6.5 6.5"/>',
    "close": '<path d="m6 6 12 12M18 6 6 18"/>',
    "stop": '<rect x="6.5" y="6.5" width="11" height="11" rx="1.5"/>',
    "hide": '<path d="M3 12c2.4-4.3 5.4-6.5 9-6.5s6.6 2.2 9 6.5c-2.4 4.3-5.4 6.5-9 6.5S5.4 16.3 3 12z"/>'
            '<circle cx="12" cy="12" r="2.6"/><path d="m4.5 19.5 15-15"/>',
    "zoom": '<circle cx="10.5" cy="10.5" r="6"/><path d="m15 15 5 5M10.5 8v5M8 10.5h5"/>',
    "undo": '<path d="M5 9.5h9a5 5 0 0 1 0 10h-4M9 5 4.5 9.5 9 14"/>',
}


class Html(str):
    """Markup that is safe to show as it is."""


def esc(value: Any) -> Html:
    """`value` as markup: text escaped, Html as it is."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def join(parts: Iterable[Any]) -> Html:
    return Html("".join(esc(part) for part in parts))


def tag(name: str, *content: Any, **attributes: Any) -> Html:
    """An element. `class_="a"` and `data_run="b"` become class and data-run; None and False leave an attribute out."""
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None and value is not False}
    written = "".join(f" {key}" if value is True else f' {key}="{html.escape(str(value))}"' for key, value in given.items())
    return Html(f"<{name}{written}>") if name in ("img", "br", "input") else Html(f"<{name}{written}>{join(content)}</{name}>")


def icon(name: str, size: int = 20) -> Html:
    """A line drawing, 1.5 px stroke, in the colour of the text around it."""
    return Html(f'<svg class="lb-icon" width="{size}" height="{size}" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.5" '
                f'stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">{ICONS[name]}</svg>')


def card(title: Any, *content: Any, class_: str = "") -> Html:
    return tag("section", tag("h3", title) if title else "", *content, class_=f"lb-card {class_}".strip())


def empty_state(text: Any, picture: str = "image") -> Html:
    """One sentence about what will stand here; the page puts the button that gets there below."""
    return tag("div", icon(picture, 32), tag("p", text), class_="lb-empty")


def chip(text: Any, class_id: int | None = None) -> Html:
    """A small label; `class_id` puts the class's swatch before the text."""
    return tag("span", swatch(class_id) if class_id is not None else "", text, class_="lb-chip")


def swatch(class_id: int) -> Html:
    """The class's colour, with a pattern where colours repeat."""
    turn = class_id // len(PALETTE) % len(DASHES)
    return tag("i", class_="lb-swatch" + (f" lb-dash-{turn}" if turn else ""), style=f"background-color:{color_of(class_id)}")


def stat(name: Any, value: Any, note: Any = "") -> Html:
    """A number with its name; figures of equal width."""
    return tag("div", tag("span", name, class_="lb-stat-name"), tag("b", value), tag("small", note) if note else "", class_="lb-stat")


def stats(*each: Html) -> Html:
    return tag("div", *each, class_="lb-stats")


def progress(fraction: float | None, text: Any = "") -> Html:
    """A bar with what and how much below it; None = how much is not known."""
    known = None if fraction is None else round(100 * min(max(fraction, 0.0), 1.0))
    fill = tag("i", class_="lb-busy" if known is None else None, style=None if known is None else f"width:{known}%")
    bar = tag("div", fill, class_="lb-bar", role="progressbar", aria_valuemin=0, aria_valuemax=100, aria_valuenow=known,
              aria_label=str(text) or "progress")
    return tag("div", bar, tag("p", text, class_="lb-bar-text", role="status"), class_="lb-progress")


def share_bar(parts: Sequence[tuple[str, int, str]], label: str) -> Html:
    """Shares of a whole as one bar with its legend: (name, count, CSS colour)."""
    whole = sum(count for _, count, _ in parts) or 1
    pieces = [tag("i", style=f"width:{100 * count / whole:.2f}%;background:{color}") for _, count, color in parts if count]
    legend = [tag("span", tag("i", class_="lb-swatch", style=f"background:{color}"), name, tag("b", number(count))) for name, count, color in parts]
    return tag("div", tag("div", *pieces, class_="lb-share", role="img", aria_label=label), tag("div", *legend, class_="lb-legend"))


def dot(state: str, text: str) -> Html:
    """A state dot (good, warn, bad, none) with its meaning in words beside it."""
    return tag("span", tag("i", class_=f"lb-dot lb-{state}"), text, class_="lb-dotted")


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]], numeric: Sequence[int] = (), label: str = "") -> Html:
    """Rows of cells; the columns in `numeric` are set right, in figures of equal width."""
    def cells(kind: str, row: Sequence[Any]) -> Html:
        return join(tag(kind, cell, class_="lb-number" if i in numeric else None) for i, cell in enumerate(row))

    body = join(tag("tr", cells("td", row)) for row in rows)
    inner = tag("table", tag("thead", tag("tr", cells("th", head))), tag("tbody", body), class_="lb-table")
    return tag("div", inner, class_="lb-table-frame", tabindex=0, role="region", aria_label=label or " · ".join(str(each) for each in head))


def code(text: Any) -> Html:
    """A command to copy."""
    return tag("pre", tag("code", text), class_="lb-code", tabindex=0)


def sparkline(values: Sequence[float], label: str, width: int = 120, height: int = 32) -> Html:
    """A small curve without axes; fewer than two values leave its place empty."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    span, last = high - low or 1.0, max(len(values) - 1, 1)
    points = " ".join(f"{2 + i * (width - 4) / last:.1f},{height - 3 - (v - low) / span * (height - 6):.1f}" for i, v in enumerate(values))
    line = f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linejoin="round"/>' if len(values) > 1 else ""
    return Html(f'<svg class="lb-spark" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" '
                f'aria-label="{html.escape(label)}">{line}</svg>')


def number(value: int) -> str:
    return f"{value:,}"
