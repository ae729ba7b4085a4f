"""Tables that hold no labels of whole images: boxes, outlines, run lengths and other tools' regions, told by headings and cells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from engine.datasets.images import is_image

BOX_TABLES = tuple(frozenset(heads.split()) for heads in (
    "bbox", "xmin ymin xmax ymax", "x1 y1 x2 y2", "x y w h", "x y width height", "box", "boundingbox", "labelname imageid source",
    "left top right bottom", "left top width height", "xmin ymin width height", "startx starty endx endy",
    "bboxx bboxy bboxwidth bboxheight", "bboxx y w h", "bboxxywh"))
RUN_HEADS = frozenset(("rle", "encodedpixels", "rlemask", "maskrle", "encodedmask"))
MAYBE_RUN_HEADS = frozenset(("segmentation", "segmentations", "mask", "annotation", "annotations", "pixels"))
VIA_HEADS = frozenset(("regionshapeattributes",))
MANY_NUMBERS = 20  # no image has that many labels that are nothing but numbers
MIN_RUNS = 8
MAX_CELLS = 200  # different ones of a column that are looked at
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.IGNORECASE)


def plain(heading: str) -> str:
    """ "Image Index" -> "imageindex", "Follow-up #" -> "followup"."""
    return re.sub(r"[^\w]|_", "", heading.casefold())


def kind_of_heading(first: Sequence[str]) -> str | None:
    """ "via", "rle" or "boxes" where the headings alone say it."""
    heads = {plain(cell) for cell in first}
    if heads & VIA_HEADS:
        return "via"
    if heads & RUN_HEADS:
        return "rle"
    return "boxes" if any(other <= heads for other in BOX_TABLES) else None


def kind_of_rows(rows: Sequence[Sequence[str]]) -> str | None:
    """The same from the first rows of a table (the heading included), whose cells may hold run lengths under any heading."""
    if not rows:
        return None
    kind = kind_of_heading(rows[0])
    if kind is not None or len(rows) < 2:
        return kind
    columns = ((head, [row[place] for row in rows[1:] if len(row) > place]) for place, head in enumerate(rows[0]))
    return "rle" if any(holds_runs(head, texts) for head, texts in columns) else None


def holds_runs(heading: str, texts: Iterable[str]) -> bool:
    """Whether a column holds pairs of start and length: all cells of a column that is called so, else long ones that never overlap."""
    lists = list(map(_numbers, islice(filter(None, texts), MAX_CELLS)))
    if not lists or not all(lists):
        return False
    longest = max(len(numbers) for numbers in lists)
    fitting = all(_runs(numbers) for numbers in lists)
    return fitting and longest >= (4 if plain(heading) in MAYBE_RUN_HEADS else MIN_RUNS)


def no_names(texts: Iterable[str]) -> bool:
    """Whether cells hold coordinates, lists of measurements or JSON and so no names of classes: as soon as most of them do."""
    known = list(islice(filter(None, texts), MAX_CELLS))
    return 2 * sum(1 for text in known if _no_name(text)) > len(known)


def _no_name(text: str) -> bool:
    if text.startswith(("[{", "{", "[[")):
        return True
    numbers = _numbers(text)
    fractions = [number for number in numbers if (2 * number) % 1]
    return bool(fractions) or len(numbers) >= MANY_NUMBERS


def is_fraction(text: str) -> bool:
    """Whether a cell holds a number between 0 and 1, neither of them included; a decimal comma is one."""
    found = _NUMBER.fullmatch(text.replace(",", ".", 1))
    return found is not None and 0 < float(found[0]) < 1


def are_fractions(texts: Iterable[str]) -> bool:
    """Whether a column holds probabilities: numbers from 0 to 1, more than half of them different from both."""
    known = list(islice(filter(None, texts), MAX_CELLS))
    fractions = sum(map(is_fraction, known))
    ends = sum(1 for text in known if _NUMBER.fullmatch(text.replace(",", ".", 1)) and float(text.replace(",", ".", 1)) in (0, 1))
    return 2 * fractions > len(known) == fractions + ends


def _numbers(text: str) -> list[float]:
    """The numbers of a cell that holds nothing else; none for any other."""
    parts = re.split(r"[\s,;|]+", text.strip("[](){} "))
    return [float(part) for part in parts] if all(_NUMBER.fullmatch(part) for part in parts) else []


def _runs(numbers: list[float]) -> bool:
    starts, lengths = numbers[::2], numbers[1::2]
    if len(starts) != len(lengths) or any(number % 1 or number < 0 for number in numbers) or 0 in lengths:
        return False
    return all(start + length <= after for start, length, after in zip(starts[:-1], lengths[:-1], starts[1:], strict=True))


# ---- boxes without headings

@dataclass(frozen=True)
class BareBoxes:
    """Places in a row without headings: the image, the label, the first of four numbers."""

    image: int
    label: int
    box: int


def is_retinanet(row: Sequence[str]) -> bool:
    """Path, x1, y1, x2, y2, class; no numbers where there is nothing in the image."""
    return len(row) == 6 and all(re.fullmatch(r"-?\d*\.?\d*", cell) for cell in row[1:5])


def bare_boxes(row: Sequence[str]) -> BareBoxes | None:
    """One image, one name and four numbers in a row, in any order, perhaps with the size of the image; None for any other row."""
    images = [place for place, cell in enumerate(row) if is_image(cell)]
    numeric = [bool(_NUMBER.fullmatch(cell)) for cell in row]
    names = [place for place, cell in enumerate(row) if cell and not numeric[place] and place not in images]
    if len(images) != 1 or len(names) != 1 or len(row) not in (6, 8) or sum(numeric) != len(row) - 2:
        return None
    start = next((place for place in range(len(row) - 3) if all(numeric[place:place + 4])), None)
    return BareBoxes(images[0], names[0], start) if start is not None else None
