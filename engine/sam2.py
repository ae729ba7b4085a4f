"""SAM 2 for outlines from points and boxes (Ravi et al. 2024, Apache 2.0; the network as in transformers).

Weights of the hub and of the official repository fit, in any container that `weights` reads. Only the image part is used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine import weights
from engine.machine import choose_device
from engine.types import UserError

REPOSITORY, FILE, MEGABYTES = "facebook/sam2.1-hiera-tiny", "model.safetensors", 156
FAMILIES = ("sam2", "sam2_hf")  # names of weights_reading.families
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OUTSIDE, INSIDE, TOP_LEFT, BOTTOM_RIGHT = range(4)  # labels of points
Point = tuple[float, float]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Size:
    """What the shapes of the tensors do not show."""

    heads: int
    windows: tuple[int, int, int, int]
    everywhere: tuple[int, ...]  # blocks that attend to the whole image
    side: int = 1024  # of the image that the network sees


DOWNSCALING = {"0": "conv1", "1": "layer_norm1", "3": "conv2", "4": "layer_norm2", "6": "conv3"}
UPSCALING = {"0": "upscale_conv1", "1": "upscale_layer_norm", "3": "upscale_conv2"}
# (width, blocks) of the first stage and of all: tiny, small, base+, large
SIZES = {(96, 12): Size(1, (8, 4, 14, 7), (5, 7, 9)), (96, 16): Size(1, (8, 4, 14, 7), (7, 10, 13)),
         (112, 24): Size(2, (8, 4, 14, 7), (12, 16, 20)), (144, 48): Size(2, (8, 4, 16, 8), (23, 33, 43))}
# Names of the official repository -> those of transformers, in this order.
RENAMED = tuple((re.compile(pattern), name) for pattern, name in (
    (r"^image_encoder\.trunk\.patch_embed\.proj\.", "vision_encoder.backbone.patch_embed.projection."),
    (r"^image_encoder\.trunk\.", "vision_encoder.backbone."),
    (r"^image_encoder\.neck\.convs\.(\d+)\.conv\.", r"vision_encoder.neck.convs.\1."),
    (r"^no_mem_embed$", "no_memory_embedding"),
    (r"^sam_prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix$", "shared_image_embedding.positional_embedding"),
    (r"^sam_prompt_encoder\.mask_downscaling\.(\d)\.", lambda found: "prompt_encoder.mask_embed." + DOWNSCALING[found[1]] + "."),
    (r"^sam_prompt_encoder\.", "prompt_encoder."),
    (r"^sam_mask_decoder\.output_upscaling\.(\d)\.", lambda found: "mask_decoder." + UPSCALING[found[1]] + "."),
    (r"^sam_mask_decoder\.(output_hypernetworks_mlps\.\d+|iou_prediction_head|pred_obj_score_head)\.layers\.(\d)\.",
     lambda found: f"mask_decoder.{found[1]}.{('proj_in', 'layers.0', 'proj_out')[int(found[2])]}."),
    (r"^sam_mask_decoder\.", "mask_decoder."),
    (r"\.norm_final_attn\.", ".layer_norm_final_attn."), (r"\.norm(\d)\.", r".layer_norm\1."), (r"\.out_proj\.", ".o_proj."),
    (r"\.mlp\.layers\.0\.", ".mlp.proj_in."), (r"\.mlp\.layers\.1\.", ".mlp.proj_out.")))
BLOCK = re.compile(r"vision_encoder\.backbone\.blocks\.\d+\.attn\.proj\.weight")
SHARED = ("shared_image_embedding.positional_embedding", "prompt_encoder.shared_embedding.positional_embedding")


def fitting(path: Path) -> bool:
    """Whether a weights file holds SAM 2, by the names of its tensors; no tensor is read. False for a file that cannot be read."""
    from engine.weights_reading import layout
    from engine.weights_reading.containers import reading
    from engine.weights_reading.families import family

    try:
        with reading(path) as content:
            return family(layout.find(content.root).tensors.keys(), {}) in FAMILIES
    except UserError:
        return False


class Sam2:
    """Outlines objects that are pointed at: `seen` reads an image once, `outlined` answers for points and boxes on it."""

    def __init__(self, path: Path | str, device: str = "auto") -> None:
        """Raises UserError for a file that cannot be read or holds something else."""
        path = Path(path)
        tensors = renamed(weights.state_dict_of(weights.safe_load(path), path))
        self.network = network_of(tensors, path)
        self.device = torch.device(choose_device(device))
        self.side = int(self.network.prompt_encoder.input_image_size)
        self.network.to(self.device).eval()

    @torch.inference_mode()
    def seen(self, image: np.ndarray) -> list[Tensor]:
        """What the network keeps of uint8 image[H,W,3]: three maps, the finest first. Images are stretched to a square, as published."""
        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(self.device).permute(2, 0, 1)[None].float() / 255
        pixels = F.interpolate(pixels, (self.side, self.side), mode="bilinear", align_corners=False, antialias=True)
        mean, std = (torch.tensor(each, device=self.device).view(1, 3, 1, 1) for each in (MEAN, STD))
        found: list[Tensor] = self.network.get_image_embeddings((pixels - mean) / std)
        return found

    @torch.inference_mode()
    def outlined(self, maps: Sequence[Tensor], size: tuple[int, int], inside: Sequence[Point], outside: Sequence[Point] = (),
                 box: Box | None = None) -> np.ndarray:
        """bool[H,W] of the object in an image of `size` (width, height). Points and box in pixels of the image.

        One point leaves open which of three nested objects is meant: that of the best quality by the network's own estimate is taken.
        """
        width, height = size
        corners = [(box[0], box[1]), (box[2], box[3])] if box is not None else []
        told = [*corners, *inside, *outside]
        labels = [TOP_LEFT, BOTTOM_RIGHT][:len(corners)] + [INSIDE] * len(inside) + [OUTSIDE] * len(outside)
        if not corners and not inside:
            raise UserError("labels_unreadable", what="points")
        points = torch.tensor(told, dtype=torch.float32, device=self.device) * self.side / torch.tensor([width, height], device=self.device)
        kinds = torch.tensor(labels, device=self.device)[None, None]
        found = self.network(image_embeddings=list(maps), input_points=points[None, None], input_labels=kinds, multimask_output=len(told) == 1)
        best = found.pred_masks[0, 0, int(found.iou_scores[0, 0].argmax())]
        logits = best.float().cpu().numpy()
        return np.asarray(cv2.resize(logits, (width, height), interpolation=cv2.INTER_LINEAR) > 0)


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names of transformers; what belongs to videos is left out."""
    found: dict[str, Tensor] = {}
    points = {}
    for name, value in tensors.items():
        point = re.fullmatch(r"sam_prompt_encoder\.point_embeddings\.(\d)\.weight", name)
        if point:
            points[int(point[1])] = value
            continue
        new = name
        if not name.startswith(("vision_encoder.", "prompt_encoder.", "mask_decoder.")):
            for pattern, replacement in RENAMED:
                new = pattern.sub(replacement, new)
        if new.startswith(("vision_encoder.", "prompt_encoder.", "mask_decoder.", "shared_image_embedding.")) or new == "no_memory_embedding":
            found[new] = value
    if points:
        found["prompt_encoder.point_embed.weight"] = torch.cat([points[number] for number in sorted(points)])
    for name, other in (SHARED, SHARED[::-1]):
        if name in found:
            found.setdefault(other, found[name])
    return found


