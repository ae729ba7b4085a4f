"""Networks by name. Importing this package, or listing its models, does not load torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.registry import Registry
from engine.types import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn


class OtherModel(UserError):
    """The tensors of a checkpoint are those of another family of models."""


@dataclass(frozen=True)
class WeightsSource:
    """Where pretrained weights of a model come from: a file of a hub repository."""

    name: str
    repository: str
    file: str
    licence: str


@dataclass(frozen=True)
class ModelOption:
    """A choice that is part of a network's architecture. Its kind is that of `default`; `choices` () = any value of the kind.

    Label and help stand in the catalogues as `option.<name>` and `option.<name>.help`.
    """

    name: str
    default: str | int | float | bool
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Official:
    """What the published recipe of a detector says of its size, beside the rates: see engine.stages.

    Chances of `mosaic`, `mixup` and `copy_blend`; the latter lasts as long as strong augmentation (`blends_late`) or as mosaic. Boxes with a
    side below `least_side` pixels are not learnt. Batches are resized; `own_size` is how often the size itself stands among those to choose
    from, 0: never resized. `final_lr` is what the rate falls to, as a share.
    """

    mosaic: float = 0.5
    mixup: float = 0.5
    copy_blend: float = 0.5
    blends_late: bool = True
    least_side: float = 1.0
    own_size: int = 0
    final_lr: float = 0.5


@dataclass(frozen=True)
class ModelSpec:
    """What is known of a model without building it.

    `build(num_classes, **options)` returns an nn.Module that fulfils engine.models.network.Network; `options` are what it takes.
    `infer(tensors by name, known)` tells from a bare checkpoint the options, `num_classes` among them, that rebuild its network; options that
    are `known` are believed. It raises OtherModel where the tensors are not of this family, any other UserError where they do not tell enough.
    `recognises(tensors by name)` tells whether a bare checkpoint is of this model, where its number of classes is all that is to be inferred.
    `check(options)` raises UserError, without building the network, for names that it cannot be built with.
    `image_size` is the side of the square input in pixels, always a multiple of `stride`; `cpu_image_size` the largest one suggested
    without a GPU,
    `cpu_batch` the number of images in a batch there.
    `mean`, `std` are per channel, for RGB in 0..1. `parameters` counts in millions (4 classes).
    `learning_rate` is the published one at `reference_batch` images; `backbone_lr_ratio` multiplies it for the backbone.
    `scratch_learning_rate` is the rate without pretrained weights (0: somewhat above the published one), `clip` the limit of gradients.
    `capacity` is the number of objects per image that the network can find. `memory`: GiB that training takes at rest and for each megapixel
    of a batch, as measured on a processor in fp32; () where it was not. `official` is the published recipe, for those that have one.
    """

    name: str
    task: str
    build: Callable[..., nn.Module]
    image_size: int
    parameters: float
    licence: str
    stride: int = 32
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    weights: tuple[WeightsSource, ...] = ()
    learning_rate: float = 5e-4
    backbone_lr_ratio: float = 0.5
    weight_decay: float = 1e-4
    reference_batch: int = 32
    capacity: int = 300
    scratch_learning_rate: float = 0.0
    clip: float = 0.1
    schedule: str = "flat_cosine"
    cpu_image_size: int = 320
    cpu_batch: int = 4
    memory: tuple[float, float] | tuple[()] = ()
    official: Official | None = None
    options: tuple[ModelOption, ...] = ()
    infer: Callable[[dict[str, Tensor], Mapping[str, Any]], dict[str, Any]] | None = None
    recognises: Callable[[Mapping[str, Tensor]], bool] | None = None
    check: Callable[[Mapping[str, Any]], None] | None = None


TAG_MODES = ("auto", "multilabel", "multiclass")  # of a network for tags; "auto": as the labels are


def tag_mode(mode: str) -> str:
    """What "auto" means where no labels have been seen. Raises UserError for an unknown mode."""
    if mode not in TAG_MODES:
        raise UserError("option_choice", name="mode", value=mode, choices=", ".join(TAG_MODES))
    return "multilabel" if mode == "auto" else mode


SHARED = ("backbones", "deformable_attention", "matching", "network", "pyramid")  # parts of networks: they load torch and list nothing

def checked_options(spec: ModelSpec, options: Mapping[str, Any]) -> dict[str, Any]:
    """`options` as the kinds that the model's options have. Raises UserError for a name or a value that it does not know."""
    known = {each.name: each for each in spec.options}
    for name in options:
        if name not in known:
            raise UserError("unknown_option", name=name, known=", ".join(known) or "-")
    return {name: _checked(known[name], value) for name, value in options.items()}


def buildable(spec: ModelSpec, options: Mapping[str, Any]) -> dict[str, Any]:
    """`checked_options`, with which the model can be built for all that its names say. Raises UserError."""
    checked = checked_options(spec, options)
    if spec.check is not None:
        spec.check(checked)
    return checked


def _checked(option: ModelOption, value: Any) -> Any:
    kind: type[Any] = type(option.default)
    if kind is bool:
        words = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
        if str(value).strip().lower() not in words:
            raise UserError("option_choice", name=option.name, value=value, choices="true, false")
        return words[str(value).strip().lower()]
    if kind is str:
        if option.choices and str(value) not in option.choices:
            raise UserError("option_choice", name=option.name, value=value, choices=", ".join(option.choices))
        return str(value)
    try:
        number: float = kind(float(value))  # an int where the option counts
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError("option_number", name=option.name, value=value) from error
    outside = (option.low is not None and number < option.low) or (option.high is not None and number > option.high)
    if number != number or number != float(value) or outside:
        raise UserError("option_bounds", name=option.name, value=value, low=option.low, high=option.high)
    return number


models: Registry[ModelSpec] = Registry("engine.models", "MODELS", "model", skip=SHARED)


def create(name: str, num_classes: int, **options: Any) -> nn.Module:
    """The network called `name` with random weights. Raises UserError for an unknown name, listing the known ones."""
    return models.get(name).build(num_classes, **options)
