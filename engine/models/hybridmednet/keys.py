"""What the names and shapes in a checkpoint tell of the network that it belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from torch import Tensor

from engine.models import OtherModel
from engine.models.hybridmednet.config import LISTED, VIM
from engine.models.hybridmednet.fingerprints import FINGERPRINTS
from engine.models.network import LoadMap
from engine.types import UserError

BACKBONE = "feature_extractor.backbone."


def load_map(hierarchical: bool) -> LoadMap:
    """The names are those of the official code; heads depend on the number of classes."""
    if hierarchical:
        return LoadMap(per_class=(r"classifier\.coarse_classifier\.4\..*", r"classifier\.fine_classifier\.0\.weight",
                                  r"classifier\.fine_classifier\.4\..*"), class_bias="classifier.fine_classifier.4.bias")
    return LoadMap(per_class=(r"classifier\.classifiers\.\d+\..*",))


def vim_load_map() -> LoadMap:
    return LoadMap(per_class=(r"head\..*",), class_bias="head.bias")


def infer(tensors: Mapping[str, Tensor], known: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """The options of HybridMedNet, `num_classes` among them. Heads, dropout and mode leave no trace: they keep their defaults.

    Raises UserError when the tensors are of another network or of a backbone that is not listed, and not `known` either.
    """
    if "fusion.scale_convs.0.0.weight" not in tensors or not any(name.startswith(BACKBONE) for name in tensors):
        raise OtherModel("weights_not_hybridmednet", example=next(iter(tensors), "-"))
    backbone = str(known["backbone"]) if "backbone" in known else backbone_of(tensors)
    options: dict[str, Any] = {"backbone": backbone, "fusion_channels": len(tensors["fusion.scale_convs.0.0.weight"])}
    lateral = tensors.get("feature_extractor.fpn.lateral_convs.0.weight")
    if lateral is not None:
        options["fpn_channels"] = len(lateral)
    options["use_modern_attention"] = "attention.self_attentions.0.0.weight" in tensors
    options["use_cross_scale_attention"] = "attention.cross_scale_attn.cross_attentions.0.q.weight" in tensors
    coarse = tensors.get("classifier.coarse_classifier.4.weight")
    options["hierarchical"] = coarse is not None
    if coarse is not None:
        return {**options, "num_coarse_classes": len(coarse), "num_classes": len(_wanted(tensors, "classifier.fine_classifier.4.weight"))}
    return {**options, "num_classes": _heads(tensors)}


def infer_vim(tensors: Mapping[str, Tensor], name: str) -> dict[str, Any]:
    """The options of a bare Vision Mamba. Raises UserError for another network and for another size than `name`."""
    size = tensors["norm_f.weight"].numel() if "norm_f.weight" in tensors and "layers.0.mixer.A_b_log" in tensors else None
    if size != VIM[name] or "head.bias" not in tensors:
        known = next((each for each, dim in VIM.items() if dim == size), "-")
        raise OtherModel("weights_not_vim", model=name, found=known, example=next(iter(tensors), "-"))
    return {"num_classes": len(tensors["head.bias"])}


def backbone_of(tensors: Mapping[str, Tensor]) -> str:
    """Raises UserError when no listed backbone has just these tensors."""
    found = fingerprint((name, value.numel()) for name, value in tensors.items())
    if found not in FINGERPRINTS:
        raise UserError("weights_backbone_unknown", tensors=found[0], numbers=found[1], known=", ".join(LISTED))
    return FINGERPRINTS[found]


def fingerprint(sizes: Iterable[tuple[str, int]]) -> tuple[int, int]:
    """How many tensors the backbone has, and how many numbers are in them, from names and sizes of a whole network.

    A simple pyramid on top and the counters of batch norms do not count.
    """
    left_out = re.compile(rf"{re.escape(BACKBONE)}pyramid\..*|.*num_batches_tracked")
    own = [size for name, size in sizes if name.startswith(BACKBONE) and not left_out.fullmatch(name)]
    return len(own), sum(own)


def _heads(tensors: Mapping[str, Tensor]) -> int:
    numbers = {int(found[1]) for name in tensors if (found := re.fullmatch(r"classifier\.classifiers\.(\d+)\.0\.weight", name))}
    if numbers != set(range(len(numbers))) or not numbers:
        raise UserError("weights_not_hybridmednet", example="classifier.classifiers")
    return len(numbers)


def _wanted(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in tensors:
        raise UserError("weights_not_hybridmednet", example=name)
    return tensors[name]
