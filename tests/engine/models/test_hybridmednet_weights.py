"""Checkpoints of the official trainer, and pretrained weights for the backbone: nothing is executed, nothing is passed over in silence."""

import io
import pickle
import time
import zipfile

import pytest
import timm
import torch
from safetensors.torch import save_file

from engine.models import create
from engine.types import UserError
from engine.weights import backbone_weights, load_into, safe_load, state_dict_of

GLOBAL = b"cconfigs.default_config\nConfig\n"
SMALL = {"fusion_channels": 16, "fpn_channels": 16, "use_cross_scale_attention": False}


def rewritten(file, old, new):
    """The same checkpoint with other instructions in its pickle."""
    content = {}
    with zipfile.ZipFile(file) as archive:
        content = {each: archive.read(each) for each in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data.replace(old, new) if name.endswith("data.pkl") else data)
    return file


@pytest.fixture
def official(tmp_path):
    """As the official trainer writes it: the settings are a pickled object of its own class, without content."""
    network = create("hybridmednet", 2, backbone="resnet18", **SMALL)
    file = tmp_path / "best_model.pth"
    torch.save({"epoch": 3, "model_state_dict": network.state_dict(), "optimizer_state_dict": {}, "val_auc": 0.8, "config": "SETTINGS"}, file)
    return rewritten(file, b"X\x08\x00\x00\x00SETTINGS", GLOBAL + b")\x81"), network


def test_a_checkpoint_with_the_trainers_empty_settings_opens(official):
    file, network = official
    with pytest.raises(pickle.UnpicklingError, match="configs"), torch.serialization.safe_globals([]):
        torch.serialization.clear_safe_globals()
        torch.load(file, weights_only=True)
    state = state_dict_of(safe_load(file), file)
    assert {name: value.shape for name, value in state.items()} == {name: value.shape for name, value in network.state_dict().items()}
    other = create("hybridmednet", 2, backbone="resnet18", **SMALL)
    assert load_into(other, file).complete


@pytest.mark.parametrize("instruction", [
    b"cconfigs.default_config\nRunner\n)\x81", b"cposix\nsystem\n)\x81", b"cconfigs.other\nConfig\n)\x81", b"cbuiltins\neval\n(X\x01\x00\x00\x001tR",
])
def test_any_other_object_in_it_is_refused(official, instruction):
    file = rewritten(official[0], GLOBAL + b")\x81", instruction)
    with pytest.raises(UserError) as caught:
        safe_load(file)
    assert caught.value.key == "weights_unsafe"


def test_settings_with_content_or_arguments_bring_nothing_in(official):
    filled = GLOBAL + b")\x81}X\x01\x00\x00\x00aK\x01sb"
    content = safe_load(rewritten(official[0], GLOBAL + b")\x81", filled))
    assert not hasattr(content["config"], "a")


def test_the_same_file_as_a_bare_pickle_is_refused(tmp_path):
    buffer = io.BytesIO()
    pickle.Pickler(buffer, protocol=2).dump({"model": 1})
    (tmp_path / "bare.pth").write_bytes(b"\x80\x02" + GLOBAL + b")\x81.")
    with pytest.raises(UserError):
        state_dict_of(safe_load(tmp_path / "bare.pth"), tmp_path / "bare.pth")


def pretrained(name, file, rename=str):
    torch.manual_seed(11)
    whole = timm.create_model(name)
    save_file({rename(key): value.contiguous() for key, value in whole.state_dict().items()}, file)
    return whole


@pytest.mark.parametrize(("backbone", "model"), [("resnet18", "resnet18"), ("convnext_atto", "convnext_atto"), ("vit_tiny_patch16_224",) * 2,
                                                 ("mobilenetv3_small_100",) * 2, ("swin_tiny", "swin_tiny_patch4_window7_224"), ("densenet121",) * 2])
def test_weights_of_the_whole_model_fill_the_backbone_by_name(backbone, model, tmp_path):
    file = tmp_path / "model.safetensors"
    whole = pretrained(model, file)
    network = create("hybridmednet", 2, backbone=backbone, **SMALL)
    coverage = backbone_weights(network, str(file))
    assert coverage.complete
    assert not coverage.in_order
    classic = backbone == "resnet18"
    filled = network.feature_extractor.backbone if classic else network.feature_extractor.backbone.model
    numbers = {float(value.double().sum()) for value in whole.state_dict().values()}
    assert all(float(value.double().sum()) in numbers for name, value in filled.state_dict().items() if value.is_floating_point())


def test_a_file_with_other_names_fits_in_order_and_says_so(tmp_path):
    file = tmp_path / "other.pth"
    whole = timm.create_model("mobilenetv2_100")
    torch.save({f"layer{i}": value for i, (name, value) in enumerate(whole.state_dict().items()) if "num_batches" not in name}, file)
    network = create("hybridmednet", 2, backbone="mobilenetv2_100", **SMALL)
    coverage = backbone_weights(network, str(file))
    assert coverage.complete
    assert coverage.in_order
    assert torch.equal(network.feature_extractor.backbone.model.conv_stem.weight, whole.conv_stem.weight)
    assert torch.equal(network.feature_extractor.backbone.model.blocks[6][0].bn3.bias, whole.blocks[6][0].bn3.bias)


def test_a_file_of_another_backbone_is_refused(tmp_path):
    file = tmp_path / "model.safetensors"
    pretrained("resnet18", file)
    network = create("hybridmednet", 2, backbone="convnext_atto", **SMALL)
    with pytest.raises(UserError) as caught:
        backbone_weights(network, str(file))
    assert caught.value.key == "weights_foreign"


def test_nothing_is_downloaded_unless_asked_for(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("engine.weights.fetch", lambda *arguments: pytest.fail("a download was started"))
    network = create("hybridmednet", 2, backbone="resnet18", **SMALL)
    assert backbone_weights(network, "auto") is None
    assert backbone_weights(network, "none") is None
    assert backbone_weights(torch.nn.Linear(1, 1), "auto") is None
    with pytest.raises(UserError):
        backbone_weights(torch.nn.Linear(1, 1), "download")


def test_weights_in_the_cache_are_taken_without_asking(monkeypatch, tmp_path):
    file = tmp_path / "model.safetensors"
    pretrained("resnet18", file)
    asked = []
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *place: asked.append(place) or str(file))
    assert backbone_weights(create("hybridmednet", 2, backbone="resnet18", **SMALL), "auto").complete
    assert asked[0][0].startswith("timm/resnet18.")


def test_without_a_connection_the_download_is_given_up_within_seconds(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    network = create("hybridmednet", 2, backbone="resnet18", **SMALL)
    start = time.monotonic()
    with pytest.raises(UserError) as caught:
        backbone_weights(network, "download")
    assert time.monotonic() - start < 10
    assert caught.value.key == "weights_offline"
    assert "timm/resnet18" in str(caught.value)


def test_a_vision_mamba_backbone_takes_the_published_vision_mamba(tmp_path):
    torch.manual_seed(12)
    whole = create("vim_tiny", 10)
    torch.save({"model": whole.state_dict()}, tmp_path / "vim.pth")
    network = create("hybridmednet", 2, backbone="vim_tiny", **SMALL)
    coverage = backbone_weights(network, str(tmp_path / "vim.pth"))
    assert coverage.complete
    assert set(coverage.ignored) == {"norm_f.weight", "head.weight", "head.bias"}
