"""Vision Mamba (Zhu et al. 2024, arXiv:2401.09417): a stack of bidirectional state space blocks. Tensor names as in its checkpoints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import DropPath, trunc_normal_
from torch import Tensor, nn

from engine.models.backbones import LEVELS, SimplePyramid, padded
from engine.models.hybridmednet.config import VIM

DEPTH, PATCH, GRID = 24, 16, 14
STATES, KERNEL, EXPAND = 16, 4, 2
EPSILON = 1e-5
DROP_PATH = 0.1


class _Recurrence(torch.autograd.Function):
    """h[t] = decay[t] * h[t-1] + input[t] over the first dimension, h[-1] = 0. Its gradient is the same recurrence backwards."""

    @staticmethod
    def forward(context: Any, decay: Tensor, inputs: Tensor) -> Tensor:
        states = _run(decay, inputs)
        context.save_for_backward(decay, states)
        return states

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        decay, states = context.saved_tensors
        inputs = torch.stack(_steps(decay.unbind(0)[:0:-1], gradient.unbind(0)[::-1])[::-1])
        decays = torch.zeros_like(states)
        torch.mul(states[:-1], inputs[1:], out=decays[1:])
        return decays, inputs


def _run(decay: Tensor, inputs: Tensor) -> Tensor:
    return torch.stack(_steps(decay.unbind(0)[1:], inputs.unbind(0)))


def _steps(factors: Sequence[Tensor], inputs: Sequence[Tensor]) -> list[Tensor]:
    """The recurrence step by step, linear in time and memory; `factors` lead from each step to the next."""
    states = [inputs[0]]
    for factor, new in zip(factors, inputs[1:], strict=True):
        states.append(torch.addcmul(new, factor, states[-1]))
    return states


def _doubling(decay: Tensor, inputs: Tensor) -> Tensor:
    """The recurrence in log2(L) steps over all times, each joining twice as many: a graph that is exported stays small."""
    reach = 1
    while reach < inputs.shape[0]:
        inputs = torch.cat((inputs[:reach], torch.addcmul(inputs[reach:], decay[reach:], inputs[:-reach])))
        decay = torch.cat((decay[:reach], decay[reach:] * decay[:-reach]))
        reach *= 2
    return inputs


def recurrence(decay: Tensor, inputs: Tensor) -> Tensor:
    """h[t] = decay[t] * h[t-1] + inputs[t], h[-1] = 0; both f32[L,...], the time first."""
    if torch.compiler.is_compiling():
        return _doubling(decay, inputs)
    return _Recurrence.apply(decay, inputs) if torch.is_grad_enabled() else _run(decay, inputs)


def selective_scan(x: Tensor, step: Tensor, decay: Tensor, into: Tensor, out: Tensor, skip: Tensor) -> Tensor:
    """Selective state space (Gu and Dao 2023, arXiv:2312.00752, section 3), K directions at once, each with its own parameters.

    x, step f32[K,B,L,D] (step > 0), decay f32[K,D,N] (< 0), into, out f32[K,B,L,N], skip f32[K,D] -> f32[K,B,L,D].
    """
    time_first = step.permute(2, 0, 1, 3).unsqueeze(-1)
    decays = torch.exp(time_first * decay[None, :, None])
    inputs = (time_first * x.permute(2, 0, 1, 3).unsqueeze(-1)) * into.permute(2, 0, 1, 3).unsqueeze(-2)
    states = recurrence(decays, inputs)
    seen = torch.einsum("lkbdn,kbln->kbld", states, out)
    return seen + x * skip[:, None, None]


def cuda_scan() -> Any:
    """`selective_scan_fn` of mamba_ssm when it is installed, else None."""
    try:
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
    except ImportError:
        return None
    return selective_scan_fn


class Mixer(nn.Module):
    """f32[B,L,dim] -> f32[B,L,dim]: the mean of a scan from the first token to the last and one from the last to the first."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        inner = self.inner = EXPAND * dim
        self.rank = math.ceil(dim / 16)
        self.in_proj = nn.Linear(dim, 2 * inner, bias=False)
        for suffix in ("", "_b"):
            setattr(self, f"conv1d{suffix}", nn.Conv1d(inner, inner, KERNEL, groups=inner, padding=KERNEL - 1))
            setattr(self, f"x_proj{suffix}", nn.Linear(inner, self.rank + 2 * STATES, bias=False))
            setattr(self, f"dt_proj{suffix}", _step_projection(self.rank, inner))
            setattr(self, f"A{suffix}_log", nn.Parameter(torch.log(torch.arange(1.0, STATES + 1)).repeat(inner, 1)))
            setattr(self, f"D{suffix}", nn.Parameter(torch.ones(inner)))
        self.out_proj = nn.Linear(inner, dim, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        values, gate = self.in_proj(tokens).chunk(2, dim=-1)
        parts = [self._prepare(each, suffix) for each, suffix in ((values, ""), (values.flip(1), "_b"))]
        with torch.autocast(tokens.device.type, enabled=False):
            x, step, into, out = (torch.stack([each.float() for each in group]) for group in zip(*parts, strict=True))
            decay = -torch.exp(torch.stack((self.A_log, self.A_b_log)).float())
            skip = torch.stack((self.D, self.D_b)).float()
            fast = cuda_scan() if tokens.is_cuda else None
            seen = _fused(fast, x, step, decay, into, out, skip) if fast else selective_scan(x, step, decay, into, out, skip)
            mean = (seen[0] + seen[1].flip(1)) / 2
        return self.out_proj(mean.to(gate.dtype) * F.silu(gate))

    def _prepare(self, values: Tensor, suffix: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Input, step, and the two projections of one direction, from values f32[B,L,inner]."""
        convolution, projection = getattr(self, f"conv1d{suffix}"), getattr(self, f"x_proj{suffix}")
        x = F.silu(convolution(values.transpose(1, 2))[..., : values.shape[1]]).transpose(1, 2)
        step, into, out = projection(x).split((self.rank, STATES, STATES), dim=-1)
        return x, F.softplus(getattr(self, f"dt_proj{suffix}")(step).float()), into, out


def _fused(scan: Any, x: Tensor, step: Tensor, decay: Tensor, into: Tensor, out: Tensor, skip: Tensor) -> Tensor:
    """The same through the CUDA kernel, which wants the time last and takes one direction at a time."""
    results = [
        scan(x[k].mT.contiguous(), step[k].mT.contiguous(), decay[k], into[k].mT.contiguous(), out[k].mT.contiguous(), skip[k])
        for k in range(len(x))
    ]
    return torch.stack(results).mT


def _step_projection(rank: int, inner: int) -> nn.Linear:
    """Starts with steps between 0.001 and 0.1, spread evenly over their logarithm (arXiv:2312.00752, section 3.6)."""
    layer = nn.Linear(rank, inner)
    nn.init.uniform_(layer.weight, -(rank**-0.5), rank**-0.5)
    step = torch.empty(inner, device=layer.weight.device).uniform_(math.log(1e-3), math.log(1e-1)).exp_()
    with torch.no_grad():
        layer.bias.copy_(torch.log(torch.expm1(step)))
    return layer


class Block(nn.Module):
    """Norm, mixer and a residual stream in fp32 that the next block adds up."""

    def __init__(self, dim: int, drop_path: float) -> None:
        super().__init__()
        self.mixer = Mixer(dim)
        self.norm = nn.RMSNorm(dim, eps=EPSILON)
        self.drop_path = DropPath(drop_path)

    def forward(self, hidden: Tensor, residual: Tensor | None) -> tuple[Tensor, Tensor]:
        residual = hidden.float() if residual is None else residual + self.drop_path(hidden).float()
        return self.mixer(self.norm(residual)), residual


class PatchEmbed(nn.Module):
    """images f32[B,3,H,W] -> f32[B,dim,H/16,W/16]."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, PATCH, PATCH)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images)


class VisionMamba(nn.Module):
    """The stem and the blocks. With `num_classes`, images f32[B,3,H,W] -> logits f32[B,num_classes], read off the class token.

    Any H and W: images are padded to whole patches and the position table is resized.
    """

    def __init__(self, dim: int, num_classes: int = 0, depth: int = DEPTH) -> None:
        super().__init__()
        self.dim = dim
        self.patch_embed = PatchEmbed(dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, GRID * GRID + 1, dim))
        rates = [0.0, *(DROP_PATH * i / (depth - 1) for i in range(depth - 1))]
        self.layers = nn.ModuleList(Block(dim, rate) for rate in rates)
        if num_classes:
            self.norm_f = nn.RMSNorm(dim, eps=EPSILON)
            self.head = nn.Linear(dim, num_classes)
            trunc_normal_(self.head.weight, std=0.02)
            nn.init.zeros_(self.head.bias)
        for each in (self.cls_token, self.pos_embed):
            trunc_normal_(each, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        return self._logits(self.run(self.embed(images)[0], 0, len(self.layers)))

    def explain(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and the map f32[B,dim,h,w] that all blocks after the first quarter read.

        A later map says little: what the class token has gathered by then, and the logits are read off, does not pass through it.
        """
        tokens, grid = self.embed(images)
        early = len(self.layers) // 4
        tokens = self.run(tokens, 0, early)
        maps, middle = as_map(tokens, grid), (tokens.shape[1] - 1) // 2
        patches = maps.flatten(2).mT
        tokens = torch.cat((patches[:, :middle], tokens[:, middle : middle + 1], patches[:, middle:]), dim=1)
        return self._logits(self.run(tokens, early, len(self.layers))), maps

    def embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """The patches in rows f32[B,h*w+1,dim] with the class token in their middle, and (h, w)."""
        patches = self.patch_embed(padded(images, PATCH))
        grid = (patches.shape[2], patches.shape[3])
        tokens = patches.flatten(2).mT
        middle = tokens.shape[1] // 2
        token = self.cls_token.to(tokens.dtype).expand(tokens.shape[0], -1, -1)
        return torch.cat((tokens[:, :middle], token, tokens[:, middle:]), dim=1) + self._positions(grid), grid

    def run(self, tokens: Tensor, first: int, last: int) -> Tensor:
        """The tokens after the blocks `first` up to, without, `last`: the sum of everything that they added."""
        hidden: Tensor = tokens
        residual: Tensor | None = None
        for layer in self.layers[first:last]:
            hidden, residual = layer(hidden, residual)
        return hidden if residual is None else residual + hidden.float()

    def _logits(self, tokens: Tensor) -> Tensor:
        return self.head(self.norm_f(tokens[:, (tokens.shape[1] - 1) // 2]))

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        """The position table for h x w patches and the class token in their middle."""
        if grid == (GRID, GRID):
            return self.pos_embed
        middle = GRID * GRID // 2
        own = self.pos_embed[:, middle : middle + 1]
        table = torch.cat((self.pos_embed[:, :middle], self.pos_embed[:, middle + 1 :]), dim=1)
        table = F.interpolate(table.mT.reshape(1, self.dim, GRID, GRID), size=grid, mode="bicubic", align_corners=False).flatten(2).mT
        half = grid[0] * grid[1] // 2
        return torch.cat((table[:, :half], own, table[:, half:]), dim=1)


class VimPyramid(nn.Module):
    """Vision Mamba as a backbone: the streams after each quarter of the blocks, as a pyramid of four levels."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.model = VisionMamba(VIM[name])
        self.pyramid = SimplePyramid([VIM[name]] * LEVELS, PATCH)
        self.channels, self.strides = self.pyramid.channels, self.pyramid.strides

    def forward(self, images: Tensor) -> list[Tensor]:
        tokens, grid = self.model.embed(images)
        quarter, maps = DEPTH // LEVELS, []
        for first in range(0, DEPTH, quarter):
            tokens = self.model.run(tokens, first, first + quarter)
            maps.append(as_map(tokens, grid))
        return self.pyramid(maps)


def as_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """f32[B,L,D] with the class token in the middle -> f32[B,D,h,w] without it."""
    middle = (tokens.shape[1] - 1) // 2
    patches = torch.cat((tokens[:, :middle], tokens[:, middle + 1 :]), dim=1)
    return patches.mT.reshape(tokens.shape[0], -1, *grid)
