"""Small objects in large images: overlapping tiles are looked at one by one, and what they show is put together again.

An object that a tile's border cuts is dropped where another view shows it whole, else its pieces are joined. What the whole image shows of
objects so small that some tile must show them whole counts only where no tile shows anything of the kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask

from engine.datasets.mask_crops import crop_of, rle_of_crop
from engine.types import RLE, Instances, Shape, UserError

OFF, AUTO = 0, -1
WORDS = {"off": OFF, "auto": AUTO}
OVERLAP = 0.25  # of a tile's side
WORTH = 1.5  # "auto" cuts images whose longer side exceeds the model's by this factor
SMALLEST, MOST_TILES, MOST_BY_ITSELF = 32, 2000, 400
UNSURE = 0.05  # weaker candidates of a tile are not kept
SAME = 0.5  # IoU from which on two views show the same object
INSIDE = 0.7  # share of a cut object that lies in a whole one which stands for it
HALF = 0.5  # as sure must that whole one be, against the cut one
BORDER = 0.015  # of a tile's side: this near, an object touches its border


@dataclass(frozen=True)
class Tile:
    """A part of an image in its pixels; right and bottom are the first that do not belong to it."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> tuple[int, int]:
        return self.right - self.left, self.bottom - self.top

    def of(self, image: np.ndarray) -> np.ndarray:
        return image[self.top : self.bottom, self.left : self.right]


def wanted(text: str) -> int:
    """"off", "auto" or the side of a tile in pixels -> OFF, AUTO or the side. Raises UserError for anything else."""
    plain = text.strip().casefold()
    if plain in WORDS:
        return WORDS[plain]
    if not plain.isascii() or not plain.isdecimal() or int(plain[:9]) < SMALLEST:
        raise UserError("slices_value", value=text[:40], least=SMALLEST)
    return int(plain[:9])


def side_for(size: tuple[int, int], model_side: int, slices: int) -> int:
    """The side of the tiles for an image of `size` = (width, height); 0: it is looked at whole. Raises UserError for far too many tiles."""
    longest = max(size)
    if slices == AUTO:
        if longest < WORTH * model_side:
            return 0
        side = model_side
        while _count(size, side) > MOST_BY_ITSELF:
            side = side * 5 // 4
        return side
    if not slices or longest <= slices:
        return 0
    if _count(size, slices) > MOST_TILES:
        least = slices
        while _count(size, least) > MOST_TILES:
            least = least * 5 // 4
        raise UserError("slices_too_many", value=slices, count=_count(size, slices), limit=MOST_TILES, width=size[0], height=size[1], least=least)
    return slices


def tiles(size: tuple[int, int], side: int) -> list[Tile]:
    """Tiles of `side` pixels that cover the image, evenly spread, overlapping by OVERLAP of their side at least; the whole image comes first."""
    width, height = size
    parts = [Tile(x, y, min(x + side, width), min(y + side, height)) for y in _steps(height, side) for x in _steps(width, side)]
    return [Tile(0, 0, width, height), *parts]


def placed(found: Instances, tile: Tile, size: tuple[int, int]) -> Instances:
    """What a tile shows, in pixels of the image of `size`; without candidates that are too weak."""
    kept = found.above(UNSURE)
    move = np.array([tile.left, tile.top] * 2, np.float32)
    shapes = None if kept.shapes is None else tuple(_moved(shape, tile, size) for shape in kept.shapes)
    return Instances(kept.boxes + move, kept.classes, kept.scores, shapes)


def merged(parts: Sequence[tuple[Instances, Tile]], size: tuple[int, int]) -> Instances:
    """One prediction, best first, from those of several `tiles`, already in the image's pixels; that of the whole image leads."""
    every = joined([found for found, _ in parts])
    if not len(every):
        return every
    view = np.repeat(np.arange(len(parts)), [len(found) for found, _ in parts])
    cut = np.concatenate([touching(found, tile, size) for found, tile in parts])
    fits = OVERLAP * max(parts[-1][1].size)
    coarse = (view == 0) & ((every.boxes[:, 2:] - every.boxes[:, :2]).max(1) <= fits) & (len(parts) > 1)
    chosen = [_of_class(_Seen(every[members], view[members], cut[members], coarse[members], [tile for _, tile in parts]))
              for members in (np.flatnonzero(every.classes == class_id) for class_id in np.unique(every.classes))]
    return joined(chosen).above(0.0)


