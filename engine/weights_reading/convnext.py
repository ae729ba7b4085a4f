"""ConvNeXt as five code bases name its tensors. Sources: the state dicts of facebookresearch/ConvNeXt(-V2), timm and transformers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache

from torch import Tensor

# official, timm, timm cut into features, transformers; "" where a tensor has no place
_BLOCK = ("stages.{i}.{j}.", "stages.{i}.blocks.{j}.", "stages_{i}.blocks.{j}.", "encoder.stages.{i}.layers.{j}.")
_PARTS = (
    ("dwconv.{end}", "conv_dw.{end}", "dwconv.{end}"), ("norm.{end}", "norm.{end}", "layernorm.{end}"), ("gamma", "gamma", "layer_scale_parameter"),
    ("pwconv1.{end}", "mlp.fc1.{end}", "pwconv1.{end}"), ("pwconv2.{end}", "mlp.fc2.{end}", "pwconv2.{end}"),
    ("grn.gamma", "mlp.grn.weight", "grn.weight"), ("grn.beta", "mlp.grn.bias", "grn.bias"),
)
RULES: tuple[tuple[str, ...], ...] = (
    ("downsample_layers.0.0.{end}", "stem.0.{end}", "stem_0.{end}", "embeddings.patch_embeddings.{end}"),
    ("downsample_layers.0.1.{end}", "stem.1.{end}", "stem_1.{end}", "embeddings.layernorm.{end}"),
    ("downsample_layers.{i}.{j}.{end}", "stages.{i}.downsample.{j}.{end}", "stages_{i}.downsample.{j}.{end}",
     "encoder.stages.{i}.downsampling_layer.{j}.{end}"),
    *((_BLOCK[0] + ours, _BLOCK[1] + timms, _BLOCK[2] + timms, _BLOCK[3] + theirs) for ours, timms, theirs in _PARTS),
    ("norm{i}.{end}", "", "", ""),  # one for each level, which detectors add
    ("norm.{end}", "head.norm.{end}", "", "layernorm.{end}"),
    ("head.{end}", "head.fc.{end}", "", "classifier.{end}"),
)
COLUMNS = {"convnext_official": 0, "convnext_detectron2": 0, "convnext_timm": 1, "convnext_timm_features": 2, "convnext_hf": 3}
PREFIX = {"convnext_detectron2": "backbone."}
HF_PREFIX = re.compile(r"convnext(v2)?\.")
NOT_OF_BACKBONES = re.compile(r"(norm|head)\.(weight|bias)")
CONVOLVED = {((2, 2, 6, 2), (40, 80, 160, 320)), ((2, 2, 6, 2), (48, 96, 192, 384)), ((2, 2, 6, 2), (64, 128, 256, 512)),
             ((2, 2, 8, 2), (80, 160, 320, 640))}  # depths and widths of the models for which timm writes linear layers as 1x1 convolutions
FIELDS = {"i": r"(?P<i>\d+)", "j": r"(?P<j>\d+)", "end": r"(?P<end>weight|bias)"}


def renamed(tensors: Mapping[str, Tensor], source: str, target: str) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors under the names of `target`, and the names of those that have no place there. Both are families of weights_reading."""
    official = {name: official_name(name, source) for name in tensors}
    convolved = sizes({new: tensors[name].shape for name, new in official.items() if new}) in CONVOLVED
    made: dict[str, Tensor] = {}
    left = []
    for name, tensor in tensors.items():
        new = target_name(official[name], target) if official[name] else ""
        if new:
            made[new] = _shaped(tensor, official[name], source, target, convolved=convolved)
        else:
            left.append(name)
    return made, left


def as_timm_features(tensors: Mapping[str, Tensor], family: str) -> dict[str, Tensor]:
    """As timm cuts it. Heads keep their names; files of others, and of timm itself, stay as they are."""
    if family not in COLUMNS or COLUMNS[family] in (1, 2):
        return dict(tensors)
    made, left = renamed(tensors, family, "convnext_timm_features")
    return {**made, **{name: tensors[name] for name in left}}


def official_name(name: str, source: str) -> str:
    """"" for a name that the source does not have."""
    if source == "convnext_hf":
        name = HF_PREFIX.sub("", name, count=1) if HF_PREFIX.match(name) else name
    elif not name.startswith(PREFIX.get(source, "")):
        return ""
    return _through(name.removeprefix(PREFIX.get(source, "")), COLUMNS[source], 0)


def target_name(official: str, target: str) -> str:
    """"" for a tensor that the target has no place for."""
    if target == "convnext_detectron2" and NOT_OF_BACKBONES.fullmatch(official):
        return ""
    new = _through(official, 0, COLUMNS[target])
    return new and PREFIX.get(target, "") + new


def sizes(shapes: Mapping[str, Iterable[int]]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(depths, widths) of a model with official names."""
    depths, widths = [0] * 4, [0] * 4
    for name, shape in shapes.items():
        block = re.match(r"stages\.([0-3])\.(\d+)\.", name)
        if block:
            depths[int(block[1])] = max(depths[int(block[1])], int(block[2]) + 1)
        if block and name.endswith("dwconv.weight"):
            widths[int(block[1])] = next(iter(shape))
    return tuple(depths), tuple(widths)


def _shaped(tensor: Tensor, official: str, source: str, target: str, *, convolved: bool) -> Tensor:
    """Linear layers and response norms have other shapes in timm; the numbers and their order stay."""
    to_timm, from_timm = COLUMNS[target] in (1, 2), COLUMNS[source] in (1, 2)
    if ".pwconv" in official and official.endswith("weight"):
        if not to_timm and tensor.ndim == 4:
            return tensor.reshape(tensor.shape[:2])
        if to_timm and not from_timm and convolved and tensor.ndim == 2:
            return tensor.reshape(*tensor.shape, 1, 1)
    if ".grn." in official and to_timm != from_timm:
        return tensor.reshape(-1) if to_timm else tensor.reshape(1, 1, 1, -1)
    return tensor


def _through(name: str, source: int, target: int) -> str:
    for rule in RULES:
        found = _pattern(rule[source]).fullmatch(name) if rule[source] else None
        if found:
            return rule[target].format(**found.groupdict())
    return ""


@cache
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.escape(template).replace(r"\{", "{").replace(r"\}", "}").format(**FIELDS))
