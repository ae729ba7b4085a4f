"""How queries are found: the most promising tokens, boxes around their masks, and layers that balance box and mask (DI) before the final choice."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from engine.models.di_maskdino.config import Config
from engine.models.di_maskdino.layers import MLP, FeedForward, Memory, box_head, box_position, inverse_sigmoid, refined, start_transformer
from engine.models.di_maskdino.outputs import MaskProduct

NOWHERE = 1e8  # the left and upper edge of a mask without pixels, as published


@dataclass(frozen=True)
class Chosen:
    """Tokens f32[B,N,C] that were chosen, and the box logits f32[B,N,4] of the places they come from (infinite at the rim)."""

    tokens: Tensor
    places: Tensor


class TokenSelection(nn.Module):
    """The tokens of the memory with the best class scores."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.count = config.first_selected
        self.enc_output = nn.Linear(config.hidden_dim, config.hidden_dim)
        self.enc_output_norm = nn.LayerNorm(config.hidden_dim)
        start_transformer(self)

    def forward(self, memory: Memory, class_embed: nn.Linear) -> Chosen:
        boxes, inside = proposals(memory.shapes)
        tokens = memory.tokens * torch.from_numpy(inside).to(memory.tokens)
        tokens = self.enc_output_norm(self.enc_output(tokens))
        best = strongest(class_embed(tokens), self.count)
        return Chosen(pick(tokens, best), torch.from_numpy(boxes).to(tokens)[best])


class BalancingLayer(FeedForward):
    """Self-attention among the chosen tokens x f32[B,N,C], position f32[B,N,C]."""

    def __init__(self, config: Config) -> None:
        super().__init__(config.hidden_dim, config.decoder_ffn)
        self.self_attn = nn.MultiheadAttention(config.hidden_dim, config.num_heads, batch_first=True)
        self.norm1 = nn.LayerNorm(config.hidden_dim)
        self.norm2 = nn.LayerNorm(config.hidden_dim)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        x = self.norm1(x + self.self_attn(x + position, x + position, x, need_weights=False)[0])
        return self.norm2(x + self.feed_forward(x))


class Balancing(nn.Module):
    """The de-imbalance module: tokens x f32[B,N,C] and boxes f32[B,N,4] -> the same after each layer. Boxes keep their gradient for one layer."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        dim = config.hidden_dim
        self.layers = nn.ModuleList(BalancingLayer(config) for _ in range(config.di_layers))
        self.ref_point_head = MLP(2 * dim, dim, dim)
        self.norm = nn.LayerNorm(dim)
        start_transformer(self)
        self.bbox_embed = box_head(dim)

    def forward(self, x: Tensor, boxes: Tensor) -> list[tuple[Tensor, Tensor]]:
        found = []
        for layer in self.layers:
            x = layer(x, self.ref_point_head(box_position(boxes, x.shape[-1])))
            found.append((x, refined(boxes, self.bbox_embed(x))))
            boxes = found[-1][1].detach()
        return found


def strongest(logits: Tensor, count: int) -> Tensor:
    """The places i64[B,n] of the rows of f32[B,N,K] with the largest single values, largest first; n = count, or N when that is less."""
    return logits.amax(-1).topk(min(count, logits.shape[1]), 1).indices


def pick(rows: Tensor, places: Tensor) -> Tensor:
    """The rows [B,n,C] of [B,N,C] at i64[B,n]."""
    return rows.gather(1, places[..., None].expand(-1, -1, rows.shape[-1]))


@lru_cache(maxsize=16)
def proposals(shapes: tuple[tuple[int, int], ...]) -> tuple[np.ndarray, np.ndarray]:
    """Logits f32[S,4] of a square box at every place, twice as large per level, and bool[S,1] which are inside the image.

    Those that are not have infinite logits.
    """
    boxes = np.concatenate([_squares(height, width, 0.05 * 2**level) for level, (height, width) in enumerate(shapes)])
    inside = np.logical_and.reduce((boxes > 0.01) & (boxes < 0.99), axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(inside, np.log(boxes / (1 - boxes)), np.inf).astype(np.float32), inside


def _squares(height: int, width: int, side: float) -> np.ndarray:
    """Boxes f32[h*w,4] cxcywh, row by row."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    sides = np.full(height * width, side, np.float32)
    return np.stack(((columns.ravel() + 0.5) / np.float32(width), (rows.ravel() + 0.5) / np.float32(height), sides, sides), 1)


@torch.no_grad()
def mask_boxes(masks: MaskProduct, other: Tensor | None = None) -> Tensor:
    """Logits f32[B,Q,4] of the tight boxes around the masks. One image at a time: all masks at once take too much memory.

    A graph that is exported does it at once, since it has to take any number of images. Where a mask is empty the box is that of `other`
    cxcywh f32[B,Q,4], if it is given.
    """
    if torch.compiler.is_compiling():
        boxes = tight_boxes((masks.full() > 0).flatten(0, 1)).unflatten(0, masks.embedding.shape[:2])
    else:
        queries = torch.arange(masks.embedding.shape[1], device=masks.embedding.device)
        boxes = torch.stack([tight_boxes(masks.of(image, queries) > 0) for image in range(len(masks.embedding))])
    if other is not None:
        boxes = torch.where(boxes[..., 2:3] < 0, other, boxes)
    return inverse_sigmoid(boxes)


def tight_boxes(masks: Tensor) -> Tensor:
    """cxcywh f32[Q,4], in shares of the map, of the pixels of bool[Q,h,w]: from the first to the last one, whose own width does not count.

    An empty mask has its lower right corner at 0 and the other one far outside.
    """
    edges = [_ends(masks.any(axis)) for axis in (1, 2)]
    low, high = torch.stack([edge[0] for edge in edges], -1), torch.stack([edge[1] for edge in edges], -1)
    return torch.cat(((low + high) / 2, high - low), -1)


def _ends(line: Tensor) -> tuple[Tensor, Tensor]:
    """First and last place f32[Q], in shares of the length, that is set in bool[Q,n]."""
    place = torch.arange(line.shape[1], dtype=torch.float32, device=line.device)
    return torch.where(line, place, NOWHERE).amin(1) / line.shape[1], (place * line).amax(1) / line.shape[1]
