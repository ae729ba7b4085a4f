"""`weights convert`, `repair` and `verify`: files that other programs made, read without running them, under other names, mended and proven."""

import argparse
import ast
import json
import os
import pickle
import re
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from engine.__main__ import main
from engine.messages import LANGUAGES, catalogue
from engine.models import create
from engine.types import UserError
from engine.weights import backbone_weights, load_into, safe_load, state_dict_of
from engine.weights_mending.converting import TARGETS, convert
from engine.weights_mending.repairing import repair
from engine.weights_mending.verifying import verify
from engine.weights_reading.convnext import COLUMNS, official_name, target_name
from engine.weights_reading.report import inspect

ROOT = Path(__file__).resolve().parents[2]
VECTORS = Path(os.environ.get("LIGHTBOX_REFERENCE") or ROOT.parent / "shared") / "parity" / "checkpoints"
NAMES = sorted(json.loads((VECTORS / "verdicts.json").read_text())) if VECTORS.is_dir() else ["(none)"]
FINE = ("a_", "b_", "d_", "f_", "f2_", "h_", "i_", "l_", "m2_", "n_")
DONE = {"c_": "author heuristics", "c2_": "author", "d2_": "heuristics", "e_": "unnested", "g_": "lists", "j_": "no_tensors", "k_": "container",
        "k2_": "container", "m_": "heuristics", "o_": "unnested", "p_": "unnested", "q_": "arrays", "r_": "prefix", "s_": "heuristics",
        "t_": "container", "u_": "beside", "v_": "numbers arrays"}


class Small(nn.Module):
    """The network of the reference checkpoints, or of those with backbone. before their names."""

    def __init__(self, names):
        super().__init__()
        inner = self
        if any(name.startswith("backbone.") for name in names):
            inner = self.backbone = nn.Module()
        inner.stem, inner.norm = nn.Conv2d(3, 4, 3), nn.LayerNorm(4)


