"""The official outputs, from the official checkpoints, found without being told what they are."""

import json
import lzma

import pytest
import torch

from engine.models import create, models
from engine.types import UserError
from engine.weights import load_into, options_of, safe_load

PACKS = {"resnet34_small": "hybridmednet", "swin_tiny_FIXED_modern": "hybridmednet", "vim_tiny_official": "vim_tiny"}


@pytest.fixture(scope="module")
def unpacked(reference, tmp_path_factory):
    """(checkpoint, inputs and outputs, official names or None, official configuration or None) of a pack."""
    folder = tmp_path_factory.mktemp("packs")

    def open_pack(name):
        pack = reference / "parity" / "hybridmednet" / name
        file = folder / f"{name}.pth"
        if not file.exists():
            file.write_bytes(lzma.decompress(next(pack.glob("*.pth.xz")).read_bytes()))
        meta = pack / "meta.json"
        return (file, torch.load(pack / "io.pt", weights_only=True), [line.split(" ")[0] for line in (pack / "keys.txt").read_text().splitlines()],
                json.loads(meta.read_text())["model_config"] if meta.exists() else {"num_classes": 14})

    return open_pack


@pytest.mark.parametrize("pack", PACKS)
def test_official_checkpoints_give_the_official_outputs(unpacked, pack):
    file, seen, names, settings = unpacked(pack)
    options = options_of(safe_load(file), models.get(PACKS[pack]), file)
    network = create(PACKS[pack], **options).eval()
    coverage = load_into(network, file)
    assert coverage.complete
    assert not coverage.reshaped
    assert sorted(names) == sorted(name.removeprefix("module.") for name in network.state_dict())
    with torch.no_grad():
        found = network(seen["input"].float())
    assert (found - seen["output"]).abs().max() <= 1e-4
    assert {name: settings[name] for name in options if name in settings} == {name: options[name] for name in options if name in settings}


def test_names_stand_in_the_official_order(unpacked):
    _, _, names, settings = unpacked("resnet34_small")
    wanted = {name: value for name, value in settings.items() if name not in ("name", "input_size", "pretrained")}
    assert list(create("hybridmednet", **wanted).state_dict()) == names


def test_a_vision_mamba_is_not_taken_for_another_size_or_for_hybridmednet(unpacked):
    file = unpacked("vim_tiny_official")[0]
    for model in ("vim_small", "hybridmednet"):
        with pytest.raises(UserError):
            options_of(safe_load(file), models.get(model), file)


def test_another_number_of_classes_takes_no_head_of_the_checkpoint(unpacked):
    file, _, _, settings = unpacked("resnet34_small")
    network = create("hybridmednet", 3, backbone="resnet34", fpn_channels=64, fusion_channels=128)
    before = network.state_dict()["classifier.classifiers.0.0.weight"].clone()
    coverage = load_into(network, file)
    assert coverage.complete
    assert set(coverage.reshaped) == {name for name in network.state_dict() if name.startswith("classifier.classifiers.")}
    assert torch.equal(network.state_dict()["classifier.classifiers.0.0.weight"], before)
    assert settings["num_classes"] == 14