def network_of(tensors: Mapping[str, Tensor], path: Path) -> nn.Module:
    """The network of these tensors, with them. Raises UserError when they are not SAM 2 or not complete."""
    from transformers.models.sam2.configuration_sam2 import Sam2Config
    from transformers.models.sam2.modeling_sam2 import Sam2Model

    network = Sam2Model(Sam2Config(**_settings(tensors, path)))
    wanted = network.state_dict()
    fits = {name: value for name, value in tensors.items() if name in wanted and value.shape == wanted[name].shape}
    missing = sorted(wanted.keys() - fits.keys())
    if missing:
        raise UserError("sam2_incomplete", path=path.name, missing=len(missing), total=len(wanted), example=missing[0])
    weights.put(network, fits, strict=True)
    return network


def _settings(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """The arguments of Sam2Config, by the shapes of the tensors."""
    try:
        width = int(tensors["vision_encoder.backbone.patch_embed.projection.weight"].shape[0])
        blocks = sum(BLOCK.fullmatch(name) is not None for name in tensors)
        outputs = [int(tensors[f"vision_encoder.backbone.blocks.{number}.attn.proj.weight"].shape[0]) for number in range(blocks)]
        back = tuple(tensors["vision_encoder.backbone.pos_embed"].shape[-2:])
    except (KeyError, IndexError) as error:
        raise UserError("sam2_incomplete", path=path.name, missing=1, total=len(tensors), example=str(error)) from error
    size = SIZES.get((width, len(outputs)))
    widths = sorted(set(outputs))
    if size is None or len(widths) != 4:
        raise UserError("sam2_unknown_size", path=path.name, width=width, blocks=len(outputs))
    trunk = {"model_type": "sam2_hiera_det_model", "image_size": [size.side, size.side], "hidden_size": width, "num_attention_heads": size.heads,
             "blocks_per_stage": [outputs.count(each) for each in widths], "embed_dim_per_stage": widths,
             "num_attention_heads_per_stage": [size.heads * 2**stage for stage in range(4)],
             "window_positional_embedding_background_size": list(back), "window_size_per_stage": list(size.windows),
             "global_attention_blocks": list(size.everywhere)}
    return {"vision_config": {"backbone_channel_list": widths[::-1], "backbone_config": trunk,
                              "backbone_feature_sizes": [[size.side // stride] * 2 for stride in (4, 8, 16)]},
            "prompt_encoder_config": {"image_size": size.side}}
