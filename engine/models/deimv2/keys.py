"""How official DEIMv2 checkpoints map onto this network: the names agree, only sizes and recomputed tables differ. And files of its backbones."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from engine.models.deimv2 import vit_keys
from engine.models.network import BackboneFile, LoadMap

LOAD_MAP = LoadMap(
    recomputed=(r"decoder\.anchors", r"decoder\.valid_mask"),
    per_class=(r"decoder\.enc_score_head\..*", r"decoder\.dec_score_head\..*", r"decoder\.denoising_class_embed\.weight"),
    class_bias="decoder.enc_score_head.bias",
)
BACKBONE = "backbone."
COUNTER = "num_batches_tracked"
HGNET = re.compile(r"(?:(?:module|model|backbone)\.)*(stem|stages)[._](.+)")
HGNET_FIRST = "stem.stem1.conv.weight"


def backbone_file(state: Mapping[str, Tensor], own: Mapping[str, Tensor], inner: str) -> BackboneFile | None:
    """What a file is to the backbone of a network whose tensors are `own`; None when it holds more than a backbone, or another kind.

    `inner`: where in the backbone the vision transformer is, "" for HGNetV2, of which any layers that fit are of use.
    """
    if any(name in own and not name.startswith(BACKBONE) for name in state):
        return None
    prefix = BACKBONE + inner
    part = {name.removeprefix(prefix): value for name, value in own.items() if name.startswith(prefix)}
    found = vit_keys.fitted(state, part) if inner else _hgnet(state, part)
    if found is None:
        return None
    tensors, unused = found
    wanted = tuple(prefix + name for name in part if not name.endswith((COUNTER, *vit_keys.FIXED)))
    return BackboneFile({prefix + name: value for name, value in tensors.items()}, wanted, tuple(unused), partly=not inner)


def _hgnet(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]] | None:
    """By the names of the authors, which timm has too (cut into features it writes `stages_0`); what classifies is not used."""
    places = {name: f"{found[1]}.{found[2]}" if (found := HGNET.fullmatch(name)) else "" for name in state}
    if HGNET_FIRST not in places.values():
        return None
    fits = {name: place for name, place in places.items() if place in own and own[place].shape == state[name].shape}
    return {place: state[name] for name, place in fits.items()}, [name for name in state if name not in fits]
