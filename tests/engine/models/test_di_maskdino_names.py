"""DI-MaskDINO: the options, and the names that others give to its tensors."""

import json

import pytest
import timm
import torch

from engine.models import OtherModel, create, models
from engine.models.di_maskdino.config import Config, ConvNeXtSizes
from engine.models.di_maskdino.keys import LOAD_MAP, infer
from engine.types import UserError
from engine.weights import backbone_weights

SIZES = {"depths": [1, 1, 1, 1], "dims": [8, 16, 24, 32]}
SMALL = {"backbone": SIZES, "hidden_dim": 32, "encoder_layers": 1, "encoder_ffn": 32, "decoder_layers": 2, "decoder_ffn": 32, "queries": 12,
         "first_selected": 20}


def small(**options):
    return create("di_maskdino", 4, **{**SMALL, **options})


def test_the_sizes_of_a_convnext_may_come_as_text():
    sizes = ConvNeXtSizes((1, 1, 1, 1), (8, 16, 24, 32))
    assert {Config.of({"backbone": given}).backbone for given in (SIZES, json.dumps(SIZES), str(SIZES))} == {sizes}


@pytest.mark.parametrize(("options", "words"), [
    ({"hidden_dim": 48}, "multiple of 32"), ({"queries": 100, "first_selected": 50}, "first_selected = 50 is less than queries = 100"),
    ({"backbone": "no_such_net"}, "no_such_net"), ({"query": 3}, "no setting called query"), ({"decoder_layers": 0}, "decoder_layers = 0"),
    ({"backbone": {"depths": [1, 1, 1], "dims": [8, 16, 24]}}, "not the sizes of a ConvNeXt"), ({"backbone": "{'depths': 3}"}, "ConvNeXt"),
    ({"backbone": '{"depths": [3, 3, 9, "x"], "dims": [1, 2, 3, 4]}'}, "ConvNeXt"),
])
def test_options_that_cannot_be_are_refused(options, words):
    with pytest.raises(UserError, match=words):
        create("di_maskdino", 4, **options)
    with pytest.raises(UserError, match=words):
        models.get("di_maskdino").check(options)


def official_resnet(depths):
    """The names of Detectron2's ResNet beside timm's."""
    parts = ("weight", "bias", "running_mean", "running_var")
    pairs = {"stem.conv1.weight": "conv1.weight", **{f"stem.conv1.norm.{part}": f"bn1.{part}" for part in parts}}
    for stage, depth in enumerate(depths):
        for block in range(depth):
            theirs, ours = f"res{stage + 2}.{block}", f"layer{stage + 1}.{block}"
            for number in (1, 2, 3):
                pairs[f"{theirs}.conv{number}.weight"] = f"{ours}.conv{number}.weight"
                pairs.update({f"{theirs}.conv{number}.norm.{part}": f"{ours}.bn{number}.{part}" for part in parts})
            if block == 0:
                pairs[f"{theirs}.shortcut.weight"] = f"{ours}.downsample.0.weight"
                pairs.update({f"{theirs}.shortcut.norm.{part}": f"{ours}.downsample.1.{part}" for part in parts})
    return pairs


def test_an_official_resnet_fills_the_backbone():
    pairs = official_resnet((3, 4, 6, 3))
    assert {LOAD_MAP.rename(f"backbone.{theirs}") for theirs in pairs} == {f"backbone.model.{ours}" for ours in pairs.values()}
    with torch.device("meta"):
        own = create("di_maskdino_r50", 4).backbone.state_dict()
    assert {f"model.{ours}" for ours in pairs.values()} == {name for name in own if not name.endswith("num_batches_tracked")}


def test_timms_own_names_of_a_convnext_fill_the_backbone():
    with torch.device("meta"):
        whole, own = timm.create_model("convnext_tiny").state_dict(), create("di_maskdino", 4).backbone.model.state_dict()
    assert {LOAD_MAP.rename(f"backbone.{name}") for name in whole if not name.startswith("head.")} == {f"backbone.model.{name}" for name in own}


