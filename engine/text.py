"""Text as a mask of grey levels, in any script that can be drawn right here; None where it cannot.

OpenCV 5 carries its own font (Latin, Greek, Cyrillic, Chinese, Japanese, Korean). It does no shaping, so scripts that join, stack or run
right to left go through Pillow and the system's fonts.
"""

from __future__ import annotations

import os
import sys
import threading
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

ASCENT, DESCENT = 0.95, 0.27  # of the font size; holds capitals with accents and CJK
NO_SUCH_CHARACTER = "\U0010fffe"  # never assigned: every font draws its .notdef for it
NEEDS_SHAPING = ((0x0590, 0x08FF), (0x0900, 0x0DFF), (0x0F00, 0x109F), (0x1780, 0x18AF), (0xFB1D, 0xFDFF), (0xFE70, 0xFEFF))
FONT_SUFFIXES = {".ttf", ".otf", ".ttc", ".otc"}
TOFU_FONTS = ("lastresort", "adobeblank", "notdef")
LIKED_FONTS = ("notosans-regular", "notosans", "notonaskh", "dejavusans.", "segoeui.", "nirmala", "leelawui", "arialuni", "arial.",
               "tahoma", "microhei")
_lock = threading.Lock()


def clean(text: str) -> str:
    """One printable line: composed characters, runs of blanks and control characters as one space, no invisible direction marks."""
    spaced = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp", "Zs") else c for c in unicodedata.normalize("NFC", text))
    visible = (c for c in spaced if unicodedata.category(c) not in ("Cf", "Cs") or c in "\u200c\u200d")
    return " ".join("".join(visible).split()).strip("\u200c\u200d ")


def shorten(text: str, length: int) -> str:
    """At most `length` characters, the last one an ellipsis where something was cut off; no base is parted from its marks."""
    if len(text) <= length:
        return text
    end = max(length - 1, 0)
    while end > 0 and unicodedata.category(text[end]).startswith("M"):
        end -= 1
    return text[:end].rstrip() + "…"


@lru_cache(maxsize=2048)
def render(text: str, size: int) -> np.ndarray | None:
    """The text as u8[h,w], w cut to the ink, h the same for every text of this size (pixels); None when a character cannot be drawn right."""
    if not text or not text.strip():
        return None
    if all(_opencv_draws(c) for c in text):
        return _frozen(_opencv_mask(text, size))
    font = _font_for(frozenset(text))
    if font is not None:
        return _frozen(_pillow_mask(text, font, size))
    return _render_runs(text, size)


def _frozen(mask: np.ndarray) -> np.ndarray:
    mask.flags.writeable = False
    return mask


