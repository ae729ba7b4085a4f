"""How checkpoints of the official code name the tensors of this network, and what their names and shapes tell of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from torch import Tensor

from engine.models import OtherModel
from engine.models.backbones import CONVNEXT_PARTS
from engine.models.network import LoadMap
from engine.types import UserError

PREDICTOR, PIXELS = r"sem_seg_head\.predictor\.", r"sem_seg_head\.pixel_decoder\."

RULES: tuple[tuple[str, str], ...] = (  # the first that fits a whole name; several names of one tensor lead to the same place
    (rf"{PIXELS}transformer\.(level_embed)", r"pixel_decoder.\1"),
    (rf"{PIXELS}transformer\.encoder\.layers\.(.*)", r"pixel_decoder.layers.\1"),
    (rf"{PIXELS}(.*)", r"pixel_decoder.\1"),
    (rf"{PREDICTOR}(enc_output(?:_norm)?\..*)", r"selection.\1"),
    (rf"{PREDICTOR}(label_enc\..*)", r"\1"),
    (rf"{PREDICTOR}(?:oldm\.|decoder\.)?(class_embed\..*)", r"heads.\1"),
    (rf"{PREDICTOR}(?:decoder\.)?(mask_embed\..*)", r"heads.\1"),
    (rf"{PREDICTOR}decoder[._](norm\..*)", r"heads.\1"),
    (rf"{PREDICTOR}(?:_bbox_embed|(?:decoder\.)?bbox_embed\.\d+)\.(.*)", r"heads.bbox_embed.\1"),
    (rf"{PREDICTOR}oldm[._](norm\..*)", r"balancing.\1"),
    (rf"{PREDICTOR}(?:_oldm_bbox_embed|oldm[._]bbox_embed\.\d+)\.(.*)", r"balancing.bbox_embed.\1"),
    (rf"{PREDICTOR}oldm\.(.*)", r"balancing.\1"),
    (rf"{PREDICTOR}(?:decoder\.)?query_guide_feature_update\.(.*)", r"decoder.guidance.\1"),
    (rf"{PREDICTOR}(decoder\..*)", r"\1"),
    (r"backbone\.downsample_layers\.0\.(\d)\.(.*)", r"backbone.model.stem_\1.\2"),
    (r"backbone\.downsample_layers\.(\d)\.(.*)", r"backbone.model.stages_\1.downsample.\2"),
    *((rf"backbone\.stages\.(\d)\.(\d+)\.{part}\.(.*)", rf"backbone.model.stages_\1.blocks.\2.{ours}.\3") for ours, part in CONVNEXT_PARTS.items()),
    (r"backbone\.stages\.(\d)\.(\d+)\.gamma", r"backbone.model.stages_\1.blocks.\2.gamma"),
    (r"backbone\.stem\.(\d)\.(.*)", r"backbone.model.stem_\1.\2"),
    (r"backbone\.stages\.(\d)\.(blocks|downsample)\.(.*)", r"backbone.model.stages_\1.\2.\3"),
    (r"backbone\.stem\.conv1\.norm\.(.*)", r"backbone.model.bn1.\1"),
    (r"backbone\.stem\.(conv1\..*)", r"backbone.model.\1"),
    *((rf"backbone\.res{stage}\.(\d+)\.{part}", rf"backbone.model.layer{stage - 1}.\1.{ours}") for stage in range(2, 6) for part, ours in (
        (r"conv(\d)\.norm\.(.*)", r"bn\2.\3"), (r"(conv\d\..*)", r"\2"), (r"shortcut\.norm\.(.*)", r"downsample.1.\2"),
        (r"shortcut\.(.*)", r"downsample.0.\2"))),
)
COMPILED = tuple((re.compile(pattern), template) for pattern, template in RULES)


@lru_cache(maxsize=4096)
def rename(name: str) -> str:
    """The place in this network of a tensor of the official code (with ConvNeXt or ResNet as backbone); other names stay as they are."""
    for pattern, template in COMPILED:
        if found := pattern.fullmatch(name):
            return found.expand(template)
    return name


LOAD_MAP = LoadMap(
    rename=rename, recomputed=(r"criterion\.empty_weight",), per_class=(r"heads\.class_embed\..*", r"label_enc\.weight"),
    class_bias="heads.class_embed.bias",
)

Sizes = tuple[int, ...]
CONVNEXTS: dict[tuple[Sizes, Sizes], tuple[str, bool]] = {  # depths, dims: name, and whether the published weights of the blocks are 1x1 convolutions
    ((2, 2, 6, 2), (40, 80, 160, 320)): ("convnext_atto", True), ((2, 2, 6, 2), (48, 96, 192, 384)): ("convnext_femto", True),
    ((2, 2, 6, 2), (64, 128, 256, 512)): ("convnext_pico", True), ((2, 2, 8, 2), (80, 160, 320, 640)): ("convnext_nano", True),
    ((3, 3, 9, 3), (96, 192, 384, 768)): ("convnext_tiny", False), ((3, 3, 27, 3), (96, 192, 384, 768)): ("convnext_small", False),
    ((3, 3, 27, 3), (128, 256, 512, 1024)): ("convnext_base", False), ((3, 3, 27, 3), (192, 384, 768, 1536)): ("convnext_large", False),
    ((3, 3, 27, 3), (256, 512, 1024, 2048)): ("convnext_xlarge", False),
}
RESNETS: dict[Sizes, str] = {(3, 4, 6, 3): "resnet50", (3, 4, 23, 3): "resnet101", (3, 8, 36, 3): "resnet152"}
SWINS: dict[tuple[Sizes, int], str] = {((2, 2, 6, 2), 96): "swin_tiny", ((2, 2, 18, 2), 96): "swin_small", ((2, 2, 18, 2), 128): "swin_base"}
SIGNS = ("heads.class_embed.weight", "heads.mask_embed.layers.0.weight", "pixel_decoder.level_embed", "selection.enc_output.weight")


def infer(tensors: Mapping[str, Tensor], known: Mapping[str, Any]) -> dict[str, Any]:
    """`num_classes` and the options that leave a trace. Numbers of queries and tokens leave none: they keep their defaults.

    Options that are `known` are believed. Raises OtherModel when the tensors are not of this family, UserError when the backbone does not show.
    """
    shapes = {rename(name): tuple(value.shape) for name, value in tensors.items()}
    if any(name not in shapes for name in SIGNS):
        raise OtherModel("weights_not_di_maskdino", example=next(iter(tensors), "-"))
    count, dim = shapes["heads.class_embed.weight"]
    options: dict[str, Any] = {"num_classes": count, "backbone": known.get("backbone") or backbone_of(shapes), "hidden_dim": dim}
    if "heads.locator.nearness" in shapes:
        options["located_masks"] = True
    for layers, width, part in (("encoder_layers", "encoder_ffn", "pixel_decoder"), ("decoder_layers", "decoder_ffn", "decoder"),
                                ("di_layers", "", "balancing")):
        numbers = _numbers(shapes, rf"{part}\.layers\.(\d+)\..*")
        if numbers:
            options[layers] = len(numbers)
        if width and f"{part}.layers.0.linear1.weight" in shapes:
            options[width] = shapes[f"{part}.layers.0.linear1.weight"][0]
    return options


def backbone_of(shapes: Mapping[str, Sizes]) -> str:
    """The backbone's name, or the sizes of a ConvNeXt that has none as JSON text. Raises UserError for anything else."""
    swin = tuple(len(_numbers(shapes, rf"backbone\.model\.layers_{stage}\.blocks\.(\d+)\..*")) for stage in range(4))
    resnet = tuple(len(_numbers(shapes, rf"backbone\.model\.layer{stage}\.(\d+)\..*")) for stage in range(1, 5))
    convnext = tuple(len(_numbers(shapes, rf"backbone\.model\.stages_{stage}\.blocks\.(\d+)\..*")) for stage in range(4))
    first = shapes.get("backbone.model.patch_embed.proj.weight", (0,))[0]
    if (swin, first) in SWINS:
        return SWINS[swin, first]
    if resnet in RESNETS and "backbone.model.layer1.0.conv3.weight" in shapes:
        return RESNETS[resnet]
    dims = tuple(shapes.get(f"backbone.model.stages_{stage}.blocks.0.conv_dw.weight", (0,))[0] for stage in range(4))
    if not all(convnext) or not all(dims):
        raise UserError("weights_backbone_unnamed", example=next((name for name in shapes if name.startswith("backbone.")), "-"))
    name, as_convolutions = CONVNEXTS.get((convnext, dims), ("", False))
    if name and as_convolutions == (len(shapes.get("backbone.model.stages_0.blocks.0.mlp.fc1.weight", ())) == 4):
        return name
    return json.dumps({"depths": convnext, "dims": dims})


def _numbers(shapes: Mapping[str, Sizes], pattern: str) -> set[str]:
    return {found[1] for name in shapes if (found := re.fullmatch(pattern, name))}
