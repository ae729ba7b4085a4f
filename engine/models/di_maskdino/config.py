"""What makes up one network of this family, as plain values. Does not load torch."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.types import UserError

GROUPS = 32  # of the group norms: widths are multiples of it
STRIDE = 32
STAGES = 4


@dataclass(frozen=True)
class ConvNeXtSizes:
    """A ConvNeXt that has no name of its own: blocks and channels of its four stages."""

    depths: tuple[int, ...]
    dims: tuple[int, ...]

    def __post_init__(self) -> None:
        for values, most in ((self.depths, 100), (self.dims, 8192)):
            if len(values) != STAGES or not all(type(each) is int and 0 < each <= most for each in values):
                raise UserError("convnext_sizes", value={"depths": self.depths, "dims": self.dims})

    @classmethod
    def of(cls, value: str | Mapping[str, Any]) -> ConvNeXtSizes:
        """From {"depths": [...], "dims": [...]} or its text. Raises UserError for anything else."""
        try:
            given = ast.literal_eval(value) if isinstance(value, str) else value
            if set(given) != {"depths", "dims"}:
                raise ValueError("other keys")
            return cls(tuple(given["depths"]), tuple(given["dims"]))
        except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
            raise UserError("convnext_sizes", value=value) from error


@dataclass(frozen=True)
class Config:
    """The official sizes are the defaults.

    `first_selected` tokens go through the balancing (DI) layers, the best `queries` of them on to the decoder. `guiding_tokens` of the first
    decoder layer update the memory. `points` per mask are compared with the truth. Denoising takes about `denoising_queries` queries an
    image, changes their class with chance `label_noise` and moves their boxes by up to `box_noise`.

    Three departures from the published network help one that starts from random weights. `box_for_empty`: a chosen token whose mask is
    still empty starts from the box that was predicted for it, not from the corner of the image, from where boxes hardly find back.
    `points_in_boxes`: a quarter of the points lies in the object's box instead of anywhere, so that thin and small objects are met at all.
    `located_masks`: features and queries of masks know where they are, and the logits of a mask fall with the distance from its box.
    Raises UserError for values that do not go together.
    """

    backbone: str | ConvNeXtSizes = "convnext_tiny"
    hidden_dim: int = 256
    encoder_layers: int = 6
    encoder_ffn: int = 2048
    decoder_layers: int = 6
    decoder_ffn: int = 2048
    di_layers: int = 2
    queries: int = 300
    first_selected: int = 600
    guiding_tokens: int = 50
    points: int = 12544
    denoising_queries: int = 100
    label_noise: float = 0.2
    box_noise: float = 0.4
    box_for_empty: bool = False
    points_in_boxes: bool = False
    located_masks: bool = False
    num_heads: int = 8
    sampling_points: int = 4
    levels: int = 4

    def __post_init__(self) -> None:
        for name, (low, high) in BOUNDS.items():
            if not low <= getattr(self, name) <= high:
                raise UserError("option_bounds", name=name, value=getattr(self, name), low=low, high=high)
        if self.hidden_dim % GROUPS:
            raise UserError("option_multiple", name="hidden_dim", value=self.hidden_dim, multiple=GROUPS)
        if self.first_selected < self.queries:
            raise UserError("option_below", name="first_selected", value=self.first_selected, other="queries", bound=self.queries)

    @classmethod
    def of(cls, options: Mapping[str, Any], defaults: Config | None = None) -> Config:
        """`defaults` with `options` in place; `backbone` may be the sizes of a ConvNeXt as a table or as text.

        Raises UserError for an option that does not exist: a misspelt one is never ignored.
        """
        for name in options:
            if name not in OPTIONS:
                raise UserError("unknown_option", name=name, known=", ".join(OPTIONS))
        values = dict(options)
        backbone = values.get("backbone")
        if isinstance(backbone, Mapping) or (isinstance(backbone, str) and backbone.strip().startswith("{")):
            values["backbone"] = ConvNeXtSizes.of(backbone)
        return dataclasses.replace(defaults or cls(), **values)


BOUNDS: dict[str, tuple[float, float]] = {
    "hidden_dim": (GROUPS, 2048), "encoder_layers": (1, 24), "encoder_ffn": (8, 16384), "decoder_layers": (1, 24), "decoder_ffn": (8, 16384),
    "di_layers": (1, 12), "queries": (1, 2000), "first_selected": (1, 4000), "guiding_tokens": (1, 2000), "points": (16, 100_000),
    "denoising_queries": (0, 2000), "label_noise": (0.0, 1.0), "box_noise": (0.0, 1.0),
}
OPTIONS = ("backbone", "located_masks", *BOUNDS)
