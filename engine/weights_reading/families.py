"""Whose names the tensors have: the code bases that people bring checkpoints from, told by names that only they use."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

OURS = frozenset(("model", "model_name", "classes", "preprocess"))  # the keys of a best.pt

# in this order: (family, names of which each must be there or begin some name)
SIGNS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("di_maskdino", ("sem_seg_head.pixel_decoder.", "sem_seg_head.predictor.oldm")),
    ("maskdino", ("sem_seg_head.pixel_decoder.", "sem_seg_head.predictor.label_enc.weight")),
    ("mask2former", ("sem_seg_head.pixel_decoder.", "sem_seg_head.predictor.")),
    ("hybridmednet", ("feature_extractor.backbone.", "fusion.", "classifier.")),
    ("deimv2", ("decoder.enc_score_head.", "decoder.dec_bbox_head.", "backbone.")),
    ("sam2", ("image_encoder.trunk.", "sam_mask_decoder.", "sam_prompt_encoder.")),
    ("sam2_hf", ("vision_encoder.backbone.", "mask_decoder.", "prompt_encoder.")),
    ("smp", ("encoder.", "decoder.", "segmentation_head.0.")),
    ("convnext_official", ("downsample_layers.0.0.weight", "stages.0.0.dwconv.weight")),
    ("convnext_detectron2", ("backbone.downsample_layers.0.0.weight", "backbone.stages.0.0.dwconv.weight")),
    ("convnext_timm", ("stem.0.weight", "stages.0.blocks.0.conv_dw.weight")),
    ("convnext_timm_features", ("stem_0.weight", "stages_0.blocks.0.conv_dw.weight")),
    ("convnext_hf", ("embeddings.patch_embeddings.weight", "encoder.stages.0.layers.0.dwconv.weight")),
    ("convnext_hf", ("convnext.embeddings.patch_embeddings.weight", "convnext.encoder.stages.0.layers.0.dwconv.weight")),
    ("convnext_hf", ("convnextv2.embeddings.patch_embeddings.weight", "convnextv2.encoder.stages.0.layers.0.dwconv.weight")),
    ("vim", ("patch_embed.proj.weight", "layers.0.mixer.", "norm_f.weight")),
    ("detectron2_resnet", ("stem.conv1.weight", "res2.0.conv1.weight")),
    ("detectron2_resnet", ("backbone.bottom_up.stem.conv1.weight",)),
    ("caffe2", ("conv1_w", "res2_0_branch2a_w")),
    ("timm_resnet", ("conv1.weight", "layer1.0.conv1.weight", "layer4.0.conv1.weight")),
    ("timm_vit", ("cls_token", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight")),
    ("timm_swin", ("patch_embed.proj.weight", "layers.0.blocks.0.attn.relative_position_bias_table")),
    ("timm_efficientnet", ("conv_stem.weight", "blocks.0.0.")),
)
CONVNEXT = tuple(family for family, _ in SIGNS if family.startswith("convnext"))
NOT_DETECTRON2 = ("lightbox", "deimv2", "hybridmednet", "vim", "smp", "sam2", "sam2_hf")  # no Detectron2 model has these names
OTHER_PROGRAMS = (*NOT_DETECTRON2, "convnext_timm", "convnext_timm_features", "convnext_hf", "timm_resnet", "timm_vit", "timm_swin",
                  "timm_efficientnet")  # what Detectron2 makes of their files is no fault


def family(names: Collection[str], outer: Mapping[Any, Any]) -> str:
    """"" when the names belong to nobody known. `outer` is what the file holds beside the weights."""
    if outer.keys() >= OURS:
        return "lightbox"
    return next((each for each, signs in SIGNS if all(_shows(names, sign) for sign in signs)), "")


def _shows(names: Iterable[str], sign: str) -> bool:
    return any(name.startswith(sign) for name in names)
