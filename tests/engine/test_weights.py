"""Weights files: what is read, what is refused and what is said about it."""

import os
import pickle
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from engine.__main__ import hint
from engine.hub import download
from engine.messages import LANGUAGES, catalogue
from engine.models import create, models
from engine.models.network import LoadMap
from engine.types import UserError
from engine.weights import load_into, safe_load, state_dict_of

ROOT = Path(__file__).resolve().parents[2]
HARMED = []
KEYS = ("weights_not_found", "weights_unsafe", "weights_broken", "weights_not_checkpoint", "weights_foreign", "weights_offline",
        "weights_unavailable", "unknown_weights")


class Harm:
    """A pickle that calls a function when it is opened."""

    def __reduce__(self):
        return HARMED.append, ("opened",)


class Tiny(nn.Module):
    """A norm, a class-dependent layer, and one parameter under two names."""

    def __init__(self, classes=2):
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.head = nn.Linear(3, classes)
        self.first = nn.Linear(3, 3, bias=False)
        self.second = self.first

    def load_map(self):
        return LoadMap(recomputed=(r"table\..*",), per_class=(r"head\..*",))


@pytest.fixture
def state():
    torch.manual_seed(0)
    values = {name: torch.randn_like(value) if value.is_floating_point() else value for name, value in Tiny().state_dict().items()}
    return {**values, "second.weight": values["first.weight"]}


@pytest.fixture
def file(tmp_path):
    return tmp_path / "weights.pth"


def refusal(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    return caught.value


def test_every_refusal_has_its_text_and_remedy_in_all_languages():
    for language in LANGUAGES:
        texts = catalogue(language)
        assert [key for key in KEYS for suffix in ("", ".remedy") if f"error.{key}{suffix}" not in texts] == []


@pytest.mark.parametrize("wrap", [
    lambda s: s, lambda s: {"model": s}, lambda s: {"state_dict": s, "epoch": 3},
    lambda s: {"date": "", "last_epoch": 1, "model": {k: v + 1 for k, v in s.items()}, "ema": {"module": s, "updates": 5}},
    lambda s: {"model": {f"module.{k}": v for k, v in s.items()}},
], ids=["bare", "model", "state_dict", "official", "parallel"])
def test_every_layout_is_read(state, file, wrap):
    torch.save(wrap(state), file)
    network = Tiny()
    assert load_into(network, file).complete
    assert all(torch.equal(network.state_dict()[name], state[name]) for name in state)


def test_safetensors_are_read_whatever_the_file_is_called(state, tmp_path):
    alone = {name: value for name, value in state.items() if not name.startswith("second")}
    for name in ("weights.safetensors", "weights.bin"):
        save_file(alone, tmp_path / name)
        coverage = load_into(Tiny(), tmp_path / name)
        assert coverage.complete
        assert "second.weight" in coverage.matched


def test_half_precision_fits_into_single(state, file):
    torch.save({name: value.half() if value.is_floating_point() else value for name, value in state.items()}, file)
    network = Tiny()
    load_into(network, file)
    assert network.head.weight.dtype == torch.float32
    assert torch.equal(network.head.weight.detach(), state["head.weight"].half().float())


def test_counters_that_are_missing_and_tables_that_are_recomputed_do_not_count(state, file):
    del state["norm.num_batches_tracked"]
    torch.save({**state, "table.anchors": torch.zeros(9)}, file)
    coverage = load_into(Tiny(), file)
    assert coverage.complete
    assert set(coverage.ignored) == {"table.anchors", "norm.num_batches_tracked"}


def test_what_is_missing_and_what_is_left_over_is_named(state, file):
    state["stray.weight"] = state.pop("norm.weight")
    state["norm.bias"] = torch.zeros(7)
    torch.save(state, file)
    coverage = load_into(Tiny(), file)
    assert coverage.missing == ("norm.weight", "norm.bias")
    assert set(coverage.unexpected) == {"stray.weight", "norm.bias"}
    assert not coverage.complete


def test_another_number_of_classes_keeps_the_start_of_the_heads(state, file):
    torch.save(state, file)
    network = Tiny(classes=5)
    before = network.head.weight.detach().clone()
    coverage = load_into(network, file)
    assert set(coverage.reshaped) == {"head.weight", "head.bias"}
    assert coverage.complete
    assert torch.equal(network.head.weight.detach(), before)
    assert torch.equal(network.norm.weight.detach(), state["norm.weight"])


def test_a_file_of_another_model_is_refused(file):
    torch.save({"conv1.weight": torch.zeros(3)}, file)
    error = refusal(load_into, Tiny(), file)
    assert error.key == "weights_foreign"
    assert "conv1.weight" in str(error)


def test_a_missing_file_is_named(file):
    error = refusal(safe_load, file)
    assert error.key == "weights_not_found"
    assert str(file) in error.message()


def test_code_in_a_file_is_never_run(file):
    for write in (lambda: torch.save({"model": Harm()}, file), lambda: file.write_bytes(pickle.dumps({"model": Harm()}))):
        write()
        assert refusal(safe_load, file).key == "weights_unsafe"
    assert HARMED == []


@pytest.mark.parametrize("damage", [
    lambda whole: whole[: len(whole) // 2], lambda whole: whole[:60], lambda whole: b"", lambda whole: b"not weights at all",
    lambda whole: b'{"a": 1}', lambda whole: bytes(range(256)), lambda whole: whole[:300] + bytes(200) + whole[500:],
], ids=["half", "head", "empty", "text", "json", "bytes", "hole"])
@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_damaged_files_are_called_damaged(state, tmp_path, damage, name):
    path = tmp_path / name
    torch.save(state, path)
    path.write_bytes(damage(path.read_bytes()))
    assert refusal(safe_load, path).key == "weights_broken"


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"model": {"a": 1}}, torch.zeros(3)], ids=["list", "number", "nested", "tensor"])
def test_files_without_named_tensors_are_no_checkpoints(file, content):
    torch.save(content, file)
    assert refusal(lambda: state_dict_of(safe_load(file), file)).key == "weights_not_checkpoint"