def _render_runs(text: str, size: int) -> np.ndarray | None:
    """No font holds all of it: each run of characters by what can draw it, in the direction of the first letter."""
    masks = []
    for simple, run in _runs(text):
        font = None if simple else _font_for(frozenset(run))
        if not simple and font is None:
            return None
        masks.append(_opencv_mask(run, size) if font is None else _pillow_mask(run, font, size))
    first_letter = next((c for c in text if unicodedata.bidirectional(c) in ("L", "R", "AL")), "a")
    if unicodedata.bidirectional(first_letter) != "L":
        masks.reverse()
    return _frozen(np.hstack([np.pad(mask, ((0, 0), (0, size // 4 if i < len(masks) - 1 else 0))) for i, mask in enumerate(masks)]))


def _runs(text: str) -> Iterator[tuple[bool, str]]:
    """(drawn by OpenCV, characters); blanks belong to the run before them."""
    run, simple = "", True
    for c in text:
        now = simple if c == " " and run else _opencv_draws(c)
        if run and now != simple:
            yield simple, run.strip()
            run = ""
        run, simple = run + c, now
    yield simple, run.strip()


# -- OpenCV's own font ----------------------------------------------------------------------------------------------------------------


@cache
def _opencv_font() -> cv2.FontFace | None:
    return cv2.FontFace("sans") if hasattr(cv2, "FontFace") else None


def _opencv_mask(text: str, size: int) -> np.ndarray:
    above, below = round(ASCENT * size), round(DESCENT * size)
    canvas = np.zeros((above + below, (len(text) + 2) * 2 * size), np.uint8)
    font = _opencv_font()
    assert font is not None
    with _lock:
        cv2.putText(canvas, text, (size, above), 255, font, size, 400)
    return _cut_sides(canvas)


def _cut_sides(mask: np.ndarray) -> np.ndarray:
    inked = np.flatnonzero(mask.any(axis=0))
    return mask[:, inked[0] : inked[-1] + 1].copy() if len(inked) else mask[:, :0].copy()


@cache
def _opencv_draws(character: str) -> bool:
    """Whether OpenCV has a glyph for it and needs no shaping to place it. It draws '?' for what it lacks."""
    if _opencv_font() is None:
        return False
    if character in "? ":
        return True
    if unicodedata.category(character)[0] in "MC" or any(low <= ord(character) <= high for low, high in NEEDS_SHAPING):
        return False
    mask = _opencv_mask(character, 32)
    return mask.size > 0 and not np.array_equal(mask, _opencv_mask("?", 32))


# -- the system's fonts through Pillow ------------------------------------------------------------------------------------------------


def _font_folders() -> list[Path]:
    home = Path.home()
    if sys.platform == "darwin":
        return [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts"]
    if sys.platform == "win32":
        local = Path(os.environ.get("LOCALAPPDATA", home / "AppData/Local"))
        return [Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts", local / "Microsoft/Windows/Fonts"]
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
    return [Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), data / "fonts", home / ".fonts"]


@cache
def _font_files() -> tuple[str, ...]:
    """Every usable font file, plain text faces first."""
    files = {f for folder in _font_folders() if folder.is_dir() for f in folder.rglob("*") if f.suffix.lower() in FONT_SUFFIXES}

    def rank(file: Path) -> tuple[int, int, str]:
        name = file.name.lower()
        liked = next((i for i, part in enumerate(LIKED_FONTS) if part in name), len(LIKED_FONTS))
        return any(style in name for style in ("bold", "italic", "oblique", "mono", "serif", "thin")), liked, str(file)

    return tuple(str(f) for f in sorted(files, key=rank) if not any(bad in f.name.lower() for bad in TOFU_FONTS))


@lru_cache(maxsize=64)
def _open_font(file: str, size: int, shaped: bool) -> ImageFont.FreeTypeFont | None:
    """None for a file that FreeType cannot use, such as a font of bitmaps in one size only."""
    try:
        return ImageFont.truetype(file, size, layout_engine=ImageFont.Layout.RAQM if shaped else ImageFont.Layout.BASIC)
    except OSError:
        return None


@lru_cache(maxsize=4096)
def _font_has(file: str, character: str) -> bool:
    """A glyph that leaves ink and is not the one for missing characters."""
    font = _open_font(file, 24, False)
    if font is None:
        return False
    try:
        glyph, missing = bytes(font.getmask(character)), bytes(font.getmask(NO_SUCH_CHARACTER))
    except OSError:
        return False
    return any(glyph) and glyph != missing


@cache
def _fonts_of_block(block: int, sample: str) -> tuple[str, ...]:
    """The fonts that hold `sample`, the first character met of a block of 128; one search serves the whole script."""
    return tuple(file for file in _font_files() if _font_has(file, sample))


_samples: dict[int, str] = {}


@lru_cache(maxsize=1024)
def _font_for(characters: frozenset[str]) -> str | None:
    """The best font file that holds all of them, and that can be set right here (joined scripts need the raqm library)."""
    shaped = any(low <= ord(c) <= high for c in characters for low, high in NEEDS_SHAPING)
    if shaped and not features.check("raqm"):
        return None
    asked = [c for c in sorted(characters, reverse=True) if unicodedata.category(c) not in ("Zs", "Cf") and not "\ufe00" <= c <= "\ufe0f"]
    if not asked:
        return None
    block = ord(asked[0]) >> 7
    candidates = _fonts_of_block(block, _samples.setdefault(block, asked[0]))
    return next((file for file in candidates if all(_font_has(file, c) for c in asked)), None)


def _pillow_mask(text: str, file: str, size: int) -> np.ndarray:
    above, below = round(ASCENT * size), round(DESCENT * size)
    font = _open_font(file, size, features.check("raqm"))
    if font is None:
        return np.zeros((above + below, 0), np.uint8)
    with _lock:
        left, top, right, bottom = (int(v) for v in font.getbbox(text, anchor="ls"))
        canvas = Image.new("L", (right - left + 2 * size, max(above, -top) + max(below, bottom)))
        ImageDraw.Draw(canvas).text((size - left, max(above, -top)), text, fill=255, font=font, anchor="ls")
    mask = _cut_sides(np.asarray(canvas))
    if mask.shape[0] > above + below and mask.shape[1]:
        scale = (above + below) / mask.shape[0]
        mask = cv2.resize(mask, (max(1, round(mask.shape[1] * scale)), above + below), interpolation=cv2.INTER_AREA)
    return mask
