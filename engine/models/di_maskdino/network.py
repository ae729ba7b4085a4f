"""DI-MaskDINO put together: backbone, pixel decoder, selection, decoder, and the loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from engine.config import TrainConfig
from engine.models.backbones import padded
from engine.models.di_maskdino.backbone import Backbone
from engine.models.di_maskdino.config import STRIDE, Config
from engine.models.di_maskdino.criterion import Criterion
from engine.models.di_maskdino.decoder import Decoder, Heads
from engine.models.di_maskdino.denoising import Denoising, make_denoising
from engine.models.di_maskdino.keys import LOAD_MAP
from engine.models.di_maskdino.layers import Memory, flat, positions, refined, shapes_of
from engine.models.di_maskdino.outputs import MaskProduct, Outputs, Predictions
from engine.models.di_maskdino.pixel_decoder import PixelDecoder
from engine.models.di_maskdino.selection import Balancing, TokenSelection, mask_boxes, pick, strongest
from engine.models.network import Balance, LoadMap, Network


class DIMaskDINO(Network):
    """images f32[B,3,H,W] -> {"logits": f32[B,Q,K], "boxes": f32[B,Q,4] cxcywh in 0..1, "masks": f32[B,Q,h,w] logits, stride 4}.

    Sides that are no multiples of 32 are padded with zeros on the right and at the bottom; boxes and masks are those of the padded
    image, and so must the targets be. All but the backbone runs in fp32, as published. Small images have fewer tokens than queries: Q is then less.
    """

    def __init__(self, config: Config, num_classes: int) -> None:
        super().__init__()
        self.config, self.num_classes = config, num_classes
        self.backbone = Backbone(config.backbone)
        self.pixel_decoder = PixelDecoder(config, self.backbone.channels)
        self.heads = Heads(config, num_classes)
        self.selection = TokenSelection(config)
        self.balancing = Balancing(config)
        self.label_enc = nn.Embedding(num_classes, config.hidden_dim)
        self.decoder = Decoder(config)
        self.criterion = Criterion(config, num_classes)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        final = self.outputs(images, None).final
        masks = final.masks
        assert masks is not None
        return {"logits": final.logits, "boxes": final.boxes, "masks": masks.full()}

    def forward_training(self, images: Tensor, targets: list[dict[str, Tensor]]) -> tuple[Outputs, Denoising | None]:
        """All sets of predictions, and what the denoising queries were made of. Targets: see `Criterion`."""
        noise = make_denoising(targets, self.num_classes, self.config)
        return self.outputs(images, noise), noise

    def loss(self, images: Tensor, targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        outputs, noise = self.forward_training(images, targets)
        height, width = (side + -side % STRIDE for side in images.shape[-2:])
        with torch.autocast(images.device.type, enabled=False):
            return self.criterion(outputs, targets, noise, (height, width))

    def outputs(self, images: Tensor, noise: Denoising | None) -> Outputs:
        """All sets of predictions."""
        maps = self.backbone(padded(images, STRIDE))
        with torch.autocast(images.device.type, enabled=False):
            features, levels = self.pixel_decoder([each.float() for each in maps])
            levels = levels[::-1]
            shapes, tokens = shapes_of(levels), flat(levels)
            return self._decode(Memory(tokens, positions(shapes, tokens.shape[-1], tokens), shapes), self.heads.located(features), noise)

    def _decode(self, memory: Memory, features: Tensor, noise: Denoising | None) -> Outputs:
        selected, masks, tokens = self._select(memory, features)
        other = selected.boxes.detach() if self.config.box_for_empty else None
        balanced = self.balancing(tokens.detach(), mask_boxes(masks, other).sigmoid())
        x, boxes = self._queries(balanced)
        noisy, mask = 0, None
        if noise is not None:
            noisy, mask = noise.labels.shape[1], noise.mask(x.shape[1])
            x = torch.cat((self.label_enc(noise.labels) * noise.filled[..., None], x), 1)
            boxes = torch.cat((noise.boxes.sigmoid(), boxes), 1)
        steps = self.decoder(x, boxes, memory, features, self.heads, mask=mask, noisy=noisy)
        every = [self.heads.of_queries(x, boxes, features), *map(self.heads.of_step, steps)]
        rest = [_part(each, slice(noisy, None)) for each in every]
        return Outputs(rest[-1], rest[:-1], selected, [self._balanced(*each) for each in balanced],
                       [_part(each, slice(noisy)) for each in every] if noisy else [])

    def _select(self, memory: Memory, features: Tensor) -> tuple[Predictions, MaskProduct, Tensor]:
        """The first choice: its predictions, their masks, its tokens f32[B,N,C]."""
        chosen = self.selection(memory, self.heads.class_embed)
        found = self.heads.of_queries(chosen.tokens, (self.heads.bbox_embed(chosen.tokens) + chosen.places).sigmoid(), features)
        assert found.masks is not None
        return found, found.masks, chosen.tokens

    def _queries(self, balanced: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """The final choice: content f32[B,Q,C] and boxes f32[B,Q,4]."""
        x, boxes = balanced[-1]
        best = strongest(self.heads.class_embed(self.balancing.norm(x)), self.config.queries)
        return pick(x, best), pick(boxes, best)

    def _balanced(self, x: Tensor, boxes: Tensor) -> Predictions:
        """Of a balancing layer. Its box changes the box that it has changed already, as published."""
        x = self.balancing.norm(x)
        return Predictions(self.heads.class_embed(self.heads.norm(x)), refined(boxes, self.balancing.bbox_embed(x)), None)

    def configure(self, config: TrainConfig, balance: Balance | None) -> None:
        self.criterion.configure(config)

    def share_counts(self, mean: Callable[[float], float]) -> bool:
        self.criterion.mean = mean
        return True

    def load_map(self) -> LoadMap:
        return LOAD_MAP

    def is_backbone(self, name: str) -> bool:
        return name.startswith("backbone.model.")

    def exempt(self, name: str) -> bool:
        return name in ("label_enc.weight", "pixel_decoder.level_embed")

    def published_backbone(self) -> tuple[nn.Module, str, str] | None:
        return self.backbone.published()

    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        return self.backbone.normalisation()


def _part(each: Predictions, queries: slice) -> Predictions:
    masks = each.masks
    return Predictions(each.logits[:, queries], each.boxes[:, queries],
                       None if masks is None else MaskProduct(masks.embedding[:, queries], masks.features))