def joined(parts: Sequence[Instances]) -> Instances:
    """All objects of several predictions, one after the other."""
    filled = [each for each in parts if len(each)]
    if not filled:
        return Instances(np.zeros((0, 4)), np.zeros(0), np.zeros(0), () if any(each.shapes is not None for each in parts) else None)
    shapes = None if any(each.shapes is None for each in filled) else tuple(shape for each in filled for shape in each.shapes or ())
    return Instances(np.concatenate([each.boxes for each in filled]), np.concatenate([each.classes for each in filled]),
                     np.concatenate([_scores(each) for each in filled]), shapes)


def touching(found: Instances, tile: Tile, size: tuple[int, int]) -> np.ndarray:
    """bool[N]: which boxes end at a border of their tile that is none of the image: there may be more of the object behind it."""
    near = max(1.0, BORDER * max(tile.size))
    borders = np.array([tile.left, tile.top, tile.right, tile.bottom], np.float32)
    inner = np.array([tile.left > 0, tile.top > 0, tile.right < size[0], tile.bottom < size[1]])
    return ((np.abs(found.boxes - borders) <= near) & inner).any(1)


# ---- one class


@dataclass
class _Seen:
    """Objects of one class: of each the number of its view, whose tile stands in `tiles`, whether it may go on behind a border,
    and whether it is a small one in the whole image."""

    found: Instances
    view: np.ndarray
    cut: np.ndarray
    coarse: np.ndarray
    tiles: list[Tile]


def _of_class(seen: _Seen) -> Instances:
    whole, pieces = np.flatnonzero(~seen.cut & ~seen.coarse), np.flatnonzero(seen.cut)
    kept = whole[_without_copies(seen.found[whole], seen.view[whole])]
    stand = seen.found[kept]
    sets = _groups(seen, [int(i) for i in pieces if not _stands_for(stand, seen.found, int(i), "mine")])
    rejoined = joined([_union(seen.found[np.array(group)]) for group in sets])
    if len(rejoined):
        both = joined([stand, rejoined])
        views = np.concatenate([seen.view[kept], -1 - np.arange(len(rejoined))])  # what was joined belongs to no view
        stand = both[_without_copies(both, views)]
    alone = [i for i in np.flatnonzero(seen.coarse) if not _stands_for(stand, seen.found, int(i), "lesser")]
    return joined([stand, seen.found[np.array(alone, np.int64)]])


def _without_copies(found: Instances, view: np.ndarray) -> np.ndarray:
    """Which objects stay: best first, without those that another view already showed. What one view tells apart stays apart."""
    kept: list[int] = []
    scores = _scores(found)
    for i in np.argsort(-scores, kind="stable"):
        others = np.array([k for k in kept if view[k] != view[i]], np.int64)
        if not len(others) or not (_overlaps(found, int(i), others) > SAME).any():
            kept.append(int(i))
    return np.array(kept, np.int64)


def _stands_for(stand: Instances, found: Instances, i: int, share: str) -> bool:
    """Whether one that stands, about as sure, shows what object `i` is a piece of, or a worse view."""
    if not len(stand):
        return False
    sure = _scores(stand) >= HALF * _scores(found)[i]
    both = joined([stand, found[i : i + 1]])
    return bool((_overlaps(both, len(stand), np.arange(len(stand)), share)[sure] >= INSIDE).any())


def _groups(seen: _Seen, pieces: Sequence[int]) -> list[list[int]]:
    """Pieces of the same object: where two tiles overlap, both show the same of it."""
    group = {i: [i] for i in pieces}
    for place, i in enumerate(pieces):
        for j in pieces[place + 1:]:
            one, two = group[i], group[j]
            if one is not two and seen.view[i] != seen.view[j] and _agree(seen, i, j):
                one += two
                for each in two:
                    group[each] = one
    return list({id(each): each for each in group.values()}.values())


