"""Semantic segmentation: twelve encoder-decoder architectures on any encoder (segmentation-models-pytorch). Listing it does not load torch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from engine.models import ModelOption, ModelSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

ARCHITECTURES = {
    "unetplusplus": "UnetPlusPlus", "unet": "Unet", "manet": "MAnet", "linknet": "Linknet", "fpn": "FPN", "pspnet": "PSPNet", "pan": "PAN",
    "deeplabv3": "DeepLabV3", "deeplabv3plus": "DeepLabV3Plus", "upernet": "UPerNet", "segformer": "Segformer", "dpt": "DPT",
}
MODES = ("auto", "binary", "multiclass", "multilabel")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, on which the encoders are pretrained


def build(num_classes: int, *, architecture: str = "unetplusplus", encoder: str = "resnet34", mode: str = "auto") -> nn.Module:
    """The network with random weights; nothing is downloaded.

    `encoder` is one of segmentation-models-pytorch's own, or `tu-` before the name of a timm model. `mode`: "binary" (one channel, sigmoid),
    "multiclass" (softmax), "multilabel" (a sigmoid per class); "auto" is binary for one class, multiclass for more.
    Raises UserError for unknown names and for pairs of architecture and encoder that do not go together.
    """
    from engine.models.unet.network import Segmenter

    return Segmenter(num_classes, architecture, encoder, mode)


def infer(tensors: dict[str, Tensor], known: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """num_classes, architecture and encoder of a checkpoint, from the names and shapes of its tensors. Raises UserError when they fit none."""
    from engine.models.unet.recognise import recognise

    return recognise(tensors, known)


def check(options: Mapping[str, Any]) -> None:
    """Raises UserError for an unknown architecture or encoder, and for two that do not go together."""
    from engine.models.unet.recognise import check_pair

    check_pair(str(options.get("architecture", "unetplusplus")), str(options.get("encoder", "resnet34")))


MODELS = (
    ModelSpec(
        name="unet", task="semantic", build=build, image_size=256, parameters=26.079, licence="MIT", stride=32, mean=MEAN, std=STD,
        learning_rate=1e-4, scratch_learning_rate=1e-3, clip=1.0, schedule="cosine",
        backbone_lr_ratio=1.0, weight_decay=1e-2, reference_batch=16, cpu_image_size=192,
        options=(ModelOption("architecture", "unetplusplus", tuple(ARCHITECTURES)), ModelOption("encoder", "resnet34"),
                 ModelOption("mode", "auto", MODES)),
        infer=infer, check=check,
    ),
)
