"""Class activation maps: they follow what the class is about, whatever the backbone, and leave the network as it was."""

from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch

import engine.models.hybridmednet.vim as vision_mamba
from engine.explain import _weighted, activation_map, evidence, is_transformer
from engine.losses import classification
from engine.models import create
from engine.models.hybridmednet.network import Vim
from engine.models.timm_classifier.network import adopt
from engine.predict import Predictor, Preprocess
from engine.tasks.task import tasks
from engine.types import UserError

SIDE, OBJECT = 64, 16
CORNERS = [(4, 4), (44, 4), (4, 44), (44, 44)]


def predictor_of(network, *, side=SIDE, task="classify"):
    return Predictor(network, name="small", task=tasks.get(task).bound({"num_classes": 2, "mode": "multilabel"}), classes=("square", "noise"),
                     preprocess=Preprocess(side, (0.5,) * 3, (0.25,) * 3), device=torch.device("cpu"))


def scene(random, at=None, side=SIDE):
    """Gray noise u8[side,side,3], with a yellow square at (x, y)."""
    image = random.normal(90, 18, (side, side, 3)).clip(0, 255).astype(np.uint8)
    if at is not None:
        image[at[1] : at[1] + OBJECT, at[0] : at[0] + OBJECT] = (230, 220, 60)
    return image


def small_swin():
    model = timm.create_model("swin_tiny_patch4_window7_224", pretrained=False, num_classes=2, img_size=SIDE, embed_dim=24, depths=(1, 1, 2),
                              num_heads=(1, 2, 4), window_size=4)
    return adopt(model, "swin_small", "multilabel", fixed_size=False)


def timm_network(backbone):
    return create("timm", 2, backbone=backbone)


def hybrid(backbone):
    return create("hybridmednet", 2, backbone=backbone, fpn_channels=16, fusion_channels=16, use_cross_scale_attention=False)


class SmallVim(Vim):
    """Vision Mamba of eight narrow blocks."""

    def __init__(self):
        vision_mamba.VisionMamba.__init__(self, 48, 2, depth=8)
        self.name, self.mode, self.criterion = "small", "multilabel", classification.build(None, None, "multilabel")


def small_hybrid_vim():
    with pytest.MonkeyPatch.context() as small:
        small.setitem(vision_mamba.VIM, "vim_tiny", 48)
        return hybrid("vim_tiny")


LEARNERS = {
    "convolutions": (lambda: timm_network("test_resnet"), 2e-3, 20),
    "swin": (small_swin, 2e-3, 30),
    "vit": (lambda: timm_network("test_vit"), 1e-3, 25),
    "hybridmednet": (lambda: hybrid("test_resnet"), 3e-3, 20),
    "convnext": (lambda: timm_network("test_convnext"), 1e-2, 40),
    "efficientnet": (lambda: timm_network("test_efficientnet"), 3e-3, 30),
    "hybrid_convnext": (lambda: hybrid("test_convnext"), 3e-3, 30),
}
SLOW_LEARNERS = {
    "vim": (SmallVim, 3e-3, 110),
    "hybrid_efficientnet": (lambda: hybrid("test_efficientnet"), 5e-3, 60),
    "hybrid_vit": (lambda: hybrid("test_vit"), 3e-3, 80),
    "hybrid_swin": (lambda: hybrid("swin_tiny"), 1e-3, 30),
    "hybrid_vim": (small_hybrid_vim, 4e-3, 120),
}