def test_without_a_connection_the_way_out_is_named_within_seconds(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    start = time.monotonic()
    error = refusal(download, models.get("deimv2_atto"), "coco")
    assert time.monotonic() - start < 10
    assert error.key == "weights_offline"
    assert "127.0.0.1:9" in error.message()
    assert all(way in error.remedy() for way in ("random weights", "file of your own", "HF_ENDPOINT"))
    assert all(way in " ".join(hint(error)) for way in ("--weights none", "--weights FILE"))


def test_an_unknown_source_lists_the_known_ones():
    assert "coco" in str(refusal(download, models.get("deimv2_atto"), "imagenet"))


def test_the_hub_file_of_a_small_size_lists_shared_tensors_once(tmp_path):
    """Safetensors on the hub hold one of the three names of the shared box head, and the two constants once."""
    network = create("deimv2_atto", 4)
    gone = ("decoder.dec_bbox_head.1.", "decoder.dec_bbox_head.2.", "decoder.up", "decoder.reg_scale")
    kept = {name: value.contiguous() for name, value in network.state_dict().items() if not name.startswith(gone)}
    save_file(kept, tmp_path / "model.safetensors")
    coverage = load_into(create("deimv2_atto", 4), tmp_path / "model.safetensors")
    assert coverage.complete
    assert coverage.missing == coverage.unexpected == ()


@pytest.fixture(scope="module")
def checkpoints():
    folder = Path(os.environ.get("LIGHTBOX_REFERENCE", ROOT.parent / "shared")) / "parity" / "checkpoints"
    if not folder.is_dir():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"no reference checkpoints in {folder}")
    return folder


def test_every_reference_checkpoint_is_read_or_refused_with_a_reason(checkpoints):
    for path in sorted(checkpoints.glob("*.p*")):
        try:
            assert state_dict_of(safe_load(path), path)
        except UserError as error:
            assert error.key in ("weights_unsafe", "weights_not_checkpoint"), path.name
