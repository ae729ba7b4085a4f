"""HGNetV2 from timm, cut to the stages that a size uses. Random weights, never a download."""

from __future__ import annotations

from timm.models.hgnet import HighPerfGpuNet
from torch import Tensor, nn

from engine.models.deimv2.config import Config, Stage


class HGNetV2(nn.Module):
    """images f[B,3,H,W] -> maps of the tapped stages, finest first (strides 4, 8, 16, 32 by stage)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        stages = {f"stage{i + 1}": _timm_stage(stage) for i, stage in enumerate(_four(config.stages))}
        whole = HighPerfGpuNet(
            {"stem_type": "v2", "stem_chs": [16, 16], **stages}, num_classes=0, head_hidden_size=None, use_lab=True,
        )
        self.stem = whole.stem
        self.stages = whole.stages[: len(config.stages)]
        self.taps = config.taps

    def forward(self, images: Tensor) -> list[Tensor]:
        x, maps = self.stem(images), []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in self.taps:
                maps.append(x)
        return maps


def _four(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """timm builds four stages, no fewer; a small last one is thrown away afterwards."""
    return stages if len(stages) == 4 else (*stages, Stage(stages[-1].out, 8, 8))


def _timm_stage(stage: Stage) -> list[int | bool]:
    layers = 3
    return [stage.into, stage.mid, stage.out, stage.blocks, stage.downsample, stage.light, stage.kernel, layers]
