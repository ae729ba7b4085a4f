"""Files that hold only a backbone of DEIMv2, under the names of everybody who publishes them: the features are those of their own networks."""

import pytest
import timm
import torch
from transformers import DINOv3ViTConfig, DINOv3ViTModel

from engine.messages import LANGUAGES
from engine.models import create, models
from engine.models.deimv2.config import CONFIGS, ViT
from engine.models.deimv2.vit import VisionTransformer
from engine.models.deimv2.vit_keys import fitted
from engine.opening import start_weights
from engine.types import UserError
from engine.weights_mending.verifying import verify

SMALL = ViT(384, 32, dinov3=True, blocks=3)
PLUS = ViT(384, 32, dinov3=True, gated=True, blocks=3)
TAPS = (0, 1, 2)


def shaken(network):
    """Every weight away from where it began, so that no layer stands still."""
    torch.manual_seed(3)
    with torch.no_grad():
        for name, value in network.named_parameters():
            value += (0.3 if "gamma" in name or "lambda" in name else 0.05) * torch.randn_like(value)
    return network.eval()


def ours(state, vit):
    """Features of our transformer from somebody's tensors, and the names that found no place."""
    network = VisionTransformer(vit, TAPS).eval()
    found, unused = fitted(state, network.state_dict())
    rest = network.load_state_dict(found, strict=False)
    assert not rest.unexpected_keys and set(rest.missing_keys) <= {"mask_token", "rope_embed.periods"}
    return network, unused


IMAGES = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("name", "vit"), [
    ("vit_small_patch16_dinov3", SMALL), ("vit_small_patch16_dinov3_qkvb", SMALL),
    ("vit_small_plus_patch16_dinov3", PLUS), ("vit_small_plus_patch16_dinov3_qkvb", PLUS),
])
def test_the_files_of_timm_give_the_features_of_timm(name, vit):
    other = shaken(timm.create_model(name, num_classes=10, dynamic_img_size=True, depth=3))
    network, unused = ours(other.state_dict(), vit)
    assert all(each.startswith(("head.", "fc_norm.")) for each in unused)
    with torch.no_grad():
        theirs = other.forward_intermediates(IMAGES, indices=list(TAPS), norm=True, intermediates_only=True)
        for mine, expected in zip(network(IMAGES), theirs, strict=True):
            assert (mine - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("key_bias", [False, True])
@pytest.mark.parametrize("vit", [SMALL, PLUS], ids=["plain", "gated"])
def test_the_files_of_transformers_give_the_features_of_transformers(vit, key_bias):
    config = DINOv3ViTConfig(hidden_size=384, num_attention_heads=6, num_hidden_layers=3, intermediate_size=1536, num_register_tokens=4,
                             use_gated_mlp=vit.gated, hidden_act="silu" if vit.gated else "gelu", key_bias=key_bias)
    other = shaken(DINOv3ViTModel(config))
    state = {name.removeprefix("model."): value for name, value in other.state_dict().items()}
    for tensors in (state, {f"model.{name}": value for name, value in state.items()}, other.state_dict()):
        network, unused = ours(tensors, vit)
        assert unused == []
    assert network.mask_token.shape == (1, 384)
    with torch.no_grad():
        last = other(pixel_values=IMAGES).last_hidden_state[:, 5:].mT.unflatten(2, (4, 6))
        assert (network(IMAGES)[-1] - last).abs().max() < 1e-5 * last.abs().max()


@pytest.mark.parametrize("mask", ["as published", "never filled"])
def test_the_files_of_the_authors_of_dinov3_fit_as_they_are(mask):
    other = shaken(VisionTransformer(PLUS, TAPS))
    state = {f"teacher.backbone.{name}": value.clone() for name, value in other.state_dict().items()}
    state |= {"teacher.backbone.local_cls_norm.weight": torch.ones(384)}
    if mask == "never filled":
        state |= {name: torch.full_like(value, torch.nan) for name, value in state.items() if name.endswith("bias_mask")}
    network, unused = ours(state, PLUS)
    assert unused == ["teacher.backbone.local_cls_norm.weight"]
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in network.state_dict().items())


def test_two_layers_of_a_gate_in_one_are_parted():
    other = shaken(VisionTransformer(PLUS, TAPS))
    state = dict(other.state_dict())
    for name in [each for each in state if ".w1." in each]:
        state[name.replace("w1", "w12")] = torch.cat([state.pop(name), state.pop(name.replace("w1", "w2"))])
    network, unused = ours(state, PLUS)
    assert unused == [] and all(torch.equal(value, other.state_dict()[name]) for name, value in network.state_dict().items())


