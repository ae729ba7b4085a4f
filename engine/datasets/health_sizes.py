"""How large images and boxes are, and how many objects an image holds: quantiles and the commonest sizes."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.datasets.health_facts import Facts

QUANTILES = {"min": 0.0, "p05": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95, "max": 1.0}
COMMON = 5


def sizes(facts: Facts, image_size: int) -> dict[str, Any]:
    """{"images", "boxes", "objects_per_image"}; lengths in pixels, `side` once the image's longer side is `image_size`, aspect = width / height."""
    if not len(facts):
        return {}
    found, counts = np.unique(facts.sizes, axis=0, return_counts=True)
    common = np.argsort(-counts, kind="stable")[:COMMON]
    summary: dict[str, Any] = {"images": {
        "width": quantiles(facts.sizes[:, 0]), "height": quantiles(facts.sizes[:, 1]), "different": len(found),
        "common": [{"width": int(found[each, 0]), "height": int(found[each, 1]), "images": int(counts[each])} for each in common]}}
    if len(facts.boxes):
        sides = (facts.boxes[:, 2:] - facts.boxes[:, :2]).astype(np.float64)
        areas = facts.sizes.prod(1)[facts.owners]
        scale = image_size / facts.sizes.max(1)[facts.owners]
        real = (sides > 0).all(1)
        summary["boxes"] = {"width": quantiles(sides[:, 0]), "height": quantiles(sides[:, 1]), "side": quantiles(sides.min(1) * scale),
                            "aspect": quantiles(sides[real, 0] / sides[real, 1]), "share_of_image": quantiles(sides.prod(1) / areas)}
        summary["objects_per_image"] = quantiles(np.bincount(facts.owners, minlength=len(facts))[facts.labeled])
    return summary


def quantiles(values: np.ndarray) -> dict[str, float]:
    """Rounded to four significant digits; nothing for no values."""
    if not len(values):
        return {}
    found = np.quantile(np.asarray(values, np.float64), list(QUANTILES.values()))
    return {name: float(f"{value:.4g}") for name, value in zip(QUANTILES, found, strict=True)}