def taught(build, rate, steps):
    """A network that has learnt in seconds to tell squares from noise."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    predictor, random = predictor_of(build()), np.random.default_rng(0)
    network = predictor.network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate)
    for _ in range(steps):
        places = [tuple(random.integers(0, SIDE - OBJECT, 2)) if i % 2 else None for i in range(8)]
        pixels = torch.from_numpy(np.stack([scene(random, at) for at in places])).permute(0, 3, 1, 2)
        targets = [{"values": torch.tensor([1.0, 0.0] if at is not None else [0.0, 1.0])} for at in places]
        optimizer.zero_grad()
        sum(network.loss((pixels / 255 - 0.5) / 0.25, targets).values()).backward()
        optimizer.step()
    optimizer.zero_grad()
    network.eval()
    torch.set_num_threads(threads)
    return predictor


@pytest.mark.parametrize("kind", [*LEARNERS, *(pytest.param(each, marks=pytest.mark.slow) for each in SLOW_LEARNERS)])
def test_the_map_follows_the_object_when_it_moves(kind, monkeypatch):
    monkeypatch.setattr(vision_mamba, "DEPTH", 4)  # blocks of the pyramid: few learn fast
    predictor, random = taught(*{**LEARNERS, **SLOW_LEARNERS}[kind]), np.random.default_rng(1)
    for x, y in CORNERS:
        found = activation_map(predictor, scene(random, (x, y)), 0)
        inside = found[y : y + OBJECT, x : x + OBJECT].mean()
        assert inside > 2 * found.mean(), (kind, x, y)
        peak = np.array(np.unravel_index(found.argmax(), found.shape))
        assert (peak // (SIDE // 2) == (y > SIDE // 2, x > SIDE // 2)).all(), (kind, x, y, peak)


BACKBONES = {
    "resnet18": (lambda: timm_network("resnet18"), 64, False), "convnext": (lambda: timm_network("test_convnext"), 64, False),
    "efficientnet": (lambda: timm_network("test_efficientnet"), 64, False), "swin": (small_swin, 64, True),
    "vit_tiny": (lambda: timm_network("vit_tiny_patch16_224"), 64, True), "hybrid": (lambda: hybrid("resnet34"), 64, False),
    "hybrid_vit": (lambda: hybrid("test_vit"), 64, True), "hybrid_vim": (lambda: hybrid("vim_tiny"), 32, True),
    "vim": (lambda: create("vim_tiny", 2), 32, True),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_every_kind_of_backbone_has_a_finite_map_of_the_images_own_size(name):
    build, side, transformer = BACKBONES[name]
    torch.manual_seed(0)
    predictor = predictor_of(build(), side=side)
    assert is_transformer(predictor.network) is transformer
    image = scene(np.random.default_rng(0), (4, 4))[:50, :40]
    predictor(image)  # inference mode first: what it caches must not disturb the gradient
    found = activation_map(predictor, image, 1)
    assert found.shape == (50, 40)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert 0 <= found.min() <= found.max() <= 1


def test_a_map_leaves_no_gradient_and_no_other_weights_behind():
    predictor = predictor_of(timm_network("test_resnet"))
    before = {name: value.clone() for name, value in predictor.network.state_dict().items()}
    image = scene(np.random.default_rng(0), (4, 4))
    first = predictor(image).values
    with torch.inference_mode():
        one, other = activation_map(predictor, image, 0), activation_map(predictor, image, 0)
    assert (one == other).all()
    assert all(parameter.grad is None for parameter in predictor.network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in predictor.network.state_dict().items())
    assert not predictor.network.training
    assert (predictor(image).values == first).all()


def test_a_frozen_network_explains_itself_too():
    predictor = predictor_of(timm_network("test_resnet"))
    image = scene(np.random.default_rng(0), (4, 4))
    free = activation_map(predictor, image, 0)
    predictor.network.requires_grad_(False)
    assert np.allclose(activation_map(predictor, image, 0), free, atol=1e-5)


def test_grad_cam_of_a_linear_head_is_its_weights_times_the_features():
    """Zhou et al. 2016: behind a global mean, the map is the head's weights times the maps."""
    maps, head = torch.rand(5, 3, 4), torch.randn(5)
    slopes = (head / 12).view(5, 1, 1).expand(5, 3, 4)
    wanted = (head.view(5, 1, 1) * maps).sum(0) / 12
    assert torch.allclose(_weighted(maps, slopes, False), (wanted - wanted.mean()).clamp(min=0), atol=1e-6)


def test_evidence_against_a_class_is_cold():
    maps = torch.tensor([[[0.0, 0.0], [0.0, 4.0]]])
    for transformer in (False, True):
        assert _weighted(maps, torch.full((1, 2, 2), -1.0), transformer)[1, 1] == 0
        assert _weighted(maps, torch.full((1, 2, 2), 1.0), transformer).argmax() == 3


def test_an_image_without_anything_in_it_has_a_cold_map():
    predictor = predictor_of(SimpleNet())
    assert not evidence(predictor, np.full((20, 30, 3), 90, np.uint8), 0).any()


class SimpleNet(torch.nn.Module):
    """Class 0 is the mean redness, class 1 its opposite."""

    def explain(self, images):
        maps = images[:, :1] * 1.0
        return torch.cat([maps.mean((2, 3)), -maps.mean((2, 3))], 1), maps


def test_another_task_is_told_that_it_has_no_map():
    with pytest.raises(UserError, match="heat map"):
        evidence(SimpleNamespace(network=SimpleNet(), task=tasks.get("semantic"), name="unet", classes=("a",)), np.zeros((4, 4, 3), np.uint8), 0)
