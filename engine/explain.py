"""Where in an image the evidence for a class lies: class activation maps for every classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from engine.datasets.images import resize
from engine.tasks.loading import normalised
from engine.types import UserError

if TYPE_CHECKING:
    from engine.predict import Picture, Predictor

ROUNDING = 1e-5
ATTENDS = ("qkv", "kv", "q_norm", "in_proj_weight", "x_proj")  # what attention, and the scan of a state space, have and convolutions have not


def activation_map(predictor: Predictor, image: Picture, class_id: int) -> np.ndarray:
    """f32[H,W] of the image's own size: 0 = nothing here speaks for the class, 1 = the most telling place.

    Raises UserError for a model that has no classes of whole images.
    """
    from engine.predict import as_pixels

    pixels = as_pixels(image)
    return enlarged(evidence(predictor, pixels, class_id), (pixels.shape[1], pixels.shape[0]))


def evidence(predictor: Predictor, image: Picture, class_id: int) -> np.ndarray:
    """Like `activation_map`, on the grid f32[h,w] of the network's features."""
    from engine.predict import as_pixels

    network: Any = predictor.network
    if predictor.task.name != "classify" or not hasattr(network, "explain"):
        raise UserError("explain_task", model=predictor.name, task=predictor.task.name)
    if not 0 <= class_id < len(predictor.classes):
        raise ValueError(f"class id {class_id} of {len(predictor.classes)} classes")
    side = predictor.preprocess.size
    square = resize(as_pixels(image), (side, side))[None]
    network.eval()
    with torch.inference_mode(False), torch.enable_grad():
        logits, maps = network.explain(_input(predictor, square))
        slopes = torch.autograd.grad(logits[0, class_id].float(), maps)[0]
    found = _weighted(maps[0].detach().float(), slopes[0].float(), is_transformer(network)).cpu().numpy()
    peak, felt = float(found.max(initial=0.0)), float((maps[0].detach() * slopes[0]).abs().sum(0).max())
    told = np.isfinite(peak) and peak > ROUNDING * felt
    return (found / peak if told else np.zeros_like(found)).astype(np.float32)


def _input(predictor: Predictor, squares: np.ndarray) -> Tensor:
    """u8[B,S,S,3] as the network wants it; it asks for a slope itself, so that a frozen network explains itself too."""
    images = torch.from_numpy(np.ascontiguousarray(squares.transpose(0, 3, 1, 2))).to(predictor.device)
    return normalised(images, predictor.preprocess.mean, predictor.preprocess.std).detach().requires_grad_(True)


def _weighted(maps: Tensor, slopes: Tensor, transformer: bool) -> Tensor:
    """[h,w] >= 0 of maps and slopes [D,h,w].

    Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) weighs a channel by the mean of its slopes. LayerCAM (Jiang et al. 2021,
    doi:10.1109/TIP.2021.3089943) weighs each place by its own slope and keeps what speaks for the class: in a transformer a channel does not
    mean the same everywhere. Channels count by how far they are from their mean over the image, since tokens have no natural zero; what is
    positive is then the product, not the slope. Of a Grad-CAM that takes away its mean, and leaves the order of the places.
    """
    above = maps - maps.mean((1, 2), keepdim=True)
    if transformer:
        return torch.nan_to_num((slopes * above).clamp(min=0).sum(0))
    return torch.nan_to_num((slopes.mean((1, 2), keepdim=True) * above).sum(0)).clamp(min=0)


def is_transformer(network: nn.Module) -> bool:
    """Whether the backbone mixes places by attention or by a scan: as the network says in `transformer`, else by its parts."""
    told = getattr(network, "transformer", None)
    if isinstance(told, bool):
        return told
    extractor = getattr(network, "feature_extractor", None)
    backbone = getattr(extractor, "backbone", None) or network
    return any(hasattr(part, name) for part in backbone.modules() for name in ATTENDS)


def enlarged(grid: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """f32[h,w] in 0..1 at another (width, height), smooth between the centres of the cells."""
    return np.clip(cv2.resize(grid, size, interpolation=cv2.INTER_CUBIC), 0, 1)
