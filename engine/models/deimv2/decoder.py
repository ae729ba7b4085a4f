"""The decoder of DEIMv2: picks queries on the maps and refines their boxes as distributions over edge distances."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.deformable_attention import DeformableAttention
from engine.models.deimv2.config import Config
from engine.models.deimv2.denoising import Denoising
from engine.models.deimv2.layers import MLP, RMSNorm, SelfAttention, inverse_sigmoid

HALF_MAX = 65504.0
CLASS_PRIOR = 0.01


@dataclass(frozen=True)
class Predictions:
    """What one kind of queries yields in training, stacked over S sets: the L layers, the head before them, the encoder.

    logits f[S,B,N,K], boxes f32[S,B,N,4] cxcywh, corners f32[L,B,N,4*(bins+1)], references f32[B,N,4] (the boxes that
    the corners refine). Denoising queries have no encoder set.
    """

    logits: Tensor
    boxes: Tensor
    corners: Tensor
    references: Tensor

    def part(self, queries: slice) -> Predictions:
        return Predictions(self.logits[:, :, queries], self.boxes[:, :, queries], self.corners[:, :, queries], self.references[:, queries])

    def with_set(self, logits: Tensor, boxes: Tensor) -> Predictions:
        return replace(self, logits=torch.cat((self.logits, logits[None])), boxes=torch.cat((self.boxes, boxes[None])))


@dataclass(frozen=True)
class Step:
    """Where the queries stand after a layer: features f[B,N,d], boxes f32[B,N,4], edge logits f32[B,N,4*(bins+1)] and their
    softmax f32[B,N,4,bins+1] (both empty before the first refinement)."""

    features: Tensor
    boxes: Tensor
    corners: Tensor
    distributions: Tensor


@dataclass(frozen=True)
class Queries:
    """Content f[B,N,d] and reference boxes f32[B,N,4] in 0..1; the first `groups` * `size` are denoising queries."""

    content: Tensor
    boxes: Tensor
    groups: int = 0
    size: int = 0


class Gateway(nn.Module):
    """Two gates weigh the old and the new features before their sum is normalised."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gate = nn.Linear(2 * dim, 2 * dim)
        self.norm = RMSNorm(dim)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def forward(self, old: Tensor, new: Tensor) -> Tensor:
        keep, take = self.gate(torch.cat((old, new), -1)).sigmoid().chunk(2, -1)
        return self.norm(keep * old + take * new)


