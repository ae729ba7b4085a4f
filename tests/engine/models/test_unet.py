"""Twelve architectures: every one trains, predicts at odd sizes, loads the original's weights and is recognised by them."""

import subprocess
import sys

import pytest
import torch

from engine import models
from engine.config import TrainConfig
from engine.models.network import count_parameters
from engine.models.unet import ARCHITECTURES, infer
from engine.types import UserError
from engine.weights import load_into

VIT = "tu-vit_tiny_patch16_224"
SLOW = [("unetplusplus", "tu-convnext_tiny"), ("unet", "tu-swin_tiny_patch4_window7_224"), ("unet", "mit_b0"), ("fpn", "efficientnet-b0"),
        ("deeplabv3plus", "mobilenet_v2"), ("segformer", "mit_b1"), ("upernet", "tu-convnext_tiny"), ("unetplusplus", "timm-skresnet18"),
        ("linknet", "densenet121"), ("pspnet", "tu-resnet18"), ("dpt", "tu-vit_small_patch16_dinov3"), ("unet", "tu-maxvit_tiny_tf_224")]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def smp():
    import segmentation_models_pytorch
    return segmentation_models_pytorch


def encoder_for(architecture):
    return VIT if architecture == "dpt" else "resnet18"


def original(smp, architecture, encoder, classes=1, **options):
    torch.manual_seed(1)
    extra = {"dynamic_img_size": True} if architecture == "dpt" else {}
    return getattr(smp, ARCHITECTURES[architecture])(encoder, encoder_weights=None, classes=classes, **extra, **options)


def small(**options):
    return models.create("unet", options.pop("classes", 1), **{"architecture": "unet", "encoder": "resnet18", **options})


def step(network, batch=1):
    network.train()
    mask = torch.zeros(97, 130, dtype=torch.uint8)
    mask[20:40, 30:60] = 1
    terms = network.loss(torch.randn(batch, 3, 97, 130), [{"mask": mask}] * batch)
    sum(terms.values()).backward()
    return terms


# ---- every architecture

@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_trains_on_one_image_agrees_with_the_original_and_is_recognised_by_its_tensors(architecture, smp, tmp_path):
    encoder = encoder_for(architecture)
    theirs = original(smp, architecture, encoder).eval()
    torch.save(theirs.state_dict(), tmp_path / "best.pth")
    options = infer(torch.load(tmp_path / "best.pth"))
    assert options == {"num_classes": 1, "architecture": architecture, "encoder": encoder}
    ours = models.create("unet", **options)
    coverage = load_into(ours, tmp_path / "best.pth")
    assert coverage.complete
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.eval()
    with torch.inference_mode():
        images = torch.randn(1, 3, 128, 160) if architecture == "pan" else torch.randn(1, 3, 64, 96)
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-4)
        assert ours(torch.randn(1, 3, 97, 130)).shape == (1, 1, 97, 130)
    terms = step(ours)
    assert all(term.isfinite() for term in terms.values())
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in ours.segmentation_head.parameters())
    assert any(weight.grad is not None and weight.grad.abs().max() > 0 for weight in ours.encoder.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "encoder"), SLOW)
def test_other_encoders_train_predict_at_odd_sizes_and_are_recognised(architecture, encoder):
    network = models.create("unet", 3, architecture=architecture, encoder=encoder)
    assert infer(network.state_dict()) == {"num_classes": 3, "architecture": architecture, "encoder": encoder}
    assert all(term.isfinite() for term in step(network, 2).values())
    with torch.inference_mode():
        for size in ((97, 130), (33, 250)):
            assert network.eval()(torch.randn(1, 3, *size)).shape == (1, 3, *size)


# ---- building

def test_the_default_network_is_that_of_the_tutorial():
    spec = models.models.get("unet")
    network = models.create("unet", 4)
    assert network.architecture == "unetplusplus"
    assert count_parameters(network) / 1e6 == pytest.approx(spec.parameters, abs=6e-4)
    assert count_parameters(network) - 3 * (16 * 9 + 1) == 26_078_609
    assert (spec.learning_rate, spec.weight_decay, spec.image_size) == (1e-4, 1e-2, 256)