@pytest.mark.parametrize("backbone", ["convnext_atto", "convnext_tiny", "convnext_small", "resnet50", "resnet101", "swin_tiny", "swin_base"])
def test_the_name_of_a_backbone_is_told_from_its_tensors(backbone):
    with torch.device("meta"):
        network = create("di_maskdino", 6, **{**SMALL, "backbone": backbone})
    found = infer(network.state_dict(), {})
    traces = ("hidden_dim", "encoder_layers", "encoder_ffn", "decoder_layers", "decoder_ffn")
    assert found == {"num_classes": 6, "backbone": backbone, "di_layers": 2, **{name: SMALL[name] for name in traces}}


def test_what_a_person_tells_is_believed_and_other_networks_are_not_claimed():
    network = small()
    state = {name: value for name, value in network.state_dict().items() if not name.startswith("backbone.")}
    assert infer(state, {"backbone": "resnet50"})["backbone"] == "resnet50"
    with pytest.raises(UserError, match="backbone") as raised:
        infer(state, {})
    assert not isinstance(raised.value, OtherModel)
    with pytest.raises(OtherModel):
        infer({"conv1.weight": torch.zeros(1)}, {})


def test_pretrained_backbones_have_a_place_on_the_hub():
    with torch.device("meta"):
        network = create("di_maskdino", 4)
    part, repository, file = network.published_backbone()
    assert part is network.backbone.model
    assert (repository.startswith("timm/convnext_tiny"), file) == (True, "model.safetensors")
    assert network.normalisation() == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert small().published_backbone() is None


def official_convnext(depths):
    """The names in the files of ConvNeXt's authors beside those of timm's network of features."""
    both = ("weight", "bias")
    pairs = {f"downsample_layers.0.{part}.{kind}": f"stem_{part}.{kind}" for part in range(2) for kind in both}
    for stage, depth in enumerate(depths):
        if stage:
            theirs, ours = f"downsample_layers.{stage}", f"stages_{stage}.downsample"
            pairs.update({f"{theirs}.{part}.{kind}": f"{ours}.{part}.{kind}" for part in range(2) for kind in both})
        for block in range(depth):
            theirs, ours = f"stages.{stage}.{block}", f"stages_{stage}.blocks.{block}"
            pairs[f"{theirs}.gamma"] = f"{ours}.gamma"
            for one, other in (("dwconv", "conv_dw"), ("norm", "norm"), ("pwconv1", "mlp.fc1"), ("pwconv2", "mlp.fc2")):
                pairs.update({f"{theirs}.{one}.{kind}": f"{ours}.{other}.{kind}" for kind in both})
    return pairs


@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_a_backbone_of_its_authors_fills_ours(tmp_path, prefix):
    network, names = small(backbone="convnext_atto"), official_convnext((2, 2, 6, 2))
    own = network.backbone.model.state_dict()
    assert set(names.values()) == set(own)
    state = {prefix + theirs: torch.randn_like(own[ours]) for theirs, ours in names.items()}
    torch.save({"model": {**state, "norm.weight": torch.randn(320), "head.weight": torch.randn(1000, 320)}}, tmp_path / "convnext.pth")
    coverage = backbone_weights(network, str(tmp_path / "convnext.pth"))
    assert (len(coverage.matched), coverage.missing, coverage.in_order) == (len(own), (), False)
    assert all(torch.equal(network.backbone.model.state_dict()[ours], state[prefix + theirs]) for theirs, ours in names.items())
    assert {LOAD_MAP.rename(f"backbone.{theirs}") for theirs in names} == {f"backbone.model.{ours}" for ours in names.values()}


def test_masks_tied_to_boxes_are_told_from_the_tensors():
    state = small(located_masks=True).state_dict()
    assert infer(state, {"backbone": SIZES})["located_masks"] is True
    assert "located_masks" not in infer(small().state_dict(), {"backbone": SIZES})
