"""Backbones as pyramids of four maps."""

import pytest
import torch

from engine.models.backbones import TimmPyramid, hub_file, published_names
from engine.types import UserError

FAST = ("convnext_atto", "swin_tiny", "efficientnetv2_s", "mobilenetv3_small_100", "vit_tiny_patch16_224", "vit_small_patch14_dinov2")
MORE = ("densenet121", "swinv2_tiny_window8_256", "maxvit_tiny_tf_224", "beit_base_patch16_224", "vit_small_patch16_dinov3", "regnety_002",
        "convnext_tiny.dinov3_lvd1689m", "mambaout_femto", "pvt_v2_b0", "hrnet_w18", "eva02_tiny_patch14_224", "mixer_b16_224")


@pytest.mark.parametrize("name", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE)])
def test_four_maps_come_out_channels_first_at_their_strides(name):
    torch.manual_seed(0)
    backbone = TimmPyramid(name).eval()
    for height, width in ((64, 64), (96, 64)):
        with torch.no_grad():
            maps = backbone(torch.randn(1, 3, height, width))
        assert [each.shape[1] for each in maps] == backbone.channels
        sizes = [each.shape[-2] for each in maps]
        assert sizes == sorted(sizes, reverse=True)
        if not backbone.fixed_size and backbone.patch in (1, 2, 4, 16):
            assert [tuple(each.shape[-2:]) for each in maps] == [(height // s, width // s) for s in backbone.strides]


def test_swin_at_its_own_size_is_what_timm_gives():
    import timm

    torch.manual_seed(1)
    backbone = TimmPyramid("swin_tiny").eval()
    plain = timm.create_model("swin_tiny_patch4_window7_224", features_only=True, out_indices=(0, 1, 2, 3)).eval()
    plain.load_state_dict(backbone.model.state_dict())
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        pairs = list(zip(backbone(images), plain(images), strict=True))
    assert all(torch.equal(ours, theirs.permute(0, 3, 1, 2)) for ours, theirs in pairs)


@pytest.mark.parametrize("name", ["convnext_tinny", "convnext_tiny.no_such_tag", ""])
def test_an_unknown_name_is_refused_with_the_known_ones(name):
    with pytest.raises(UserError) as caught:
        TimmPyramid(name)
    assert caught.value.key == "unknown_backbone"
    assert "swin_tiny" in str(caught.value)


def test_a_network_of_three_levels_is_refused():
    with pytest.raises(UserError) as caught:
        TimmPyramid("levit_128")
    assert caught.value.key == "backbone_levels"


def test_the_hub_file_is_that_of_the_model_or_of_the_tag():
    assert hub_file("swin_tiny") == ("timm/swin_tiny_patch4_window7_224.ms_in1k", "model.safetensors")
    assert hub_file("convnext_tiny.dinov3_lvd1689m")[0].endswith("convnext_tiny.dinov3_lvd1689m")


@pytest.mark.parametrize(("own", "published"), [
    ("stages_0.blocks.0.gamma", "stages.0.blocks.0.gamma"), ("stem_0.weight", "stem.0.weight"),
    ("model.blocks.1.norm1.weight", "blocks.1.norm1.weight"), ("layers_1.downsample.norm.weight", "layers.1.downsample.norm.weight"),
    ("conv1.0.weight", "conv1.weight"), ("conv1.1.bias", "bn1.bias"), ("patch_embed.proj.weight", "patch_embed.proj.weight"),
    ("features_denseblock1.denselayer1.norm1.bias", "features.denseblock1.denselayer1.norm1.bias"),
])
def test_the_name_in_the_whole_model_is_among_those_tried(own, published):
    assert published in published_names(own)