def test_listing_the_models_loads_neither_torch_nor_smp():
    code = """import sys
from engine.models import models
assert "unet" in models.names()
sys.exit(any(name in sys.modules for name in ("torch", "timm", "segmentation_models_pytorch")))"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ["UnetPlusPlus", "unet++", "UNet-PlusPlus", " unetplusplus "])
def test_architectures_go_by_their_official_spellings_too(name):
    assert small(architecture=name).architecture == "unetplusplus"


@pytest.mark.parametrize(("options", "key", "hint"), [
    ({"architecture": "unett"}, "unet_architecture", "unetplusplus"), ({"encoder": "resnet35"}, "unet_encoder", "resnet34"),
    ({"encoder": "convnext_tiny"}, "unet_encoder", "tu-convnext_tiny"), ({"encoder": "tu-hf-hub:someone/model"}, "unet_encoder", "tu-"),
    ({"architecture": "unetplusplus", "encoder": "mit_b0"}, "unet_combination", "mit_b0"),
    ({"architecture": "dpt"}, "unet_combination", "tu-vit"), ({"encoder": VIT}, "unet_combination", "resnet34"),
    ({"architecture": "dpt", "encoder": "tu-vit_small_patch14_dinov2"}, "unet_combination", "14"),
    ({"mode": "soft"}, "unet_mode", "multilabel"), ({"mode": "binary", "classes": 3}, "unet_mode_classes", "auto"),
    ({"mode": "multiclass", "classes": 1}, "unet_mode_classes", "auto"),
])
def test_what_cannot_be_built_is_refused_with_a_hint(options, key, hint):
    with pytest.raises(UserError) as caught:
        small(**options)
    assert caught.value.key == key
    assert hint in str(caught.value)


@pytest.mark.parametrize(("classes", "mode", "channels", "used"), [
    (1, "auto", 1, "binary"), (3, "auto", 3, "multiclass"), (2, "binary", 1, "binary"), (1, "multilabel", 1, "multilabel"),
    (3, "multilabel", 3, "multilabel"),
])
def test_the_mode_decides_how_many_channels_there_are(classes, mode, channels, used):
    network = small(classes=classes, mode=mode)
    assert network.mode == used
    assert network.segmentation_head[0].out_channels == channels


# ---- prediction and training

@pytest.mark.parametrize("size", [(1, 1), (20, 300), (64, 64)])
@pytest.mark.parametrize("architecture", ["unet", "pan"])
def test_logits_have_the_size_of_the_image(architecture, size):
    with torch.inference_mode():
        assert small(architecture=architecture, classes=2).eval()(torch.randn(2, 3, *size)).shape == (2, 2, *size)


def test_padding_does_not_shift_the_picture():
    network = small().eval()
    image = torch.randn(1, 3, 128, 128)
    image[..., 97:, :] = image[..., 65:96, :].flip(2)
    with torch.inference_mode():
        torch.testing.assert_close(network(image[..., :97, :]), network(image)[..., :97, :], rtol=1e-4, atol=1e-4)


def test_the_settings_of_the_loss_are_obeyed():
    network = small(classes=3)
    network.configure(TrainConfig(loss="focal_tversky"), None)
    assert list(step(network)) == ["loss_focal_tversky"]
    assert not [name for name in network.state_dict() if name.startswith("criterion")]


def test_a_network_learns_one_picture():
    torch.manual_seed(0)
    network = small().train()
    image, mask = torch.randn(2, 3, 64, 64) * 0.1, torch.zeros(64, 64, dtype=torch.uint8)
    mask[16:48, 16:48] = 1
    image[:, :, 16:48, 16:48] += 1
    optimiser = torch.optim.AdamW(network.parameter_groups(1e-3, 1e-3, 1e-2))
    costs = []
    for _ in range(12):
        optimiser.zero_grad()
        cost = sum(network.loss(image, [{"mask": mask}] * 2).values())
        cost.backward()
        optimiser.step()
        costs.append(cost.item())
    assert costs[-1] < costs[0] / 2


def test_the_encoder_is_the_backbone_and_norms_do_not_decay():
    groups = {group["name"]: group for group in small().parameter_groups(1.0, 0.5, 0.1)}
    assert {name: (group["lr"], group["weight_decay"]) for name, group in groups.items()} == {
        "backbone": (0.5, 0.1), "backbone_no_decay": (0.5, 0), "head": (1.0, 0.1), "head_no_decay": (1.0, 0)}
    network = small()
    encoder = sum(weight.numel() for weight in network.encoder.parameters())
    sizes = {name: sum(weight.numel() for weight in group["params"]) for name, group in groups.items()}
    assert (sizes["backbone"] + sizes["backbone_no_decay"], sum(sizes.values())) == (encoder, count_parameters(network))


# ---- weights of others

@pytest.mark.parametrize("prefix", ["", "encoder.", "model.encoder."])
def test_a_bare_encoder_goes_into_the_encoder(prefix, smp, tmp_path):
    state = smp.encoders.get_encoder("resnet18", weights=None).state_dict()
    torch.save({prefix + name: value for name, value in state.items()}, tmp_path / "encoder.pth")
    network = small()
    coverage = load_into(network, tmp_path / "encoder.pth")
    assert not coverage.unexpected
    assert all(not name.startswith("encoder.") for name in coverage.missing)
    assert torch.equal(network.encoder.conv1.weight, state["conv1.weight"])


def test_weights_of_timm_go_into_a_timm_encoder(tmp_path):
    import timm
    state = timm.create_model("convnext_atto").state_dict()
    torch.save(state, tmp_path / "timm.pth")
    network = small(encoder="tu-convnext_atto")
    coverage = load_into(network, tmp_path / "timm.pth")
    assert all(name.startswith("head.") for name in coverage.unexpected)
    assert all(not name.startswith("encoder.") for name in coverage.missing)


def test_another_number_of_classes_keeps_all_but_the_head(smp, tmp_path):
    torch.save(original(smp, "unet", "resnet18", 5).state_dict(), tmp_path / "five.pth")
    coverage = load_into(small(), tmp_path / "five.pth")
    assert coverage.complete
    assert coverage.reshaped == ("segmentation_head.0.weight", "segmentation_head.0.bias")


def test_a_lightning_module_is_recognised_too(smp):
    state = {f"model.{name}": value for name, value in original(smp, "fpn", "mobilenet_v2", 7).state_dict().items()}
    assert infer({**state, "mean": torch.zeros(1, 3, 1, 1)}) == {"num_classes": 7, "architecture": "fpn", "encoder": "mobilenet_v2"}


@pytest.mark.parametrize("change", ["other network", "other width", "four channels"])
def test_what_is_not_recognised_asks_for_architecture_and_encoder(change, smp):
    if change == "other network":
        state = {"conv.weight": torch.zeros(4, 3, 3, 3), "segmentation_head.0.bias": torch.zeros(1)}
    elif change == "other width":
        state = original(smp, "unet", "resnet18", decoder_channels=(128, 64, 32, 16, 8)).state_dict()
    else:
        state = original(smp, "unet", "resnet18", in_channels=4).state_dict()
    with pytest.raises(UserError) as caught:
        infer(state)
    assert caught.value.key == ("unet_channels" if change == "four channels" else "unet_not_recognised")
    if change != "four channels":
        assert "encoder" in caught.value.remedy("en")
