"""Files that hold only a vision transformer: the names that its publishers give to the tensors, and those of `vit.VisionTransformer`.

Known: the authors of DEIMv2 and of DINOv3 (the same names but for wrappers), timm, and transformers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

WRAPPERS = re.compile(r"(?:(?:module|model|backbone|dinov3|_model|encoder|student|teacher|vit)\.)+")
IN_BLOCK = re.compile(r"(?:blocks|layer)\.(\d+)\.(.+)")
OUTSIDE = {
    "embeddings.cls_token": "cls_token", "embeddings.mask_token": "mask_token", "embeddings.register_tokens": "storage_tokens",
    "register_tokens": "storage_tokens", "reg_token": "storage_tokens", "rope.periods": "rope_embed.periods",
    "embeddings.patch_embeddings.weight": "patch_embed.proj.weight", "embeddings.patch_embeddings.bias": "patch_embed.proj.bias",
}
INSIDE = (
    ("gamma_1", "ls1.gamma"), ("gamma_2", "ls2.gamma"), ("layer_scale1.lambda1", "ls1.gamma"), ("layer_scale2.lambda1", "ls2.gamma"),
    ("attention.o_proj.", "attn.proj."),
)
PLAIN = (("mlp.up_proj.", "mlp.fc1."), ("mlp.down_proj.", "mlp.fc2."))
GATED = (("mlp.gate_proj.", "mlp.w1."), ("mlp.up_proj.", "mlp.w2."), ("mlp.down_proj.", "mlp.w3."),
         ("mlp.fc1_g.", "mlp.w1."), ("mlp.fc1_x.", "mlp.w2."), ("mlp.fc2.", "mlp.w3."))
GATES = ("mlp.gate_proj.", "mlp.fc1_g.")
ATTENTION = re.compile(r"(?:attention|attn)\.([qkv])_(?:proj\.)?(weight|bias)")
FIXED = ("mask_token", "rope_embed.periods", "bias_mask")  # not learnt, or used by nobody


def unwrapped(name: str) -> str:
    """A name without the modules that the transformer was a part of."""
    found = WRAPPERS.match(name)
    return name[found.end():] if found else name


def renamed(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors by the names of `VisionTransformer`, and the names of the file that mean nothing here.

    Queries, keys and values become one layer; a bias that the file does not have is zero, `bias_mask` is one wherever a bias came from the file.
    """
    gated = any(gate in name for name in state for gate in GATES)
    found: dict[str, Tensor] = {}
    parts: dict[str, dict[str, Tensor]] = {}
    unknown = []
    for name, value in state.items():
        bare = unwrapped(name)
        inside = IN_BLOCK.fullmatch(bare)
        if inside is None:
            target = OUTSIDE.get(bare, bare)
            if target in ("cls_token", "storage_tokens", "mask_token") or target.startswith(("patch_embed.proj.", "rope_embed.periods", "norm.")):
                found[target] = value[0] if target == "mask_token" and value.ndim == 3 else value
            else:
                unknown.append(name)
            continue
        block, rest = f"blocks.{inside[1]}.", inside[2]
        if attention := ATTENTION.fullmatch(rest):
            parts.setdefault(block, {})[attention[1] + attention[2]] = value
        elif rest.startswith("mlp.w12."):
            kind = rest.removeprefix("mlp.w12.")
            found |= {f"{block}mlp.w1.{kind}": value.chunk(2)[0], f"{block}mlp.w2.{kind}": value.chunk(2)[1]}
        else:
            found[block + _inside(rest, gated=gated)] = value
    for block, each in parts.items():
        found |= _joined(f"{block}attn.qkv.", each)
    _biases(found)
    return found, unknown


def _inside(rest: str, *, gated: bool) -> str:
    for theirs, ours in (*INSIDE, *(GATED if gated else PLAIN)):
        if rest.startswith(theirs):
            return ours + rest.removeprefix(theirs)
    return rest


def _joined(stem: str, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One layer of separate queries, keys and values: timm separates the biases alone and leaves out that of the keys, as transformers does."""
    found = {}
    if all(f"{each}weight" in parts for each in "qkv"):
        found["weight"] = torch.cat([parts[f"{each}weight"] for each in "qkv"])
    given = [each for each in "qkv" if f"{each}bias" in parts]
    if given:
        like = parts[f"{given[0]}bias"]
        found["bias"] = torch.cat([parts.get(f"{each}bias", torch.zeros_like(like)) for each in "qkv"])
        found["bias_mask"] = torch.cat([torch.full_like(like, float(each in given)) for each in "qkv"])
    return {stem + name: value for name, value in found.items()}


def _biases(found: dict[str, Tensor]) -> None:
    """Completes the biases of queries, keys and values. A mask that was never filled (it begins as not-a-number) is what it always becomes."""
    for name in [each for each in found if each.endswith("attn.qkv.weight")]:
        stem = name.removesuffix("weight")
        length = len(found[name])
        bias = found.setdefault(f"{stem}bias", torch.zeros(length))
        mask = found.setdefault(f"{stem}bias_mask", torch.ones_like(bias))
        if not torch.isfinite(mask).all():
            found[f"{stem}bias_mask"] = torch.ones(3, length // 3).index_fill_(0, torch.tensor(1), 0).flatten()


def fitted(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]] | None:
    """What the tensors of a file are to the transformer whose tensors are `own`, and which of them have no place.

    None for another kind of network: no vision transformer, one that adds a table of places, or that has registers or scales where `own` has none.
    """
    found, unknown = renamed(state)
    if not {"patch_embed.proj.weight", "blocks.0.attn.qkv.weight"} <= found.keys() or any(unwrapped(name).endswith("pos_embed") for name in unknown):
        return None
    if "embeddings.position_embeddings" in map(unwrapped, unknown):
        return None
    if any(name in found and name not in own for name in ("storage_tokens", "blocks.0.ls1.gamma")):
        return None
    for name in [each for each in found if each.endswith("bias_mask") and each not in own]:
        bias = name.removesuffix("_mask")
        found[bias] = found[bias] * found.pop(name)
    return {name: value for name, value in found.items() if name in own}, unknown + [name for name in found if name not in own]
