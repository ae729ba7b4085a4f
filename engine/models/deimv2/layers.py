"""Parts that encoder and decoder share. Parameter names are those of the official checkpoints."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Conv(nn.Conv2d):
    """Convolution without bias, padded by (kernel - 1) // 2, that takes the fast ways of torch on the CPU."""

    def __init__(self, into: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__(into, out, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_cpu or torch.jit.is_tracing() or torch.compiler.is_compiling():
            return super().forward(x)
        if self.kernel_size == (1, 1):
            # Dilation means nothing to a 1x1 kernel, but with one thread torch takes oneDNN only for dilated ones: 2 to 3 times faster.
            return F.conv2d(x, self.weight, None, self.stride, dilation=2)
        if self.groups > 1 and self.stride != (1, 1):
            # The bfloat16 gradient of strided depthwise convolutions is ten times slower than the fp32 one.
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float()).to(x.dtype)
        return super().forward(x)


class ConvNorm(nn.Module):
    """Convolution without bias, batch norm and, if asked, SiLU; padding keeps the size at stride 1."""

    def __init__(self, into: int, out: int, kernel: int = 1, stride: int = 1, *, groups: int = 1, activate: bool = False) -> None:
        super().__init__()
        self.conv = Conv(into, out, kernel, stride, groups)
        self.norm = nn.BatchNorm2d(out)
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        return F.silu(x, inplace=True) if self.activate else x


class MLP(nn.Module):
    """Linear layers with SiLU between them; `widths` are those of the input, of each hidden layer and of the output."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(into, out) for into, out in zip(widths, widths[1:], strict=False))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.silu(layer(x))
        return self.layers[-1](x)


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * scale over the last dimension, always in fp32."""

    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), self.scale.shape, self.scale, self.eps)


class SelfAttention(nn.Module):
    """Multi-head attention of a sequence over itself, with the parameters of nn.MultiheadAttention.

    x f[B,N,d], position f[1 or B,N,d] added to queries and keys only. With `groups` > 0 that many groups of `size` come
    first: a group sees itself and the rest, the rest sees only itself.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(3 * dim, dim)))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor, position: Tensor, groups: int = 0, size: int = 0) -> Tensor:
        dim = x.shape[-1]
        query_key = F.linear(x + position, self.in_proj_weight[: 2 * dim], self.in_proj_bias[: 2 * dim])
        value = F.linear(x, self.in_proj_weight[2 * dim :], self.in_proj_bias[2 * dim :])
        query, key, value = (self._split(part) for part in (*query_key.chunk(2, -1), value))
        mixed = grouped_attention(query, key, value, groups, size) if groups else F.scaled_dot_product_attention(query, key, value)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        """[B,N,d] -> [B,heads,N,d/heads]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def grouped_attention(query: Tensor, key: Tensor, value: Tensor, groups: int, size: int) -> Tensor:
    """Masked attention f[B,M,N,d] that computes only what the mask of `SelfAttention` leaves: a third of all pairs or less."""
    parts = (part.split((groups * size, part.shape[2] - groups * size), 2) for part in (query * query.shape[-1] ** -0.5, key, value))
    (own_query, rest_query), (own_key, rest_key), (own_value, rest_value) = parts
    in_groups = (groups, size)
    to_own = (own_query.unflatten(2, in_groups) @ own_key.unflatten(2, in_groups).mT).flatten(2, 3)
    weights = torch.cat((own_query @ rest_key.mT, to_own), -1).softmax(-1)
    from_rest, from_own = weights.split((rest_key.shape[2], size), -1)
    from_own = (from_own.unflatten(2, in_groups) @ own_value.unflatten(2, in_groups)).flatten(2, 3)
    return torch.cat((from_rest @ rest_value + from_own, (rest_query @ rest_key.mT).softmax(-1) @ rest_value), 2)


def inverse_sigmoid(x: Tensor, eps: float = 1e-5) -> Tensor:
    """Logit of x, finite also at 0 and 1, in fp32."""
    x = x.float().clamp(0, 1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))