def _agree(seen: _Seen, i: int, j: int) -> bool:
    first, second = seen.tiles[seen.view[i]], seen.tiles[seen.view[j]]
    common = (max(first.left, second.left), max(first.top, second.top), min(first.right, second.right), min(first.bottom, second.bottom))
    if common[0] >= common[2] or common[1] >= common[3]:
        return False
    one, two = (np.clip(seen.found.boxes[k], [common[0], common[1]] * 2, [common[2], common[3]] * 2) for k in (i, j))
    shared = _area(np.concatenate([np.maximum(one[:2], two[:2]), np.minimum(one[2:], two[2:])]))
    return bool(shared > 0 and shared >= SAME * (_area(one) + _area(two) - shared))


def _union(group: Instances) -> Instances:
    """Pieces of one object as one: as sure as the surest of them."""
    if len(group) == 1:
        return group
    box = np.concatenate([group.boxes[:, :2].min(0), group.boxes[:, 2:].max(0)])
    shapes: tuple[Shape, ...] | None = None
    if group.shapes is not None and all(isinstance(shape, RLE) for shape in group.shapes):
        whole = coco_mask.merge([_packed(shape) for shape in group.shapes])
        shapes = (RLE(whole["counts"], (int(whole["size"][0]), int(whole["size"][1]))),)
    return Instances(box[None], group.classes[:1], _scores(group).max(keepdims=True), shapes)


# ---- overlaps


def _overlaps(found: Instances, i: int, others: np.ndarray, share: str = "union") -> np.ndarray:
    """f64[n]: what object `i` has in common with the others, of their union, of "mine" or of the "lesser" of both; of masks where there are some."""
    mine, boxes = found.boxes[i].astype(np.float64), found.boxes[others].astype(np.float64)
    across = np.minimum(mine[2:], boxes[:, 2:]) - np.maximum(mine[:2], boxes[:, :2])
    common, areas = np.where((across > 0).all(1), across.prod(1), 0.0), (boxes[:, 2:] - boxes[:, :2]).prod(1)
    own = np.full(len(others), _area(mine))
    if found.shapes is not None and isinstance(found.shapes[i], RLE):
        common, own, areas = _of_masks(found.shapes, i, others, common > 0)
    total = {"union": own + areas - common, "mine": own, "lesser": np.minimum(own, areas)}[share]
    return common / np.maximum(total, 1e-9)


def _of_masks(shapes: Sequence[Shape], i: int, others: np.ndarray, near: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels in common with those that are `near`, of mask `i`, and of the others."""
    mine, packed = _packed(shapes[i]), [_packed(shapes[other]) for other in others]
    own, common = float(coco_mask.area(mine)), np.zeros(len(others))
    where = np.flatnonzero(near)
    if len(where):  # with a crowd the reference divides what is in common by the first of the two
        common[where] = np.nan_to_num(coco_mask.iou([mine], [packed[place] for place in where], [1] * len(where))[0]) * own
    areas = np.asarray(coco_mask.area(packed) if packed else [], np.float64)
    return common, np.full(len(others), own), areas


def _packed(shape: Shape) -> dict[str, object]:
    if not isinstance(shape, RLE):
        raise TypeError(f"run lengths are wanted, not {type(shape).__name__}")
    return {"size": list(shape.size), "counts": shape.counts}


def _moved(shape: Shape, tile: Tile, size: tuple[int, int]) -> Shape:
    if not isinstance(shape, RLE) or tile.size == size:
        return shape
    mask, left, top = crop_of(shape)
    return rle_of_crop(mask, tile.left + left, tile.top + top, size)


def _area(box: np.ndarray) -> float:
    return float(max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1]))


def _scores(found: Instances) -> np.ndarray:
    if found.scores is None:
        raise TypeError("predictions are wanted")
    return found.scores


def _steps(length: int, side: int) -> list[int]:
    """Where tiles begin."""
    count = _along(length, side)
    return [round(i * (length - side) / (count - 1)) for i in range(count)] if count > 1 else [0]


def _along(length: int, side: int) -> int:
    return 1 + int(np.ceil(max(0, length - side) / (side * (1 - OVERLAP))))


def _count(size: tuple[int, int], side: int) -> int:
    return _along(size[0], side) * _along(size[1], side)
