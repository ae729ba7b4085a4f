"""Parts that encoder and decoder share. Parameter names are those of the official checkpoints."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvNorm(nn.Module):
    """Convolution without bias, batch norm and, if asked, SiLU; padding keeps the size at stride 1."""

    def __init__(self, into: int, out: int, kernel: int = 1, stride: int = 1, *, groups: int = 1, activate: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(into, out, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False)
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

    x f[B,N,d], position f[1 or B,N,d] added to queries and keys only, blocked bool[N,N] (True: row may not see column).
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(3 * dim, dim)))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor, position: Tensor, blocked: Tensor | None = None) -> Tensor:
        dim = x.shape[-1]
        query_key = F.linear(x + position, self.in_proj_weight[: 2 * dim], self.in_proj_bias[: 2 * dim])
        value = F.linear(x, self.in_proj_weight[2 * dim :], self.in_proj_bias[2 * dim :])
        query, key, value = (self._split(part) for part in (*query_key.chunk(2, -1), value))
        mixed = F.scaled_dot_product_attention(query, key, value, None if blocked is None else ~blocked)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        """[B,N,d] -> [B,heads,N,d/heads]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def inverse_sigmoid(x: Tensor, eps: float = 1e-5) -> Tensor:
    """Logit of x, finite also at 0 and 1, in fp32."""
    x = x.float().clamp(0, 1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))
