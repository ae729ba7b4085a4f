"""What a training run is told. One dataclass: the form, --help, the docs and config.json all come from its fields."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import types
import typing
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from engine.types import UserError

AUTO = 0
MASKS_AND_TAGS = ("semantic", "classify")
LOSSES = ("auto", "dice_bce", "focal", "tversky", "focal_tversky", "lovasz", "jaccard", "cross_entropy", "bce", "asymmetric")


def option(default: Any, *, low: float | None = None, high: float | None = None, choices: tuple[str, ...] = (),
           advanced: bool = True, group: str = "plan", tasks: tuple[str, ...] = ()) -> Any:
    """A field with its bounds. Label and help stand in the catalogues as `option.<name>` and `option.<name>.help`.

    `tasks` are those that read it, () = all.
    """
    metadata = {"low": low, "high": high, "choices": choices, "advanced": advanced, "group": group, "tasks": tasks}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one run. 0 (or "auto") means: derived from the data, the model and the machine; see engine.recipe.

    `options` are those of the model (its architecture); see ModelSpec.options. `epochs_plan`, `precision` and `layout` are recorded by the run
    where they were measured, so that config.json repeats it.
    """

    data: str = option("", group="data")
    model: str = option("deimv2_atto", advanced=False, group="model")
    task: str = option("detect", choices=("detect", "instance", "semantic", "classify"), group="model")
    options: dict[str, Any] = option({}, group="model")
    weights: str = option("auto", advanced=False, group="model")
    epochs: int = option(AUTO, low=0, high=10_000, advanced=False)
    minutes: float = option(0.0, low=0, high=100_000, advanced=False)
    batch: int = option(AUTO, low=0, high=1024, advanced=False)
    image_size: int = option(AUTO, low=0, high=2048, advanced=False)
    lr: float = option(0.0, low=0, high=1, group="optimiser")
    backbone_lr: float = option(0.0, low=0, high=1, group="optimiser")
    weight_decay: float = option(-1.0, low=-1, high=1, group="optimiser")
    warmup: float = option(0.05, low=0, high=0.5, group="optimiser")
    flat: float = option(-1.0, low=-1, high=1, group="optimiser")
    final_lr: float = option(-1.0, low=-1, high=1, group="optimiser")
    schedule: str = option("auto", choices=("auto", "flat_cosine", "cosine", "plateau"), group="optimiser")
    plateau_patience: int = option(10, low=1, high=1000, group="optimiser", tasks=MASKS_AND_TAGS)
    plateau_factor: float = option(0.5, low=0.01, high=0.99, group="optimiser", tasks=MASKS_AND_TAGS)
    stages: str = option("", group="optimiser", tasks=MASKS_AND_TAGS)
    patience: int = option(-1, low=-1, high=10_000, group="optimiser")
    clip: float = option(-1.0, low=-1, high=1000, group="optimiser")
    accumulate: int = option(1, low=1, high=256, group="optimiser")
    ema: float = option(0.0, low=0, high=0.99999, group="optimiser")
    denoising: int = option(AUTO, low=0, high=2000, group="loss", tasks=("detect",))
    nms: float = option(-1.0, low=-1, high=1, group="loss", tasks=("detect",))
    loss: str = option("auto", choices=LOSSES, group="loss", tasks=MASKS_AND_TAGS)
    class_weights: str = option("none", choices=("none", "balanced"), group="loss", tasks=MASKS_AND_TAGS)
    fp_weight: float = option(0.3, low=0, high=10, group="loss", tasks=("semantic",))
    fn_weight: float = option(0.7, low=0, high=10, group="loss", tasks=("semantic",))
    exponent: float = option(4 / 3, low=0.1, high=10, group="loss", tasks=("semantic",))
    focal_gamma: float = option(2.0, low=0, high=10, group="loss", tasks=MASKS_AND_TAGS)
    label_smoothing: float = option(0.0, low=0, high=0.5, group="loss", tasks=("classify",))
    uncertain: str = option("ignore", choices=("ignore", "zeros", "ones", "soft"), group="loss", tasks=("classify",))
    coarse_classes: str = option("", group="loss", tasks=("classify",))
    coarse_weight: float = option(0.5, low=0, high=10, group="loss", tasks=("classify",))
    class_loss: float = option(4.0, low=0, high=100, group="loss", tasks=("instance",))
    box_loss: float = option(5.0, low=0, high=100, group="loss", tasks=("instance",))
    giou_loss: float = option(2.0, low=0, high=100, group="loss", tasks=("instance",))
    mask_loss: float = option(5.0, low=0, high=100, group="loss", tasks=("instance",))
    dice_loss: float = option(5.0, low=0, high=100, group="loss", tasks=("instance",))
    augment: str = option("auto", choices=("auto", "none", "flip", "standard", "official", "large_scale", "tutorial"), group="data")
    copy_paste: float = option(0.0, low=0, high=1, advanced=False, group="data", tasks=("instance",))
    resize: str = option("stretch", choices=("stretch", "crop"), group="data", tasks=("semantic",))
    sampling: str = option("plain", choices=("plain", "balanced"), group="data", tasks=(*MASKS_AND_TAGS, "instance"))
    plain_tail: float = option(-1.0, low=-1, high=1, group="data")
    valid_fraction: float = option(0.2, low=0.01, high=0.9, group="data")
    precision: str = option("auto", choices=("auto", "none", "bf16", "fp16"), group="machine")
    layout: str = option("auto", choices=("auto", "channels_last", "contiguous"), group="machine")
    device: str = option("auto", choices=("auto", "cpu", "cuda", "mps"), group="machine")
    workers: int = option(-1, low=-1, high=64, group="machine")
    threads: int = option(AUTO, low=0, high=256, group="machine")
    cache: str = option("memory", choices=("memory", "disk", "none"), group="machine")
    seed: int = option(0, low=0, high=2**31 - 1, group="machine")
    epochs_plan: dict[str, float] = option({}, group="recorded")

    def __post_init__(self) -> None:
        for each in dataclasses.fields(self):
            object.__setattr__(self, each.name, coerce(each, getattr(self, each.name)))
        if self.epochs and self.minutes and not self.epochs_plan:
            raise UserError("epochs_and_minutes", epochs=self.epochs, minutes=self.minutes)
        if (stages := stages_of(self.stages)) and (self.minutes or self.epochs not in (0, sum(stage.epochs for stage in stages))):
            raise UserError("stages_and_length")
        if self.image_size % 32:
            raise UserError("image_size_multiple", value=self.image_size, low=max(32, self.image_size // 32 * 32),
                            high=max(64, self.image_size // 32 * 32 + 32))

    def replace(self, **changes: Any) -> TrainConfig:
        return dataclasses.replace(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """Raises UserError for a name that is not a field: a misspelt setting is never ignored."""
        known = {each.name for each in dataclasses.fields(cls)}
        for name in values:
            if name not in known:
                raise UserError("unknown_option", name=name, known=", ".join(sorted(known)))
        return cls(**values)


@dataclass(frozen=True)
class Stage:
    """A part of a run with an image size of its own: `epochs` long, at the rate `lr` (0: that of the run)."""

    image_size: int
    epochs: int
    lr: float = 0.0


STAGE = re.compile(r"(\d+)\s*[x×]\s*(\d+)(?:\s*@\s*([0-9.eE+-]+))?")


def stages_of(words: str) -> tuple[Stage, ...]:
    """The stages that "224x10, 256x80, 384x20@1e-5" means; () when there are none. Raises UserError for anything else."""
    found = []
    for part in re.split(r"[,;，；]", words):
        match = STAGE.fullmatch(part.strip())
        if match is None and part.strip():
            raise UserError("stages", value=words)
        if match:
            stage = Stage(int(match[1]), int(match[2]), _rate(match[3], words))
            if stage.image_size % 32 or not 32 <= stage.image_size <= 2048 or not 1 <= stage.epochs <= 10_000:
                raise UserError("stages", value=words)
            found.append(stage)
    return tuple(found)


def _rate(written: str | None, words: str) -> float:
    try:
        rate = float(written or 0)
    except ValueError as error:
        raise UserError("stages", value=words) from error
    if not 0 <= rate <= 1:
        raise UserError("stages", value=words)
    return rate


@cache
def option_types() -> dict[str, type]:
    return {name: kind for name, kind in typing.get_type_hints(TrainConfig).items()}


def coerce(spec: dataclasses.Field[Any], value: Any) -> Any:
    """`value` as the field's type and inside its bounds; UserError naming value, bound and remedy otherwise."""
    kind = option_types()[spec.name]
    if isinstance(kind, types.GenericAlias) or typing.get_origin(kind) is dict:
        return _epochs_by_moment(value) if spec.name == "epochs_plan" else _values_by_name(spec.name, value)
    if kind is str:
        value = str(value)
        if spec.metadata["choices"] and value not in spec.metadata["choices"]:
            raise UserError("option_choice", name=spec.name, value=value, choices=", ".join(spec.metadata["choices"]))
        return value
    value = _ratio(value) if kind is float else value
    try:
        number = kind(value) if kind is float else int(str(value)) if not float(value).is_integer() else int(float(value))
    except (TypeError, ValueError) as error:
        raise UserError("option_number", name=spec.name, value=value) from error
    low, high = spec.metadata["low"], spec.metadata["high"]
    if number != number or (low is not None and number < low) or (high is not None and number > high):
        raise UserError("option_bounds", name=spec.name, value=value, low=low, high=high)
    return number


def _ratio(value: Any) -> Any:
    """The quotient of words such as "4/3" and "4:3"; anything else as it is."""
    above, sign, below = str(value).replace("：", ":").replace(":", "/").partition("/")
    try:
        return float(above) / float(below) if sign else value
    except (ValueError, ZeroDivisionError):
        return value


def _epochs_by_moment(value: Any) -> dict[str, float]:
    """The record of engine.clock: epochs, whole or not, by "epochs done" or "epochs done+batches"."""
    try:
        pairs = dict(json.loads(value) if isinstance(value, str) else value).items()
        found = {"+".join(str(int(part)) for part in str(moment).split("+", 1)): float(epochs) for moment, epochs in pairs}
        return {moment: int(epochs) if epochs.is_integer() else epochs for moment, epochs in found.items() if math.isfinite(epochs)}
    except (TypeError, ValueError) as error:
        raise UserError("option_plan", value=value) from error


def _values_by_name(name: str, value: Any) -> dict[str, Any]:
    try:
        return {str(key): each for key, each in dict(json.loads(value) if isinstance(value, str) else value).items()}
    except (TypeError, ValueError) as error:
        raise UserError("option_table", name=name, value=value) from error
