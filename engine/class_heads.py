"""Fine-tuning on other classes: rows of the last layers that stand for a class of the same name are kept, the others begin anew."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from engine.models.network import LoadMap

# The 80 classes of COCO in the order of its published detectors (Lin et al. 2014).
COCO = tuple("""person|bicycle|car|motorcycle|airplane|bus|train|truck|boat|traffic light|fire hydrant|stop sign|parking meter|bench|bird|cat|dog|
horse|sheep|cow|elephant|bear|zebra|giraffe|backpack|umbrella|handbag|tie|suitcase|frisbee|skis|snowboard|sports ball|kite|baseball bat|
baseball glove|skateboard|surfboard|tennis racket|bottle|wine glass|cup|fork|knife|spoon|bowl|banana|apple|sandwich|orange|broccoli|carrot|hot dog|
pizza|donut|cake|chair|couch|potted plant|bed|dining table|toilet|tv|laptop|mouse|remote|keyboard|cell phone|microwave|oven|toaster|sink|
refrigerator|book|clock|vase|scissors|teddy bear|hair drier|toothbrush""".replace("\n", "").split("|"))


def plain(name: str) -> str:
    """What two spellings of a name have in common: case, width of letters, and what stands between words."""
    return re.sub(r"[\s_\-]+", " ", unicodedata.normalize("NFKC", name)).strip().casefold()


def names_in(content: Any, count: int | None) -> tuple[str, ...]:
    """The classes that a checkpoint was trained on: as it says itself, or COCO's where a bare detector has 80; () when nobody knows."""
    names = content.get("classes") if isinstance(content, dict) else None
    if isinstance(names, list | tuple) and names and all(isinstance(each, str) for each in names):
        return tuple(names)
    return COCO if count == len(COCO) else ()


def partners(theirs: Sequence[str], ours: Sequence[str]) -> dict[int, int]:
    """{our class: their class} of the same name; names that stand twice have no partner."""
    places: dict[str, list[int]] = {}
    for place, name in enumerate(theirs):
        places.setdefault(plain(name), []).append(place)
    wanted = [plain(name) for name in ours]
    return {place: places[name][0] for place, name in enumerate(wanted) if len(places.get(name, ())) == 1 and wanted.count(name) == 1}


def dealt(theirs: Sequence[str], ours: Sequence[str]) -> tuple[dict[int, int], list[int]]:
    """`partners`, and our classes that stay where they are: among equally many, one without a partner was only renamed if its place is free."""
    pairs = partners(theirs, ours)
    taken = set(pairs.values())
    return pairs, [place for place in range(len(ours)) if place not in pairs and place not in taken] if len(theirs) == len(ours) else []


def moved(own: Mapping[str, Tensor], state: Mapping[str, Tensor], load_map: LoadMap, theirs: Sequence[str], ours: Sequence[str]) -> dict[str, Tensor]:
    """Tensors of the network that have one row for each class, with the rows of the file for classes of the same name.

    `state` under the names of the network. Rows of classes that are not `dealt` keep the network's random start.
    """
    found: dict[str, Tensor] = {}
    pairs, placed = dealt(theirs, ours)
    if not pairs or pairs == {place: place for place in range(len(ours))} and len(theirs) == len(ours):
        return found
    pairs |= {place: place for place in placed}
    for name, value in state.items():
        if name not in own or not load_map.by_class(name):
            continue
        axis = _class_axis(own[name], value, len(ours), len(theirs))
        if axis is None:
            continue
        made = own[name].detach().clone()
        rows, sources = made.movedim(axis, 0), value.to(made.dtype).movedim(axis, 0)
        for ours_at, theirs_at in pairs.items():
            rows[ours_at] = sources[theirs_at]
        for extra in range(len(ours), rows.shape[0]):  # a row for "no class" after the others
            rows[extra] = sources[len(theirs) + extra - len(ours)]
        found[name] = made
    return found


def _class_axis(own: Tensor, value: Tensor, ours: int, theirs: int) -> int | None:
    """The first axis with one row for each class, or one more in both: the outputs of a layer come first. None when there is none."""
    if own.ndim != value.ndim:
        return None
    fits = [axis for axis in range(own.ndim)
            if own.shape[axis] - ours == value.shape[axis] - theirs in (0, 1) and _alike(own, value, axis)]
    return fits[0] if fits else None


def _alike(own: Tensor, value: Tensor, axis: int) -> bool:
    """Equal in all other sides."""
    return all(a == b for place, (a, b) in enumerate(zip(own.shape, value.shape, strict=True)) if place != axis)
