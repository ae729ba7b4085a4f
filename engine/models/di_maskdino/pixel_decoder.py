"""From the maps of the backbone to a memory of four levels and to the features that masks are read from."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.deformable_attention import ProjectedDeformableAttention
from engine.models.di_maskdino.config import Config
from engine.models.di_maskdino.layers import FeedForward, GroupNorm, NormedConv, centres, flat, positions, shapes_of, start_transformer


class EncoderLayer(FeedForward):
    """Every token looks at a few places around itself on all levels; tokens x f32[B,S,C], places f32[1,S,2]."""

    def __init__(self, config: Config) -> None:
        super().__init__(config.hidden_dim, config.encoder_ffn)
        self.self_attn = ProjectedDeformableAttention(config.hidden_dim, config.num_heads, config.levels, config.sampling_points)
        self.norm1 = nn.LayerNorm(config.hidden_dim)
        self.norm2 = nn.LayerNorm(config.hidden_dim)
        start_transformer(self)
        self.self_attn.start()

    def forward(self, x: Tensor, position: Tensor, places: Tensor, shapes: tuple[tuple[int, int], ...]) -> Tensor:
        x = self.norm1(x + self.self_attn(x + position, places, x, shapes))
        return self.norm2(x + self.feed_forward(x))


class PixelDecoder(nn.Module):
    """Maps f32[B,*,H/4..H/32,W/4..W/32], finest first -> mask features f32[B,C,H/4,W/4] and maps f32[B,C,H/8..H/64,W/8..W/64], finest first."""

    def __init__(self, config: Config, channels: list[int]) -> None:
        super().__init__()
        dim, self.located = config.hidden_dim, config.located_masks
        projections = [nn.Conv2d(into, dim, 1) for into in channels[1:]]
        projections.append(nn.Conv2d(channels[-1], dim, 3, stride=2, padding=1))
        self.input_proj = nn.ModuleList(nn.Sequential(each, GroupNorm(dim)) for each in projections)
        self.level_embed = nn.Parameter(torch.randn(config.levels, dim))
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.adapter_1 = NormedConv(channels[0], dim)
        self.layer_1 = NormedConv(dim, dim, 3, activate=True)
        self.mask_features = nn.Conv2d(dim, dim, 1)
        for each in projections:
            nn.init.xavier_uniform_(each.weight)
        nn.init.kaiming_uniform_(self.mask_features.weight, a=1)
        for bias in (*(each.bias for each in projections), self.mask_features.bias):
            if bias is not None:
                nn.init.zeros_(bias)

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        levels = self._encode([project(each) for project, each in zip(self.input_proj, [*maps[1:], maps[-1]], strict=True)])
        finest = self.adapter_1(maps[0])
        finest = finest + F.interpolate(levels[0], finest.shape[-2:], mode="bilinear", align_corners=False)
        if self.located:
            finest = finest + positions(shapes_of([finest]), finest.shape[1], finest).mT.unflatten(1, finest.shape[-2:])
        return self.mask_features(self.layer_1(finest)), levels

    def _encode(self, levels: list[Tensor]) -> list[Tensor]:
        shapes, x = shapes_of(levels), flat(levels)
        counts = [height * width for height, width in shapes]
        level = torch.cat([self.level_embed[i].expand(count, -1) for i, count in enumerate(counts)])
        position, places = positions(shapes, x.shape[-1], x) + level, centres(shapes, x)[None]
        for layer in self.layers:
            x = layer(x, position, places, shapes)
        return [part.mT.unflatten(2, shape) for part, shape in zip(x.split(counts, 1), shapes, strict=True)]
