"""HGNetV2, the backbone of the small sizes (PaddleClas, PP-HGNetV2), with the parameter names of the official checkpoints."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.deimv2.config import Config, Stage
from engine.models.deimv2.layers import Conv

STEM = 16
LAYERS = 3
EPSILON = 1e-5


class Affine(nn.Module):
    """scale * x + bias with two learned numbers, in the type of x."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            return self._as_norm(x)
        return (x * self.scale.to(x.dtype)).add_(self.bias.to(x.dtype))

    def _as_norm(self, x: Tensor) -> Tensor:
        """The same as a batch norm: programs that run exported graphs keep their fast memory layout across it, and pass over the map once."""
        ones = torch.ones(x.shape[1], dtype=x.dtype, device=x.device)
        return F.batch_norm(x, 0 * ones, (1 - EPSILON) * ones, self.scale.to(x.dtype) * ones, self.bias.to(x.dtype) * ones, eps=EPSILON)


class Unit(nn.Module):
    """Convolution, batch norm and, unless told otherwise, ReLU and a learned affine map."""

    def __init__(self, into: int, out: int, kernel: int = 1, stride: int = 1, *, groups: int = 1, activate: bool = True) -> None:
        super().__init__()
        self.conv = Conv(into, out, kernel, stride, groups)
        self.bn = nn.BatchNorm2d(out)
        self.lab = Affine() if activate else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x))
        return x if self.lab is None else self.lab(F.relu(x, inplace=True))


class Stem(nn.Module):
    """images f[B,3,H,W] -> f[B,16,H/4,W/4]: a pooled and a convolved branch, joined."""

    def __init__(self) -> None:
        super().__init__()
        self.stem1 = Unit(3, STEM, 3, 2)
        self.stem2a = Unit(STEM, STEM // 2, 2)
        self.stem2b = Unit(STEM // 2, STEM, 2)
        self.stem3 = Unit(2 * STEM, STEM, 3, 2)
        self.stem4 = Unit(STEM, STEM)

    def forward(self, images: Tensor) -> Tensor:
        x = F.pad(self.stem1(images), (0, 1, 0, 1))
        convolved = self.stem2b(F.pad(self.stem2a(x), (0, 1, 0, 1)))
        pooled = F.max_pool2d(x, 2, 1, ceil_mode=True)
        return self.stem4(self.stem3(torch.cat((pooled, convolved), 1)))


class LightLayer(nn.Module):
    """A 1x1 and a depthwise convolution in place of one full convolution."""

    def __init__(self, into: int, out: int, kernel: int) -> None:
        super().__init__()
        self.conv1 = Unit(into, out, activate=False)
        self.conv2 = Unit(out, out, kernel, groups=out)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x))


class Block(nn.Module):
    """Three layers in a row; the input and what each of them yields are joined and mixed by two 1x1 convolutions."""

    def __init__(self, stage: Stage, into: int, *, residual: bool) -> None:
        super().__init__()
        layer = LightLayer if stage.light else Unit
        self.layers = nn.ModuleList(layer(stage.mid if index else into, stage.mid, stage.kernel) for index in range(LAYERS))
        self.aggregation = nn.Sequential(Unit(into + LAYERS * stage.mid, stage.out // 2), Unit(stage.out // 2, stage.out))
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        outputs = [x]
        for layer in self.layers:
            outputs.append(layer(outputs[-1]))
        mixed = self.aggregation(torch.cat(outputs, 1))
        return mixed + x if self.residual else mixed


class DownStage(nn.Module):
    """Blocks at one resolution, after halving it where the stage says so."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.downsample = Unit(stage.into, stage.into, 3, 2, groups=stage.into, activate=False) if stage.downsample else nn.Identity()
        blocks = (Block(stage, stage.out if index else stage.into, residual=index > 0) for index in range(stage.blocks))
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.downsample(x))


class HGNetV2(nn.Module):
    """images f[B,3,H,W] -> maps of the tapped stages, finest first; stage i has stride 4 * 2^i."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.stem = Stem()
        self.stages = nn.ModuleList(DownStage(stage) for stage in config.stages)
        self.taps = config.taps

    def forward(self, images: Tensor) -> list[Tensor]:
        x, maps = self.stem(images), []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in self.taps:
                maps.append(x)
        return maps
