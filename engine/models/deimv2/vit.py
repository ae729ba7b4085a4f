"""The vision transformers of the larger sizes: DINOv3 (Siméoni et al., 2025, arXiv:2508.10104) and ViT-Tiny, distilled from it.

Patches know their place by rotary angles alone, so images of any size fit. Parameter names are those of the official checkpoints.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.deimv2.config import ViT

PATCH = 16
HEAD = 64
BASE = 100.0
REGISTERS = 4
RESCALE = 2.0
START_SCALE = 1e-5
SPREAD = 0.02


class RotaryAngles(nn.Module):
    """Cosines and sines by which the channels of queries and keys are turned, from the places of the patches in -1..1 of each side."""

    periods: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("periods", BASE ** (4 * torch.arange(HEAD // 4) / HEAD))

    def forward(self, height: int, width: int, before: int, scale: Tensor | None) -> tuple[Tensor, Tensor]:
        """Two f32[before+h*w,1,64]: row, then column angles, twice; the first `before` tokens are not turned. `scale` stretches all places."""
        rows, columns = (2 * (torch.arange(side, device=self.periods.device) + 0.5) / side - 1 for side in (height, width))
        places = torch.stack((rows[:, None].expand(-1, width), columns.expand(height, -1)), -1).view(-1, 2, 1)
        if scale is not None:
            places = places * scale
        angles = (2 * math.pi * places / self.periods.float()).flatten(1).repeat(1, 2)
        angles = F.pad(angles, (0, 0, before, 0))[:, None]
        return angles.cos(), angles.sin()


def turned(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Pairs of channels f[...,N,heads,64], one of each half, turned by their angles in fp32."""
    low, high = x.float().chunk(2, -1)
    return (x * cosines + torch.cat((-high, low), -1) * sines).to(x.dtype)


class MaskedLinear(nn.Linear):
    """Linear layer for queries, keys and values whose bias is multiplied by a mask: the one of the keys does not count."""

    bias_mask: Tensor

    def __init__(self, into: int, out: int) -> None:
        super().__init__(into, out)
        self.register_buffer("bias_mask", torch.ones(3, out // 3).index_fill_(0, torch.tensor(1), 0).flatten())

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias * self.bias_mask)


class Attention(nn.Module):
    """Multi-head attention over tokens f[B,N,d] with turned queries and keys."""

    def __init__(self, vit: ViT) -> None:
        super().__init__()
        self.qkv = (MaskedLinear if vit.dinov3 else nn.Linear)(vit.width, 3 * vit.width)
        self.proj = nn.Linear(vit.width, vit.width)

    def forward(self, x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
        query, key, value = self.qkv(x).unflatten(-1, (3, -1, HEAD)).unbind(2)
        heads = (part.transpose(1, 2) for part in (turned(query, *angles), turned(key, *angles), value))
        return self.proj(F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear layers, four times as wide between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class GatedFeedForward(nn.Module):
    """A wide layer gated by another one (SwiGLU)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(width, 4 * width)
        self.w2 = nn.Linear(width, 4 * width)
        self.w3 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.w3(F.silu(self.w1(x)) * self.w2(x))


class Scale(nn.Module):
    """Learned factor for each channel of a residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), START_SCALE))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Block(nn.Module):
    """Pre-norm attention and feed-forward layer, each added to its input."""

    def __init__(self, vit: ViT, eps: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(vit.width, eps)
        self.attn = Attention(vit)
        self.ls1 = Scale(vit.width) if vit.dinov3 else nn.Identity()
        self.norm2 = nn.LayerNorm(vit.width, eps)
        self.mlp = (GatedFeedForward if vit.gated else FeedForward)(vit.width)
        self.ls2 = Scale(vit.width) if vit.dinov3 else nn.Identity()

    def forward(self, x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x), angles))
        return x + self.ls2(self.mlp(self.norm2(x)))


class VisionTransformer(nn.Module):
    """images f[B,3,H,W] -> maps f[B,d,H/16,W/16] of the tapped blocks."""

    def __init__(self, vit: ViT, taps: tuple[int, ...]) -> None:
        super().__init__()
        width, eps = vit.width, 1e-5 if vit.dinov3 else 1e-6
        self.taps = taps
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, PATCH, PATCH)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.rope_embed = RotaryAngles()
        self.blocks = nn.ModuleList(Block(vit, eps) for _ in range(vit.blocks))
        self.norm = nn.LayerNorm(width, eps) if vit.dinov3 else nn.Identity()
        self.storage_tokens = nn.Parameter(torch.zeros(1, REGISTERS, width)) if vit.dinov3 else None
        self.mask_token = nn.Parameter(torch.zeros(1, width), requires_grad=False) if vit.dinov3 else None
        self._start(vit)

    def _start(self, vit: ViT) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=SPREAD)
                nn.init.zeros_(module.bias)
        if self.storage_tokens is None:
            nn.init.trunc_normal_(self.cls_token, std=SPREAD)
            return
        for tokens in (self.cls_token, self.storage_tokens):
            nn.init.normal_(tokens, std=SPREAD)

    def forward(self, images: Tensor) -> list[Tensor]:
        patches = self.patch_embed["proj"](images)
        size = int(patches.shape[2]), int(patches.shape[3])
        first = self.cls_token if self.storage_tokens is None else torch.cat((self.cls_token, self.storage_tokens), 1)
        before = first.shape[1]
        x = torch.cat((first.expand(patches.shape[0], -1, -1), patches.flatten(2).mT), 1)
        angles, maps = self.rope_embed(*size, before, None), []
        for index, block in enumerate(self.blocks):
            if self.training and self.storage_tokens is not None:
                angles = self.rope_embed(*size, before, self._stretch())
            x = block(x, angles)
            if index in self.taps:
                maps.append(self.norm(x)[:, before:].mT.unflatten(2, size))
        return maps

    def _stretch(self) -> Tensor:
        """A random factor between 1/2 and 2 by which DINOv3 stretches all places in training, drawn anew for every block. f32[1]."""
        limit = math.log(RESCALE)
        return torch.empty(1, device=self.cls_token.device).uniform_(-limit, limit).exp()


class NamedTransformer(nn.Module):
    """The same one name deeper, as the checkpoints of ViT-Tiny hold it."""

    def __init__(self, vit: ViT, taps: tuple[int, ...]) -> None:
        super().__init__()
        self._model = VisionTransformer(vit, taps)

    def forward(self, images: Tensor) -> list[Tensor]:
        return self._model(images)
