"""Queries look at the memory layer by layer; after the first one the best of them update the memory (BATO). The heads read off what they found."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.deformable_attention import ProjectedDeformableAttention
from engine.models.di_maskdino.config import Config
from engine.models.di_maskdino.layers import MLP, FeedForward, Memory, NormedConv, box_head, box_position, refined, start_transformer
from engine.models.di_maskdino.outputs import MaskProduct, Predictions
from engine.models.di_maskdino.selection import pick, strongest

CLASS_PRIOR = 0.01


@dataclass(frozen=True)
class Step:
    """After a layer: queries x f32[B,Q,C], the boxes f32[B,Q,4] that it refines, and the features f32[B,C,h,w] for masks."""

    x: Tensor
    boxes: Tensor
    features: Tensor


class Heads(nn.Module):
    """Class, mask and box of queries; the same for all layers."""

    def __init__(self, config: Config, num_classes: int) -> None:
        super().__init__()
        dim = config.hidden_dim
        self.norm = nn.LayerNorm(dim)
        self.class_embed = nn.Linear(dim, num_classes)
        self.mask_embed = MLP(dim, dim, dim, dim)
        self.bbox_embed = box_head(dim)
        nn.init.constant_(self.class_embed.bias, -math.log((1 - CLASS_PRIOR) / CLASS_PRIOR))
        self.locator = Locator(dim) if config.located_masks else None

    def of_queries(self, x: Tensor, boxes: Tensor, features: Tensor) -> Predictions:
        """Of queries x f32[B,Q,C] whose boxes are known."""
        x = self.norm(x)
        embedding = self.mask_embed(x)
        if self.locator is not None:
            embedding = self.locator(embedding, boxes.detach())
        return Predictions(self.class_embed(x), boxes, MaskProduct(embedding, features))

    def located(self, features: Tensor) -> Tensor:
        """Features f32[B,C,h,w] as masks are read from them."""
        return features if self.locator is None else Locator.features(features)

    def of_step(self, step: Step) -> Predictions:
        """What a layer found. The norm applies twice to class and mask: the published weights expect it."""
        x = self.norm(step.x)
        return self.of_queries(x, refined(step.boxes, self.bbox_embed(x)), step.features)


class Locator(nn.Module):
    """Ties masks to boxes. The logits of a mask get `nearness` * (1 - d/2), d the squared distance from the middle of the box in half sides.

    That is a polynomial of the place, so embeddings f32[B,Q,C] and features f32[B,C,h,w] grow by its coefficients and powers: C+5 each.
    """

    LEAST = 0.04  # sides of boxes count as no less

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.nearness = nn.Parameter(torch.ones(()))
        self.place = nn.Linear(2 * dim, dim, bias=False)
        nn.init.normal_(self.place.weight, std=0.02)

    def forward(self, embedding: Tensor, boxes: Tensor) -> Tensor:
        centre, sides = boxes[..., :2] - 0.5, boxes[..., 2:].clamp(min=self.LEAST)
        steep = -2 * self.nearness / sides.square()
        constant = self.nearness + (steep * centre.square()).sum(-1, keepdim=True)
        return torch.cat((embedding + self.place(box_position(boxes, embedding.shape[-1])), steep, -2 * steep * centre, constant), -1)

    @staticmethod
    def features(features: Tensor) -> Tensor:
        batch, _, height, width = features.shape
        y, x = ((torch.arange(side, device=features.device, dtype=features.dtype) + 0.5) / side - 0.5 for side in (height, width))
        grid = torch.stack((x.expand(height, width), y[:, None].expand(height, width)))
        powers = torch.cat((grid.square(), grid, torch.ones_like(grid[:1])))
        return torch.cat((features, powers.expand(batch, -1, -1, -1)), 1)


class DecoderLayer(FeedForward):
    """Self-attention, deformable attention to the memory, feed-forward; x f32[B,Q,C], boxes f32[B,Q,4], mask bool[Q,Q] True = not seen."""

    def __init__(self, config: Config) -> None:
        dim = config.hidden_dim
        super().__init__(dim, config.decoder_ffn)
        self.self_attn = nn.MultiheadAttention(dim, config.num_heads, batch_first=True)
        self.cross_attn = ProjectedDeformableAttention(dim, config.num_heads, config.levels, config.sampling_points)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))

    def forward(self, x: Tensor, boxes: Tensor, position: Tensor, memory: Memory, mask: Tensor | None) -> Tensor:
        seen = self.self_attn(x + position, x + position, x, attn_mask=mask, need_weights=False)[0]
        x = self.norm2(x + seen)
        x = self.norm1(x + self.cross_attn(x + position, boxes, memory.tokens, memory.shapes))
        return self.norm3(x + self.feed_forward(x))


class Guidance(FeedForward):
    """Every token of the memory looks at guiding tokens f32[B,G,C] with their position f32[B,G,C]."""

    def __init__(self, config: Config) -> None:
        dim = config.hidden_dim
        super().__init__(dim, config.decoder_ffn)
        self.multihead_attn = nn.MultiheadAttention(dim, config.num_heads, batch_first=True)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, memory: Memory, guides: Tensor, position: Tensor) -> Memory:
        seen = self.multihead_attn(memory.tokens + memory.position, guides + position, guides, need_weights=False)[0]
        x = self.norm1(memory.tokens + seen)
        return replace(memory, tokens=self.norm2(x + self.feed_forward(x)))


class Decoder(nn.Module):
    """Queries x f32[B,Q,C] with boxes f32[B,Q,4] -> a Step for each layer. The first `noisy` queries are denoising queries."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        dim = config.hidden_dim
        self.guiding_tokens = config.guiding_tokens
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.ref_point_head = MLP(2 * dim, dim, dim)
        self.guidance = Guidance(config)
        start_transformer(self)
        for layer in self.layers:
            layer.cross_attn.start()
        self.mask_output_conv = NormedConv(dim, dim, 3, activate=True)

    def forward(
        self, x: Tensor, boxes: Tensor, memory: Memory, features: Tensor, heads: Heads, *, mask: Tensor | None = None, noisy: int = 0,
    ) -> Iterator[Step]:
        seen, position = boxes, self.ref_point_head(box_position(boxes, x.shape[-1]))
        for index, layer in enumerate(self.layers):
            x = layer(x, seen, position, memory, mask)
            yield Step(x, boxes, features)
            if index + 1 < len(self.layers):
                boxes = refined(seen, heads.bbox_embed(x))
                seen = boxes.detach()
                position = self.ref_point_head(box_position(seen, x.shape[-1]))
            if index == 0 and len(self.layers) > 1:
                memory = self._guided(x[:, noisy:], position[:, noisy:], memory, heads)
                features = heads.located(self._updated(memory, features[:, : x.shape[-1]]))

    def _guided(self, x: Tensor, position: Tensor, memory: Memory, heads: Heads) -> Memory:
        best = strongest(heads.class_embed(x), self.guiding_tokens)
        return self.guidance(memory, heads.mask_embed(pick(x, best)), pick(position, best))

    def _updated(self, memory: Memory, features: Tensor) -> Tensor:
        """The features for masks with the finest level of the memory added."""
        height, width = memory.shapes[-1]
        finest = memory.tokens[:, -height * width :].mT.unflatten(2, (height, width))
        return self.mask_output_conv(features + F.interpolate(finest, features.shape[-2:], mode="bilinear", align_corners=False))
