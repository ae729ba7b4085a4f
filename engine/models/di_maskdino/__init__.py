"""DI-MaskDINO (arXiv:2410.16707): boxes and masks of objects. Listing it does not load torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from engine.models import ModelOption, ModelSpec
from engine.models.di_maskdino.config import BOUNDS, Config

if TYPE_CHECKING:
    from torch import Tensor, nn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, on which the backbones are pretrained
FAMILY = "di_maskdino"
FREE = ("queries", "first_selected", "points", "denoising_queries")  # what a person may change without changing the sizes of a named network

LARGE = (2.0, 12.7)  # memory with 25 objects an image

OFFICIAL = Config()
R50 = Config(backbone="resnet50")
ATTO = Config(
    backbone="convnext_atto", hidden_dim=64, encoder_layers=1, encoder_ffn=256, decoder_layers=2, decoder_ffn=256, queries=100,
    first_selected=100, guiding_tokens=20, points=1024, denoising_queries=25, box_for_empty=True, points_in_boxes=True,
    located_masks=True,
)  # made to be trained from random weights on a processor


def build(num_classes: int, *, defaults: Config = OFFICIAL, **options: Any) -> nn.Module:
    """The network with random weights; nothing is downloaded. Options: engine.models.di_maskdino.config.Config.

    `backbone` is the name of a timm model, or the sizes of a ConvNeXt, {"depths": [...], "dims": [...]}, as a table or as text.
    Raises UserError for an unknown option or backbone, and for values that do not go together.
    """
    from engine.models.di_maskdino.network import DIMaskDINO

    return DIMaskDINO(Config.of(options, defaults), num_classes)


def infer(tensors: dict[str, Tensor], known: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """The options of a checkpoint. Raises OtherModel when the tensors are not those of a DI-MaskDINO."""
    from engine.models.di_maskdino.keys import infer as read

    return read(tensors, known)


def _check(defaults: Config, options: Mapping[str, Any]) -> None:
    from engine.models.backbones import is_timm_model
    from engine.types import UserError

    backbone = Config.of(options, defaults).backbone
    if isinstance(backbone, str) and not is_timm_model(backbone):
        raise UserError("unknown_backbone", name=backbone, known="convnext_atto, convnext_tiny, convnext_small, convnext_base, resnet50, swin_tiny")


def _options(defaults: Config, names: Iterable[str]) -> tuple[ModelOption, ...]:
    return tuple(ModelOption(name, getattr(defaults, name), low=BOUNDS[name][0], high=BOUNDS[name][1]) for name in names)


def _spec(name: str, config: Config, parameters: float, image_size: int, cpu_image_size: int, memory: tuple[float, float],
          scratch_rate: float = 5e-4) -> ModelSpec:
    """Bare weights are told by the first of the family alone, which has every option: the others are the same network in fixed sizes."""
    options = _options(config, FREE)
    if name == FAMILY:
        options = (ModelOption("backbone", str(config.backbone)), *_options(config, BOUNDS), ModelOption("located_masks", config.located_masks))
    return ModelSpec(
        name=name, task="instance", build=partial(build, defaults=config), image_size=image_size, parameters=parameters, licence="Apache-2.0",
        mean=MEAN, std=STD, learning_rate=1e-4, backbone_lr_ratio=0.1, weight_decay=0.05, reference_batch=16, scratch_learning_rate=scratch_rate,
        clip=1.0, capacity=config.queries, cpu_image_size=cpu_image_size, cpu_batch=2, options=options, memory=memory,
        infer=infer if name == FAMILY else None, check=partial(_check, config),
    )


MODELS = (
    _spec(FAMILY, OFFICIAL, 53.05, 1024, 256, LARGE),
    _spec("di_maskdino_tiny", OFFICIAL, 53.05, 1024, 256, LARGE),
    _spec("di_maskdino_r50", R50, 52.3, 1024, 256, LARGE),
    _spec("di_maskdino_atto", ATTO, 4.128, 512, 256, (1.1, 1.5), 1e-3),
)
