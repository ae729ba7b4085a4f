"""What average precision needs to know of masks: their run lengths, and how well two of them agree along their boundary."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.cocoeval import COCOeval

from engine.datasets.mask_crops import crop_of, rle_of_crop
from engine.datasets.outlines import as_polygons, mask_of, rle_of_mask
from engine.types import RLE, Instances, Polygons

BOUNDARY = 0.02  # width of the boundary as a share of the image's diagonal


def run_lengths(labels: Instances, size: tuple[int, int]) -> list[RLE]:
    """The mask of each object in an image of `size` = (width, height); of its box where it has no outline."""
    width, height = size
    found = []
    for i in range(len(labels)):
        shape = labels.shapes[i] if labels.shapes is not None else None
        if isinstance(shape, RLE):
            found.append(shape)
            continue
        outline = as_polygons(shape, labels.boxes[i].tolist())
        found.append(rle_of_mask(mask_of(outline, size)) if outline.holes else _rle_of_rings(outline, width, height))
    return found


def _rle_of_rings(outline: Polygons, width: int, height: int) -> RLE:
    packed = coco_mask.merge(coco_mask.frPyObjects([np.asarray(ring, np.float64).ravel().tolist() for ring in outline.rings], height, width))
    return RLE(packed["counts"], (height, width))


def boundary_of(shape: RLE) -> RLE:
    """The pixels of a mask that lie at most BOUNDARY of the image's diagonal, and one pixel at least, away from what is not in it.

    Distances as a king walks; what lies outside the image is not in it.
    """
    height, width = shape.size
    reach = max(1, round(BOUNDARY * float(np.hypot(width, height))))
    mask, left, top = crop_of(shape)
    if not mask.size:
        return shape
    depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_C, 3)[1:-1, 1:-1]
    return rle_of_crop(mask & (depth <= reach), left, top, (width, height))


def coded(shape: RLE) -> dict[str, Any]:
    """Run lengths as pycocotools takes them."""
    return {"size": list(shape.size), "counts": shape.counts}


class BoundaryEval(COCOeval):
    """COCO's evaluation with the lesser of mask IoU and boundary IoU (Cheng et al. 2021, section 5). Every object carries its "boundary".

    What lies in a crowd is told by the masks alone: it does not share the boundary of the crowd.
    """

    def computeIoU(self, imgId: int, catId: int) -> Any:  # noqa: N802, N803 - the names of pycocotools
        whole = super().computeIoU(imgId, catId)
        if not len(whole):
            return whole
        truth, found = self._gts[imgId, catId], self._dts[imgId, catId]
        order = np.argsort([-each["score"] for each in found], kind="mergesort")[: self.params.maxDets[-1]]
        crowd = [int(each["iscrowd"]) for each in truth]
        edges = coco_mask.iou([found[i]["boundary"] for i in order], [each["boundary"] for each in truth], crowd)
        return np.where(crowd, whole, np.minimum(whole, edges))