# ---- as the weights that a run starts from


def started(name, tensors, tmp_path):
    torch.save(tensors, tmp_path / "some.pth")
    network = create(name, 4)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    coverage, source = start_weights(network, models.get(name), str(tmp_path / "some.pth"))
    changed = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    return network.state_dict(), coverage, source, changed


def test_the_distilled_transformer_fills_the_backbone_of_a_small_model(tmp_path):
    donor = create("deimv2_s", 4).state_dict()
    inner = {name.removeprefix("backbone.dinov3._model."): value + 1 for name, value in donor.items() if name.startswith("backbone.dinov3.")}
    for prefix in ("", "_model.", "backbone.dinov3._model."):
        state, coverage, source, changed = started("deimv2_s", {prefix + name: value for name, value in inner.items()}, tmp_path)
        assert coverage.part == "backbone" and not coverage.missing and not coverage.ignored and source.endswith("some.pth")
        assert changed and all(name.startswith("backbone.dinov3.") for name in changed)
        assert all(torch.equal(state[f"backbone.dinov3._model.{name}"], value) for name, value in inner.items())


def test_a_bias_that_a_mask_hides_stays_hidden_in_a_transformer_without_masks():
    network = VisionTransformer(ViT(192, 16, blocks=3), TAPS)
    state = {name: value + 1 for name, value in network.state_dict().items()}
    mask = torch.ones(3, 192).index_fill_(0, torch.tensor(1), 0).flatten()
    found, _ = fitted({**state, **{f"blocks.{i}.attn.qkv.bias_mask": mask for i in range(3)}}, network.state_dict())
    assert torch.equal(found["blocks.2.attn.qkv.bias"], state["blocks.2.attn.qkv.bias"] * mask)


@pytest.mark.parametrize("size", ["atto", "femto", "pico", "n"])
def test_the_published_convolutions_fill_as_much_of_the_small_sizes_as_fits(size, tmp_path):
    torch.manual_seed(0)
    published = timm.create_model("hgnetv2_b0").state_dict()
    published = {name: value + 1 if value.is_floating_point() else value for name, value in published.items()}
    state, coverage, _, changed = started(f"deimv2_{size}", published, tmp_path)
    assert coverage.part == "backbone" and all(name.startswith("backbone.") for name in changed)
    assert bool(coverage.missing) == (size == "atto")
    assert all(torch.equal(state[name], published[name.removeprefix("backbone.")]) for name in coverage.matched)
    assert {"head.fc.weight", "head.fc.bias"} <= set(coverage.ignored)
    assert any(name.startswith("stages.3.") for name in coverage.ignored) == (size != "n")
    again, *_ = started(f"deimv2_{size}", {name.replace("stages.", "stages_"): value for name, value in published.items()}, tmp_path)
    assert all(torch.equal(again[name], state[name]) for name in coverage.matched)


def test_a_backbone_can_be_verified_by_itself(tmp_path):
    torch.save(timm.create_model("hgnetv2_b0").state_dict(), tmp_path / "b0.pth")
    proof = verify(tmp_path / "b0.pth", "deimv2_n", {}, backbone=True)
    assert proof.holds and proof.part == "backbone" and proof.total == 270


def keyed(name, network):
    with pytest.raises(UserError) as caught:
        start_weights(create(name, 4), models.get(name), network)
    assert all(caught.value.message(language) and caught.value.remedy(language) for language in LANGUAGES)
    return caught.value.key


def test_a_transformer_of_another_size_or_kind_is_refused(tmp_path):
    file = str(tmp_path / "a.pth")
    gated, plain = VisionTransformer(PLUS, TAPS).state_dict(), VisionTransformer(SMALL, TAPS).state_dict()
    torch.save(gated, file)  # three blocks of twelve, with gates where there are none
    assert keyed("deimv2_l", file) == "weights_other_sizes"
    torch.save({**plain, "pos_embed": torch.zeros(1, 197, 384)}, file)
    assert keyed("deimv2_l", file).startswith("weights_")
    torch.save(VisionTransformer(ViT(192, 16, dinov3=True), TAPS).state_dict(), file)
    assert keyed("deimv2_s", file).startswith("weights_")
    torch.save(timm.create_model("resnet18").state_dict(), file)
    assert keyed("deimv2_n", file) == "weights_foreign"


def test_whole_networks_are_not_taken_for_backbones():
    for config in CONFIGS[:5]:
        with torch.device("meta"):
            network, others = create(config.name, 4), [create(each.name, 2).state_dict() for each in CONFIGS[:5]]
        assert all(network.backbone_file(each) is None for each in others)