class SwishFeedForward(nn.Module):
    """Gated feed-forward layer; `width` counts both halves."""

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.w12 = nn.Linear(dim, width)
        self.w3 = nn.Linear(width // 2, dim)
        for layer in (self.w12, self.w3):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.w12(x).chunk(2, -1)
        return self.w3(F.silu(gate) * value)


class DecoderLayer(nn.Module):
    """Self-attention, deformable attention to the maps, feed-forward; x f[B,N,d], boxes f32[B,N,4], position f[B,N,d]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        dim = config.hidden
        self.self_attn = SelfAttention(dim, config.heads)
        self.norm1 = RMSNorm(dim)
        self.cross_attn = DeformableAttention(dim, config.heads, config.points)
        if config.gateway:
            self.gateway = Gateway(dim)
        else:
            self.norm2 = RMSNorm(dim)
        self.swish_ffn = SwishFeedForward(dim, config.feedforward)
        self.norm3 = RMSNorm(dim)
        self.gated = config.gateway

    def forward(self, x: Tensor, boxes: Tensor, position: Tensor, maps: list[Tensor], groups: int, size: int) -> Tensor:
        x = self.norm1(x + self.self_attn(x, position, groups, size))
        seen = self.cross_attn(x + position, boxes, maps)
        x = self.gateway(x, seen) if self.gated else self.norm2(x + seen)
        return self.norm3((x + self.swish_ffn(x)).clamp(-HALF_MAX, HALF_MAX))


class QualityHead(nn.Module):
    """Reads from the shape of the four edge distributions f32[B,N,4,bins+1] how sure the box is: f[B,N,1]."""

    STRONGEST, WIDTH = 4, 64

    def __init__(self) -> None:
        super().__init__()
        self.reg_conf = MLP(4 * (self.STRONGEST + 1), self.WIDTH, 1)
        _zero_last(self.reg_conf)

    def forward(self, distributions: Tensor) -> Tensor:
        top = strongest(distributions, self.STRONGEST) if self.training else distributions.topk(self.STRONGEST, -1).values
        return self.reg_conf(torch.cat((top, top.mean(-1, keepdim=True)), -1).flatten(2))


class RefinementLayers(nn.Module):
    """Holder of the layers and of the constants of the box distribution, under the names of the checkpoints."""

    def __init__(self, config: Config, up: nn.Parameter, reg_scale: nn.Parameter) -> None:
        super().__init__()
        self.up, self.reg_scale = up, reg_scale
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.layers))
        self.lqe_layers = nn.ModuleList(QualityHead() for _ in range(config.layers))


class Decoder(nn.Module):
    """Maps f[B,d,h,w], finest first, to detections; `refine` is the part that training and inference share."""

    def __init__(self, config: Config, num_classes: int) -> None:
        super().__init__()
        dim, layers, bins = config.hidden, config.layers, config.bins
        self.config = config
        self.up = nn.Parameter(torch.tensor([0.5]), requires_grad=False)
        self.reg_scale = nn.Parameter(torch.tensor([4]), requires_grad=False)
        self.decoder = RefinementLayers(config, self.up, self.reg_scale)
        self.denoising_class_embed = nn.Embedding(num_classes + 1, dim, padding_idx=num_classes)
        self.enc_score_head = _score_head(dim, num_classes)
        self.enc_bbox_head = _zero_last(MLP(dim, dim, dim, 4))
        self.query_pos_head = MLP(4, dim, dim, dim)
        self.pre_bbox_head = _zero_last(MLP(dim, dim, dim, 4))
        self.dec_score_head = nn.ModuleList(_score_head(dim, num_classes) for _ in range(layers))
        heads = [_zero_last(MLP(dim, dim, dim, 4 * (bins + 1))) for _ in range(1 if config.shared_box_head else layers)]
        self.dec_bbox_head = nn.ModuleList(heads * (layers // len(heads)))
        for layer in self.query_pos_head.layers:
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """Detections of the last layer: logits f32[B,Q,K], boxes f32[B,Q,4]."""
        queries, _, _ = self.select(maps)
        *_, last = self.refine(queries, maps)
        return {"logits": self._logits(-1, last), "boxes": last.boxes}

    def forward_training(self, maps: list[Tensor], noise: Denoising | None) -> tuple[Predictions, Predictions | None]:
        """Predictions of the selected and of the denoising queries (None without any)."""
        queries, encoder_logits, encoder_boxes = self.select(maps)
        if noise is not None:
            content = torch.cat((self.denoising_class_embed(noise.labels), queries.content), 1)
            queries = Queries(content, torch.cat((noise.boxes.sigmoid(), queries.boxes), 1), noise.groups, noise.size)
        start, *steps = self.refine(queries, maps)
        logits = [self._logits(index, step) for index, step in enumerate(steps)]
        whole = Predictions(
            torch.stack((*logits, self.dec_score_head[0](steps[0].features).float())),
            torch.stack((*(step.boxes for step in steps), start.boxes)), torch.stack([step.corners for step in steps]), start.boxes.detach(),
        )
        split = queries.groups * queries.size
        selected = whole.part(slice(split, None)).with_set(encoder_logits, encoder_boxes)
        return selected, None if noise is None else whole.part(slice(split))

    def select(self, maps: list[Tensor]) -> tuple[Queries, Tensor, Tensor]:
        """The positions with the best class scores as queries (detached), and their logits and boxes (not detached)."""
        memory = torch.cat([level.flatten(2).transpose(1, 2) for level in maps], 1)
        anchors, valid = make_anchors(tuple((int(level.shape[2]), int(level.shape[3])) for level in maps))
        memory = memory if valid is None else memory * torch.from_numpy(valid).to(memory.device)
        logits = self.enc_score_head(memory).float()
        best = logits.amax(-1).topk(min(self.config.queries, memory.shape[1]), 1).indices[..., None]
        content = memory.gather(1, best.expand(-1, -1, memory.shape[-1]))
        boxes = (self.enc_bbox_head(content).float() + torch.from_numpy(anchors).to(memory.device)[best[..., 0]]).sigmoid()
        logits = logits.gather(1, best.expand(-1, -1, logits.shape[-1]))
        return Queries(content.detach(), boxes.detach()), logits, boxes

    def refine(self, queries: Queries, maps: list[Tensor]) -> Iterator[Step]:
        """The boxes before the first refinement, then the outcome of every layer.

        All layers refine the same first boxes: their distributions add up. Each layer looks where the one before left off.
        """
        x, seen = queries.content.float(), queries.boxes
        maps = [level.float().contiguous() for level in maps]
        position = self.query_pos_head(seen).clamp(-10, 10)
        table = bin_distances(self.up, self.reg_scale, self.config.bins)
        corners, previous = torch.zeros((), device=x.device), torch.zeros((), device=x.device)
        for index, layer in enumerate(self.decoder.layers):
            x = layer(x, seen, position, maps, queries.groups, queries.size)
            if index == 0:
                first = (self.pre_bbox_head(x).float() + inverse_sigmoid(seen)).sigmoid()
                yield Step(x, first, corners, corners)
            corners = self.dec_bbox_head[index](x + previous).float() + corners
            distributions = corners.unflatten(-1, (4, -1)).softmax(-1)
            boxes = decode(first.detach(), distributions, table, self.reg_scale)
            yield Step(x, boxes, corners, distributions)
            seen, previous = boxes.detach(), x.detach()

    def _logits(self, index: int, step: Step) -> Tensor:
        """Class logits f32[B,N,K] of a layer: its score head, raised or lowered by the quality of its boxes."""
        return self.dec_score_head[index](step.features).float() + self.decoder.lqe_layers[index](step.distributions).float()


def strongest(values: Tensor, count: int) -> Tensor:
    """The `count` largest of up to 64 positive f32[...,n], largest first: faster than topk, values closer than 2^-17 may change places.

    Positive floats sort like their bits; the lowest six bits make room for the position, so no two keys are equal.
    """
    last = values.shape[-1] - 1
    keys = (values.detach().view(torch.int32) & -64) | torch.arange(values.shape[-1], dtype=torch.int32, device=values.device)
    picked = [keys.amax(-1, keepdim=True)]
    while len(picked) < count:
        keys = keys.masked_fill(keys == picked[-1], -1)
        picked.append(keys.amax(-1, keepdim=True))
    return values.gather(-1, (torch.cat(picked, -1) & 63).clamp(max=last).long())


def bin_distances(up: Tensor, reg_scale: Tensor, bins: int) -> Tensor:
    """Non-uniform bin values of D-FINE (arXiv:2410.13842, section 3), f32[bins+1], antisymmetric around the middle one."""
    limit = up.float().abs() * reg_scale.float().abs()
    power = torch.arange(1.0, bins // 2, device=up.device) * (2 / (bins - 2))
    side = (limit + 1) ** power - 1
    side = torch.cat((side, 2 * limit))
    return torch.cat((-side.flip(0), torch.zeros_like(limit), side))


def decode(references: Tensor, distributions: Tensor, table: Tensor, reg_scale: Tensor) -> Tensor:
    """Boxes f32[B,N,4] from reference boxes whose edges move by the expected distances of f32[B,N,4,bins+1]."""
    with torch.autocast(references.device.type, enabled=False):
        moved = (distributions @ table) / reg_scale.abs() + 0.5
        size = references[..., 2:]
        low = references[..., :2] - moved[..., :2] * size
        high = references[..., :2] + moved[..., 2:] * size
        return torch.cat(((low + high) * 0.5, high - low), -1)


@lru_cache(maxsize=16)
def make_anchors(sizes: tuple[tuple[int, int], ...]) -> tuple[np.ndarray, np.ndarray | None]:
    """Logits f32[S,4] of a box at every position, twice as large per level, and which are usable, bool[S,1] (None: all).

    Unusable ones are those close to the border of a large map; their logits are infinite.
    """
    boxes = np.concatenate([_level_boxes(height, width, 0.05 * 2**level) for level, (height, width) in enumerate(sizes)])
    valid = np.logical_and.reduce((boxes > 0.01) & (boxes < 0.99), axis=1, keepdims=True)
    logits = np.where(valid, np.log(boxes / (1 - boxes)), np.inf)
    return logits.astype(np.float32), None if valid.all() else valid


def _level_boxes(height: int, width: int, side: float) -> np.ndarray:
    """Boxes [h*w,4] cxcywh, row by row."""
    rows, columns = np.mgrid[:height, :width]
    sides = np.full(height * width, side)
    return np.stack(((columns.ravel() + 0.5) / width, (rows.ravel() + 0.5) / height, sides, sides), 1)


def _score_head(dim: int, num_classes: int) -> nn.Linear:
    head = nn.Linear(dim, num_classes)
    nn.init.constant_(head.bias, -math.log((1 - CLASS_PRIOR) / CLASS_PRIOR))
    return head


def _zero_last(head: MLP) -> MLP:
    nn.init.zeros_(head.layers[-1].weight)
    nn.init.zeros_(head.layers[-1].bias)
    return head
