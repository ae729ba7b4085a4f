"""An image with the tags that it has and those that were found, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine import messages, text
from engine.datasets.images import resize
from engine.metrics.calibration import tempered
from engine.overlay import tag_chip
from engine.types import UNCERTAIN, Tags

CARD = 400
MARGIN, FONT, HEADING = 14, 26, 22
MOST_TRUE, MOST_FOUND = 3, 4
PAPER, INK, FAINT = 250, 30, 110


def answers(found: Tags, limits: Sequence[float] | None, temperature: float) -> list[tuple[int, float, bool]]:
    """(class id, probability, whether it is there), the likeliest first. Without `limits` an image shows exactly one class."""
    chances = tempered(np.nan_to_num(found.values).astype(float), temperature, exclusive=limits is None)
    order = np.argsort(-chances, kind="stable")
    return [(int(i), float(chances[i]), n == 0 if limits is None else bool(chances[i] >= limits[i])) for n, i in enumerate(order)]


def tag_card(image: np.ndarray, truth: Tags, found: Tags, classes: Sequence[str], limits: Sequence[float] | None, temperature: float) -> np.ndarray:
    """u8[CARD,2*CARD,3]: the image on the left, on the right the true tags above the answer with its probabilities.

    Tags that are not there are written without a colour; uncertain ones with a question mark.
    """
    card = np.full((CARD, 2 * CARD, 3), PAPER, np.uint8)
    scale = CARD / max(image.shape[:2])
    picture = resize(image, (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))))
    top, left = (CARD - picture.shape[0]) // 2, (CARD - picture.shape[1]) // 2
    card[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    panel = card[:, CARD:]
    true = [(i, "" if value == 1 else "?") for i, value in enumerate(truth.values.tolist()) if value in (1, UNCERTAIN)]
    more = f" (+{len(true) - MOST_TRUE})" if len(true) > MOST_TRUE else ""
    y = _heading(panel, MARGIN // 2, messages.text("overlay.truth") + more)
    for class_id, score in true[:MOST_TRUE]:
        y = _row(panel, y, classes[class_id], class_id, score, there=True)
    if not true:
        y = _words(panel, y, messages.text("overlay.nothing"), FONT, FAINT)
    y = _heading(panel, max(y, _room_for_truth()) + MARGIN // 2, messages.text("overlay.answer"))
    for class_id, chance, there in answers(found, limits, temperature)[:MOST_FOUND]:
        y = _row(panel, y, classes[class_id], class_id, f"{chance:.2f}", there=there)
    return card


def _line(font: int) -> int:
    return round(1.5 * font)


def _room_for_truth() -> int:
    """Where the answer begins at least: it stands at the same place in every card."""
    return MARGIN // 2 + _line(HEADING) + MOST_TRUE * _line(FONT)


def _heading(panel: np.ndarray, y: int, words: str) -> int:
    return _words(panel, y, words, HEADING, INK)


def _row(panel: np.ndarray, y: int, name: str, class_id: int, score: str, *, there: bool) -> int:
    """Draws a tag at height y and returns that of the next one."""
    room = panel.shape[1] - 2 * MARGIN
    chip = tag_chip(name, class_id, score, FONT, room) if there else None
    if chip is None:
        return _words(panel, y, f"{text.shorten(text.clean(name), 16)} {score}", FONT, FAINT)
    height = min(chip.shape[0], panel.shape[0] - y)
    panel[y : y + height, MARGIN : MARGIN + chip.shape[1]] = chip[:height]
    return y + _line(FONT)


def _words(panel: np.ndarray, y: int, words: str, font: int, shade: int) -> int:
    mask = text.render(words, font)
    if mask is not None:
        mask = mask[: max(0, panel.shape[0] - y), : panel.shape[1] - MARGIN]
        part = panel[y : y + mask.shape[0], MARGIN : MARGIN + mask.shape[1]]
        part[:] = (part + (shade - part.astype(float)) * (mask[..., None] / 255)).round().astype(np.uint8)
    return y + _line(font)
