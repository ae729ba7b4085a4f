"""Any classifier of timm, under its own names, so that its checkpoints load. Listing it does not load timm."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from engine.models import TAG_MODES, ModelOption, ModelSpec, OtherModel, tag_mode
from engine.types import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

ANY_SIZE: tuple[dict[str, bool], ...] = ({"dynamic_img_size": True, "dynamic_img_pad": True}, {"strict_img_size": False}, {})
COMPUTED = ("relative_position_index", "attn_mask", "num_batches_tracked")  # in some files of a network and not in others
RECOGNISED = {  # a tensor that all models of a family have -> the common ones among them
    "layer1.0.conv1.weight": ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnet18d", "resnet34d", "resnet50d", "resnet26d",
                              "resnext50_32x4d", "wide_resnet50_2"),
    "features.denseblock1.denselayer1.conv1.weight": ("densenet121", "densenet169", "densenet201"),
    "blocks.0.0.bn1.weight": ("mobilenetv2_100", "mobilenetv3_small_100", "mobilenetv3_large_100", "efficientnet_b0", "efficientnet_b1",
                              "efficientnet_b2", "efficientnet_b3", "efficientnet_b4", "efficientnetv2_rw_t", "tf_efficientnetv2_s",
                              "tf_efficientnetv2_m", "tf_efficientnetv2_l"),
    "s1.b1.conv1.conv.weight": ("regnety_002", "regnety_016", "regnety_032"),
    "stages.0.blocks.0.conv_dw.weight": ("convnext_atto", "convnext_nano", "convnext_tiny", "convnext_small", "convnext_base", "convnext_large"),
    "layers.0.blocks.0.attn.relative_position_bias_table": ("swin_tiny_patch4_window7_224", "swin_small_patch4_window7_224",
                                                            "swin_base_patch4_window7_224"),
    "blocks.0.attn.qkv.weight": ("vit_tiny_patch16_224", "vit_small_patch16_224", "vit_base_patch16_224", "vit_base_patch32_224",
                                 "vit_small_patch14_dinov2", "vit_base_patch14_dinov2", "vit_small_patch16_dinov3", "vit_base_patch16_dinov3"),
    "features.0.weight": ("vgg16", "vgg16_bn", "vgg19_bn"),
}


def build(num_classes: int, backbone: str = "resnet18", dropout: float = 0.0, mode: str = "auto") -> nn.Module:
    """The timm model `backbone` with random weights and a new head. Raises UserError for an unknown name, naming the closest ones."""
    from engine.models.timm_classifier.network import adopt

    model, any_size = _create(backbone, num_classes, dropout)
    return adopt(model, backbone, tag_mode(mode), fixed_size=not any_size and bool(model.pretrained_cfg.get("fixed_input_size")))


def infer(tensors: dict[str, Tensor], known: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """`backbone` and `num_classes` of a bare timm checkpoint, for the common models; of any other when its backbone is `known`.

    Raises UserError when no common model has these tensors, or when models that compute differently share them: the name has to be told.
    """
    shapes = {name: tuple(value.shape) for name, value in tensors.items() if not name.endswith(COMPUTED)}
    if "backbone" in known:
        classes = shapes.get(_layout(str(known["backbone"]))[1])
        return {"backbone": str(known["backbone"]), **({"num_classes": classes[0]} if classes else {})}
    family = [name for marker, names in RECOGNISED.items() if marker in shapes for name in names]
    if not family:
        raise OtherModel("timm_backbone_unclear", found="-", example=next(iter(tensors), "-"))
    fitting = [name for name in family if _fits(name, shapes)]
    twins = [twin for name in fitting for twin in _twins(name) if _fits(twin, shapes)]
    if len(fitting) != 1 or twins:
        raise UserError("timm_backbone_unclear", found=", ".join([*fitting, *twins]) or "-", example=next(iter(tensors), "-"))
    return {"backbone": fitting[0], "num_classes": shapes[_layout(fitting[0])[1]][0]}


def check(options: Mapping[str, Any]) -> None:
    """Raises UserError for a backbone that timm does not know."""
    known_backbone(str(options.get("backbone", "resnet18")))


def known_backbone(backbone: str) -> None:
    """Raises UserError for a name that timm does not know, naming the closest ones."""
    import timm

    name, _, tag = backbone.partition(".")
    if not timm.is_model(name):
        raise UserError("timm_backbone_unknown", name=backbone, known=", ".join(closest(backbone)))
    if tag and backbone not in timm.list_models(f"{name}.*", pretrained=True):
        raise UserError("timm_backbone_unknown", name=backbone, known=", ".join([name, *timm.list_models(f"{name}.*", pretrained=True)[:4]]))


def _create(backbone: str, num_classes: int, dropout: float) -> tuple[nn.Module, bool]:
    """Random weights, and whether the model was told to take any image size."""
    import timm

    known_backbone(backbone)
    for extra in ANY_SIZE:
        try:
            return timm.create_model(backbone, pretrained=False, num_classes=num_classes, drop_rate=dropout, **extra), bool(extra)
        except TypeError:
            if not extra:
                raise
    raise AssertionError(backbone)


def closest(name: str, count: int = 5) -> list[str]:
    """The names that timm knows and that begin with `name`, then those that look most like it."""
    import timm

    known, wanted = timm.list_models(), name.lower()
    longer = [each for each in known if each.startswith(wanted)]
    return list(dict.fromkeys([*longer, *difflib.get_close_matches(wanted, known, n=count, cutoff=0.5)]))[:count]


def _twins(name: str) -> list[str]:
    """The port from TensorFlow, or what it is a port of: the same tensors, but other padding and other constants."""
    import timm

    twin = name.removeprefix("tf_") if name.startswith("tf_") else f"tf_{name}"
    return [twin] if timm.is_model(twin) else []


def _fits(name: str, shapes: dict[str, tuple[int, ...]]) -> bool:
    """All names are there and all shapes agree, but for the number of classes."""
    own, bias = _layout(name)
    head = bias.rpartition(".")[0]
    return own.keys() == shapes.keys() and all(shape == own[key] or (key.startswith(f"{head}.") and shape[1:] == own[key][1:])
                                               for key, shape in shapes.items())


@cache
def _layout(name: str) -> tuple[dict[str, tuple[int, ...]], str]:
    """Names and shapes of the tensors, and the name of the classifier's bias. No memory is taken and nothing is computed."""
    import torch

    with torch.device("meta"):
        network = build(1, name)
    return {key: tuple(value.shape) for key, value in network.state_dict().items() if not key.endswith(COMPUTED)}, network.load_map().class_bias


MODELS = (
    ModelSpec(
        name="timm", task="classify", build=build, infer=infer, check=check, image_size=224, cpu_image_size=128, cpu_batch=16, parameters=11.2,
        licence="Apache-2.0",
        mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), learning_rate=1e-4, scratch_learning_rate=1e-3, clip=1.0, schedule="cosine",
        backbone_lr_ratio=1.0, weight_decay=0.01,
        options=(ModelOption("backbone", "resnet18"), ModelOption("dropout", 0.0, low=0.0, high=0.9),
                 ModelOption("mode", "auto", choices=TAG_MODES)),
    ),
)