class Harm:
    """A pickle that leaves a file behind when it is opened."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.system, (f"touch {self.place}",)


class Foreign:
    """Of a program that is not installed where the file is opened."""


def detectron2_reads(file):
    """What Detectron2 makes of a file that we wrote ourselves: its rules, followed with the real pickle and torch.load."""
    if file.suffix == ".pkl":
        with file.open("rb") as stream:
            data = pickle.load(stream, encoding="latin1")
        if "model" not in data or "__author__" not in data:
            data = {"model": data, "__author__": "Caffe2", "matching_heuristics": True}
    else:
        data = torch.load(file, weights_only=True)
        data = data if "model" in data else {"model": data}
    assert all(isinstance(value, (np.ndarray, torch.Tensor)) for value in data["model"].values())
    tensors = {name: torch.as_tensor(value) for name, value in data["model"].items()}
    return {name: value for name, value in tensors.items() if data.get("matching_heuristics") or name.startswith("backbone.")}


def refusal(call, *arguments, **named):
    with pytest.raises(UserError) as caught:
        call(*arguments, **named)
    return caught.value.key


def same(one, other):
    return one.keys() == other.keys() and all(one[n].dtype == other[n].dtype and torch.equal(one[n], other[n]) for n in one)


def tensors_of(file):
    return state_dict_of(safe_load(file), file)


def codes(outcome):
    return " ".join(deed.code for deed in outcome.deeds)


# ---- repair

def stored(name, reference):
    """The four tensors of a reference checkpoint as torch and pickle, which may be trusted with it, give them."""
    file = reference / "parity" / "checkpoints" / name
    with file.open("rb") as stream:
        content = torch.load(file, weights_only=False) if "torchsave" in name or name[0] in "suv" else pickle.load(stream, encoding="latin1")
    while isinstance(content, dict) and not any(key.endswith("stem.weight") for key in content):
        content = content.get("model", content.get("state_dict"))
    return {key.removeprefix("module."): torch.as_tensor(value).detach() for key, value in content.items() if "weight" in key or "bias" in key}


@pytest.mark.parametrize("name", NAMES)
def test_every_reference_checkpoint_loads_after_repair(name, reference, tmp_path):
    file, out = reference / "parity" / "checkpoints" / name, tmp_path / name
    outcome = repair(file, out)
    code = name.split("_")[0] + "_"
    assert (outcome.changed, codes(outcome)) == (code not in FINE, DONE.get(code, ""))
    assert (outcome.after.verdict.outcome, outcome.after.verdict.matched, outcome.after.verdict.total) == ("loads", 4, 4)
    truth = stored(name, reference)
    assert len(detectron2_reads(out)) == 4
    found = tensors_of(out)
    assert same(found, truth)
    network = Small(found)
    coverage = load_into(network, out)
    assert coverage.complete
    assert len(coverage.matched) == 4
    assert all(torch.equal(value, truth[key].float()) for key, value in network.state_dict().items())


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(("c_", "k_", "s_", "t_", "u_"))])
def test_the_command_says_line_by_line_what_it_did_and_writes_beside(name, reference, tmp_path, capsys):
    file = tmp_path / name
    file.write_bytes((reference / "parity" / "checkpoints" / name).read_bytes())
    before = file.read_bytes()
    assert main(["weights", "repair", str(file), "--lang", "en"]) == 0
    said = capsys.readouterr().out
    out = file.with_name(f"{file.stem}.repaired{file.suffix}")
    assert said.startswith("- ")
    assert str(out) in said
    assert "Detectron2: loads it" in said
    assert file.read_bytes() == before
    assert inspect(out).verdict.outcome == "loads"
    assert main(["weights", "repair", str(file), "--lang", "en"]) == 2
    assert "stands already" in capsys.readouterr().err
    assert main(["weights", "repair", str(file), "--force", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["changed"]
    assert told["detectron2"]["outcome"] == "loads"
    assert all(step["message"] and "weights." not in step["message"] for step in told["steps"])


def test_nothing_is_written_when_nothing_was_wrong(reference, tmp_path, capsys):
    file = tmp_path / "b.pkl"
    file.write_bytes((reference / "parity" / "checkpoints" / "b_pickle_numpy_author_mh.pkl").read_bytes())
    assert main(["weights", "repair", str(file), "--lang", "en"]) == 0
    assert "Nothing was wrong with b.pkl." in capsys.readouterr().out
    assert [each.name for each in tmp_path.iterdir()] == ["b.pkl"]
    repair(file, tmp_path / "copy.pkl")
    assert (tmp_path / "copy.pkl").read_bytes() == file.read_bytes()


@pytest.mark.parametrize("model", ["convnext_atto", "resnet18"])
def test_files_that_were_never_meant_for_detectron2_are_not_broken(model, tmp_path):
    torch.save(timm.create_model(model).state_dict(), tmp_path / "w.pth")
    assert not repair(tmp_path / "w.pth").changed


def test_optimizers_and_averages_beside_good_weights_are_no_fault(tmp_path, reference):
    torch.save({"model": {"backbone.w": torch.ones(2)}, "optimizer_state_dict": {"state": {0: torch.ones(1)}}, "iteration": 3}, tmp_path / "w.pth")
    assert not repair(tmp_path / "w.pth").changed
    assert not repair(reference / "parity" / "deimv2" / "deimv2_pico_nc4_shaken.pth", tmp_path / "copy.pth").changed
    assert not repair(reference / "parity" / "di_maskdino" / "state_dict.pth", tmp_path / "other.pth").changed


def test_not_a_number_is_kept_and_said(tmp_path, capsys):
    state = {"model": {"backbone.w": torch.tensor([1, float("nan")]), "epoch": 3}}
    torch.save(state, tmp_path / "w.pth")
    assert main(["weights", "repair", str(tmp_path / "w.pth"), "--lang", "en"]) == 0
    assert "NaN" in capsys.readouterr().err
    assert torch.isnan(tensors_of(tmp_path / "w.repaired.pth")["backbone.w"][1])


def test_what_lies_beside_is_kept_when_it_is_plain_and_named_when_it_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(Foreign, "__module__", "somebody")
    monkeypatch.setitem(__import__("sys").modules, "somebody", argparse.Namespace(Foreign=Foreign))
    torch.save({"state_dict": OrderedDict({"_orig_mod.module.w": torch.ones(2)}), "classes": ["a", "b"], "epoch": 4, "best": np.float64(0.5),
                "args": argparse.Namespace(lr=1), "config": Foreign(), "optimizer": {"state": {0: torch.ones(1)}}}, tmp_path / "w.pth")
    outcome = repair(tmp_path / "w.pth")
    assert codes(outcome) == "prefix numbers beside foreign arrays unnested heuristics"
    content = torch.load(outcome.file, weights_only=True)
    assert content.pop("model")["w"].tolist() == [1, 1]
    assert content == {"classes": ["a", "b"], "epoch": 4, "best": 0.5, "matching_heuristics": True}
    words = " ".join(deed.message("en") for deed in outcome.deeds)
    assert all(word in words for word in ("argparse.Namespace", "somebody.Foreign", "optimizer", "_orig_mod.module.", "numpy.float64"))


def test_averages_are_taken_and_it_is_said(tmp_path):
    torch.save({"ema": {"module": {"backbone.w": torch.ones(2)}}, "model": {"backbone.w": torch.zeros(2)}}, tmp_path / "w.pth")
    outcome = repair(tmp_path / "w.pth")
    assert codes(outcome).startswith("averaged")
    assert tensors_of(outcome.file)["backbone.w"].tolist() == [1, 1]


@pytest.mark.parametrize(("rows", "shape"), [([[1.5, 2.0], [3.0, 4.0]], (2, 2)), ([1, 2, 3], (3,)), ([[[1.0]], [[2.0]]], (2, 1, 1))])
def test_lists_become_tensors(tmp_path, rows, shape):
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"model": {"a": rows}, "__author__": "x", "matching_heuristics": True}))
    value = tensors_of(repair(tmp_path / "w.pkl").file)["a"]
    assert value.shape == shape
    assert value.tolist() == rows


@pytest.mark.parametrize("rows", [[[1.0], [1.0, 2.0]], [1.0, "a"], [[], []]])
def test_lists_that_are_no_table_are_left_out_and_named(tmp_path, rows):
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"model": {"a": rows, "b": np.ones(2)}, "__author__": "x", "matching_heuristics": True}))
    outcome = repair(tmp_path / "w.pkl")
    assert codes(outcome) == "no_tensors"
    assert "a: list" in outcome.deeds[0].message("en")


# ---- what cannot be repaired

def test_a_payload_never_runs_whatever_is_asked_for(tmp_path, capsys):
    mark = tmp_path / "mark"
    state = {"backbone.w": torch.ones(2)}
    inner = {"model": state, "x": Harm(mark)}
    for name, content in {"zip": inner, "nested": {"model": {"model": {**state, "y": Harm(mark)}}}, "alone": Harm(mark)}.items():
        torch.save(content, tmp_path / f"{name}.pth")
        torch.save(content, tmp_path / f"{name}_legacy.pth", _use_new_zipfile_serialization=False)
        (tmp_path / f"{name}.pkl").write_bytes(pickle.dumps(content))
    behind = pickle.dumps({"model": state}, 2)[:-1] + b"0cposix\nsystem\n(S'touch " + str(mark).encode() + b"'\ntR."
    (tmp_path / "behind.pkl").write_bytes(behind)
    for file in [each for each in tmp_path.iterdir() if each.suffix in (".pth", ".pkl")]:
        for command in (["repair", str(file)], ["convert", str(file), str(tmp_path / "out.pth"), "--to", "detectron2"],
                        ["verify", str(file), "--for", "timm"]):
            assert main(["weights", *command, "--lang", "en"]) == 2, (file, command)
            assert "system" in capsys.readouterr().err
    assert not mark.exists()
    assert not (tmp_path / "out.pth").exists()


def test_a_payload_inside_a_stored_storage_never_runs(tmp_path):
    """Pickled tensors hold a second file of torch in a text; what stands in that is read by the same rules."""
    mark = tmp_path / "mark"
    inner = tmp_path / "inner.pth"
    torch.save({"x": Harm(mark)}, inner, _use_new_zipfile_serialization=False)
    data = inner.read_bytes()
    outer = b"\x80\x02}X\x05\x00\x00\x00modelctorch.storage\n_load_from_bytes\nB" + len(data).to_bytes(4, "little") + data + b"\x85Rs."
    (tmp_path / "w.pkl").write_bytes(outer)
    for call in (lambda: repair(tmp_path / "w.pkl"), lambda: convert(tmp_path / "w.pkl", tmp_path / "o.pth", "native"),
                 lambda: verify(tmp_path / "w.pkl", "timm", {}), lambda: load_into(nn.Linear(1, 1), tmp_path / "w.pkl")):
        assert refusal(call) == "weights_unsafe"
    assert not mark.exists()


def test_programs_modules_damage_and_bombs_are_refused_with_their_reason(tmp_path):
    torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "script.pt")
    torch.save(nn.Sequential(nn.Linear(2, 2)), tmp_path / "module.pth")
    torch.save({"w": torch.zeros(1).expand(2**20, 2**20)}, tmp_path / "bomb.pth")
    torch.save({"w": torch.zeros(99)}, tmp_path / "whole.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:300])
    for name, key in {"script.pt": "weights_torchscript", "module.pth": "weights_module", "bomb.pth": "weights_expanded",
                      "cut.pth": "weights_broken", "none.pth": "weights_file_missing"}.items():
        assert refusal(repair, tmp_path / name) == key
        assert refusal(convert, tmp_path / name, tmp_path / "o.pth", "native") == key
    assert refusal(load_into, nn.Linear(2, 2), tmp_path / "script.pt") == "weights_torchscript"
    assert [problem.code for problem in inspect(tmp_path / "script.pt").problems][0] == "weights_torchscript"


# ---- convert

@pytest.fixture(scope="module")
def atto():
    torch.manual_seed(3)
    model = timm.create_model("convnext_atto", num_classes=7).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(torch.randn_like(value) * 0.1)
    return model


@pytest.fixture
def official(atto, tmp_path):
    """As facebookresearch/ConvNeXt writes it: other names, linear layers as matrices."""
    def old(name):
        name = name.replace("stem.", "downsample_layers.0.").replace("head.norm.", "norm.").replace("head.fc.", "head.")
        name = re.sub(r"stages\.(\d)\.downsample\.", r"downsample_layers.\1.", name).replace(".blocks.", ".")
        return name.replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
    file = tmp_path / "convnext_atto_1k.pth"
    torch.save({"model": {old(name): value.flatten(1) if ".mlp.fc" in name and value.ndim == 4 else value
                          for name, value in atto.state_dict().items()}}, file)
    return file


def test_timm_takes_the_converted_official_file_and_computes_the_same(official, atto, tmp_path):
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for name in ("timm.safetensors", "timm.pth"):
        convert(official, tmp_path / name, "timm")
        other = timm.create_model("convnext_atto", num_classes=7).eval()
        state = load_file(tmp_path / name) if name.endswith("tensors") else torch.load(tmp_path / name, weights_only=True)
        other.load_state_dict(state, strict=True)
        assert torch.equal(other(images), atto(images))
    convert(official, tmp_path / "features.pth", "timm-features")
    cut = timm.create_model("convnext_atto", features_only=True)
    cut.load_state_dict(torch.load(tmp_path / "features.pth", weights_only=True), strict=True)


def test_a_trip_through_all_code_bases_ends_where_it_began(official, tmp_path):
    steps = (("a.pth", "timm"), ("b.pkl", "detectron2"), ("c.safetensors", "timm-features"), ("d.pth", "detectron2"),
             ("e.safetensors", "safetensors"), ("f.pth", "native"))
    file = official
    for name, to in steps:
        file = convert(file, tmp_path / name, to).file
    start = tensors_of(official)
    assert same(tensors_of(file), {name: value for name, value in start.items() if not name.startswith(("norm.", "head."))})
    assert same(tensors_of(convert(tmp_path / "a.pth", tmp_path / "g.pth", "native").file), start)


def test_detectron2_gets_prefix_author_and_heuristics_and_no_head(official, tmp_path, capsys):
    assert main(["weights", "convert", str(official), str(tmp_path / "d.pkl"), "--to", "detectron2", "--lang", "en"]) == 0
    assert "norm.weight, norm.bias, head.weight, head.bias" in capsys.readouterr().out
    with (tmp_path / "d.pkl").open("rb") as stream:
        content = pickle.load(stream, encoding="latin1")
    assert (content["__author__"], content["matching_heuristics"]) == ("Lightbox", True)
    assert all(name.startswith("backbone.") and type(value) is np.ndarray for name, value in content["model"].items())
    assert len(detectron2_reads(tmp_path / "d.pkl")) == len(tensors_of(official)) - 4
    convert(official, tmp_path / "d.pth", "detectron2")
    assert torch.load(tmp_path / "d.pth", weights_only=True)["matching_heuristics"] is False
    assert len(detectron2_reads(tmp_path / "d.pth")) == len(tensors_of(official)) - 4
    assert inspect(tmp_path / "d.pth").found.family == "convnext_detectron2"


def test_torch_save_into_a_pkl_is_refused_with_the_reason(official, tmp_path, capsys):
    assert main(["weights", "convert", str(official), str(tmp_path / "o.pkl"), "--to", "timm", "--lang", "en"]) == 2
    assert "A load persistent id instruction was encountered" in capsys.readouterr().err
    for out, to, key in (("o.pth", "safetensors", "weights_out_not_safetensors"),
                         ("o.safetensors", "detectron2", "weights_safetensors_for_detectron2"),
                         ("o.txt", "native", "weights_out_suffix"), ("no/o.pth", "native", "weights_out_folder"),
                         (official.name, "native", "weights_out_exists")):
        assert refusal(convert, official, tmp_path / out, to) == key
    assert not (tmp_path / "o.pkl").exists()


@pytest.mark.parametrize("model", ["convnext_atto", "convnext_tiny", "convnextv2_atto"])
def test_every_name_of_timm_has_a_counterpart_and_comes_back(model):
    with torch.device("meta"):
        names = list(timm.create_model(model).state_dict())
    for family in COLUMNS:
        for name in names:
            between = target_name(official_name(name, "convnext_timm"), family)
            assert not between or target_name(official_name(between, family), "convnext_timm") == name
            assert between or name.startswith("head.")


def test_names_without_a_counterpart_are_refused(tmp_path):
    torch.save({"model": create("deimv2_atto", 2).state_dict()}, tmp_path / "w.pth")
    for to in ("timm", "timm-features", "detectron2"):
        assert refusal(convert, tmp_path / "w.pth", tmp_path / "o.pth", to) == "weights_no_such_names"
    assert same(tensors_of(convert(tmp_path / "w.pth", tmp_path / "o.safetensors", "safetensors").file), tensors_of(tmp_path / "w.pth"))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64", "bfloat16",
                                   "float8_e5m2"])
def test_every_type_survives_each_container(dtype, tmp_path):
    value = torch.tensor([[0, 1, 2], [1, 0, 1]]).to(getattr(torch, dtype))
    torch.save({"backbone.a": value.t(), "backbone.b": value[0, 0], "backbone.c": value[:0]}, tmp_path / "w.pth")
    truth = torch.load(tmp_path / "w.pth", weights_only=True)
    for out, to in (("o.pkl", "detectron2"), ("o.safetensors", "safetensors"), ("o.pth", "native")):
        outcome = convert(tmp_path / "w.pth", tmp_path / out, to)
        widened = out == "o.pkl" and dtype in ("bfloat16", "float8_e5m2")
        assert ("widened" in codes(outcome)) == widened
        assert same(tensors_of(tmp_path / out), {name: each.float() if widened else each for name, each in truth.items()})
        assert all(each.is_contiguous() for each in tensors_of(tmp_path / out).values())


def test_views_of_a_large_tensor_are_stored_alone(tmp_path):
    torch.save({"model": {"a": torch.zeros(1000, 1000)[:2]}}, tmp_path / "w.pth")
    convert(tmp_path / "w.pth", tmp_path / "o.pth", "native")
    assert (tmp_path / "o.pth").stat().st_size < 20_000


@pytest.mark.parametrize("to", ["native", "detectron2"])
def test_a_backbone_takes_convnext_under_every_name(official, atto, tmp_path, to):
    file = convert(official, tmp_path / ("w.pkl" if to == "detectron2" else "w.safetensors"), to).file
    network = create("hybridmednet", 2, backbone="convnext_atto", fusion_channels=16, fpn_channels=16, use_cross_scale_attention=False)
    coverage = backbone_weights(network, str(file))
    assert coverage.complete
    assert not coverage.in_order
    assert torch.equal(network.state_dict()["feature_extractor.backbone.model.stages_3.blocks.1.mlp.fc1.weight"],
                       atto.state_dict()["stages.3.blocks.1.mlp.fc1.weight"])
    proof = verify(file, "hybridmednet", {"backbone": "convnext_atto", "fusion_channels": 16, "fpn_channels": 16}, backbone=True)
    assert proof.holds
    assert proof.total == len(coverage.matched)


# ---- containers of others, read by the one loader

def containers(folder, state):
    arrays = {name: value.numpy() for name, value in state.items()}
    np.savez(folder / "w.npz", **arrays)
    np.savez_compressed(folder / "packed.npz", **arrays)
    torch.save(state, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save({"model": state, "args": argparse.Namespace(a=1)}, folder / "args.pth")
    torch.save({"model": arrays}, folder / "arrays.pth")
    torch.save(state, folder / "named.safetensors")
    save_file(state, folder / "named.pth")
    for protocol in range(6):
        (folder / f"zoo{protocol}.pkl").write_bytes(pickle.dumps({"model": arrays, "__author__": "x", "matching_heuristics": True}, protocol))
    (folder / "tensors.pkl").write_bytes(pickle.dumps({"model": state}))
    (folder / "caffe2.pkl").write_bytes(pickle.dumps({"blobs": {**arrays, "weight_momentum": np.ones(2)}}, 2))
    return sorted(each for each in folder.iterdir())


def test_one_loader_takes_every_container(tmp_path):
    torch.manual_seed(1)
    truth = nn.Linear(40, 30)
    for file in containers(tmp_path, {name: value.detach() for name, value in truth.state_dict().items()}):
        network = nn.Linear(40, 30)
        coverage = load_into(network, file)
        assert set(coverage.matched) == {"weight", "bias"}, file.name
        assert all(torch.equal(one, other) for one, other in zip(network.parameters(), truth.parameters(), strict=True)), file.name
        outcome = convert(file, tmp_path / "out.safetensors", "safetensors", force=True)
        assert torch.equal(tensors_of(outcome.file)["weight"], truth.weight)


def test_arrays_of_objects_in_an_npz_are_never_opened(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.array([Harm(tmp_path / "mark")], object), b=np.ones(2))
    assert refusal(safe_load, tmp_path / "w.npz") == "weights_unsafe"
    assert inspect(tmp_path / "w.npz").failed
    assert not (tmp_path / "mark").exists()


def test_only_one_function_copies_weights_into_networks():
    """Optimizers and scalers of a resumed run keep their own states."""
    found = set()
    for file in [ROOT / "app.py", *(ROOT / "engine").rglob("*.py"), *(ROOT / "ui").rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in ("load_state_dict", "load_model", "load_checkpoint"):
                found.add((str(file.relative_to(ROOT)), ast.unparse(node.value)))
    assert found <= {("engine/weights.py", "model"), ("engine/keeping.py", "session.optimizer"), ("engine/keeping.py", "session.accelerator.scaler")}


@pytest.mark.parametrize(("family", "names"), [
    ("convnext_official", "downsample_layers.0.0.weight stages.0.0.dwconv.weight"),
    ("convnext_timm", "stem.0.weight stages.0.blocks.0.conv_dw.weight"),
    ("convnext_timm_features", "stem_0.weight stages_0.blocks.0.conv_dw.weight"),
    ("convnext_detectron2", "backbone.downsample_layers.0.0.weight backbone.stages.0.0.dwconv.weight"),
    ("convnext_hf", "convnext.embeddings.patch_embeddings.weight convnext.encoder.stages.0.layers.0.dwconv.weight"),
    ("smp", "encoder.conv1.weight decoder.blocks.0.conv1.0.weight segmentation_head.0.weight"),
    ("detectron2_resnet", "stem.conv1.weight res2.0.conv1.weight"),
    ("caffe2", "conv1_w res2_0_branch2a_w"), ("flat", "some.weight other.weight"),
])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module."])
def test_layouts_are_recognised_by_their_names(family, names, prefix, tmp_path):
    torch.save({prefix + name: torch.zeros(2) for name in names.split()}, tmp_path / "w.pth")
    assert inspect(tmp_path / "w.pth").as_dict()["layout"] == family


@pytest.mark.parametrize(("file", "family"), [
    ("di_maskdino/state_dict.pth", "di_maskdino"), ("deimv2/deimv2_pico_nc4_shaken.pth", "deimv2")])
def test_official_checkpoints_are_recognised(file, family, reference, capsys):
    assert main(["weights", "inspect", str(reference / "parity" / file), "--lang", "en"]) in (0, 2)
    assert catalogue("en")[f"weights.family.{family}"] in capsys.readouterr().out
    assert inspect(reference / "parity" / file).as_dict()["layout"] == family


# ---- verify

@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("run") / "bare.pth"
    torch.save({"model": create("deimv2_atto", 3).state_dict()}, file)
    return file


def test_a_model_that_takes_every_tensor_is_verified(trained, capsys):
    assert main(["weights", "verify", str(trained), "--for", "deimv2_atto", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verified"]
    assert told["matched"] == told["total"] > 100
    assert told["forward"]["finite"]
    assert told["forward"]["outputs"]["logits"][-1] == 3


def test_the_official_small_di_maskdino_is_verified(reference, capsys):
    file = reference / "parity" / "di_maskdino" / "state_dict.pth"
    assert main(["weights", "verify", str(file), "--for", "di_maskdino", "--set", "first_selected=80", "--set", "queries=40", "--set",
                 "guiding_tokens=10", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["missing_count"], told["unexpected_count"], told["forward"]["outputs"]["logits"]) == (0, 0, [1, 40, 7])


def test_what_does_not_fit_is_named_and_the_exit_code_says_so(trained, tmp_path, capsys):
    state = torch.load(trained, weights_only=True)["model"]
    first, second, third = [name for name in state if name.endswith("conv.weight")][:3]
    state["stray"], state[second], state[third] = state.pop(first), torch.zeros(1, 2), torch.full_like(state[third], float("nan"))
    torch.save(state, tmp_path / "w.pth")
    assert main(["weights", "verify", str(tmp_path / "w.pth"), "--for", "deimv2_atto", "--lang", "en"]) == 2
    out, err = capsys.readouterr()
    assert all(f"missing: {name}" in out for name in (first, second))
    assert "left over: stray" in out
    assert f"shape of {second}: [1, 2] in the file" in out
    assert "Not verified." in out
    assert "NaN" in err
    assert "cli." not in out


def test_a_file_of_another_model_is_not_verified(trained, capsys):
    assert main(["weights", "verify", str(trained), "--for", "timm", "--lang", "en"]) == 2
    assert main(["weights", "verify", str(trained), "--for", "nonsense", "--lang", "en"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_options_that_leave_no_trace_can_be_told(tmp_path, capsys):
    torch.manual_seed(0)
    torch.save(create("timm", 4, backbone="resnet18").state_dict(), tmp_path / "w.pth")
    assert main(["weights", "verify", str(tmp_path / "w.pth"), "--for", "timm", "--set", "backbone=resnet18", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["options"]["num_classes"] == 4


def test_every_sentence_stands_in_all_languages():
    sources = "".join(file.read_text() for file in (ROOT / "engine" / "weights_mending").glob("*.py"))
    keys = [f"weights.deed.{code}" for code in re.findall(r'Deed\("(\w+)"', sources)] + ["weights.deed.container", "weights.deed.rewritten"]
    keys += [f"error.{key}{suffix}" for key in re.findall(r'UserError\("(\w+)"', sources) for suffix in ("", ".remedy")]
    for language in LANGUAGES:
        assert [key for key in keys if key not in catalogue(language)] == []
    assert len(keys) > 30
    assert set(TARGETS) == {"native", "detectron2", "timm", "timm-features", "safetensors"}
