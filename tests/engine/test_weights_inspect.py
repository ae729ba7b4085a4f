"""`weights inspect`: what is told of a weights file, by which nothing in the file may run."""

import io
import json
import os
import pickle
import random
import struct
import time
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from engine.__main__ import main
from engine.messages import LANGUAGES, catalogue
from engine.models import create
from engine.types import UserError
from engine.weights_reading.report import inspect

VECTORS = Path(os.environ.get("LIGHTBOX_REFERENCE") or Path(__file__).resolve().parents[3] / "shared") / "parity" / "checkpoints"
NAMES = sorted(json.loads((VECTORS / "verdicts.json").read_text())) if VECTORS.is_dir() else ["(none)"]
CODES = ("weights_unsafe", "weights_outside", "weights_objects", "weights_non_finite", "weights_lists", "weights_expanded", "weights_other_values",
         "weights_averaged", "weights_prefix", "weights_half", "weights_partial", "weights_foreign", "weights_not_of_model", "weights_not_compared",
         "weights_reshaped",
         "weights_d2_no_author", "weights_d2_nested", "weights_d2_value", "weights_d2_torch_named_pkl", "weights_d2_pickle_named_torch",
         "weights_d2_safetensors", "weights_d2_objects", "weights_d2_no_table", "weights_d2_names")
ERRORS = ("weights_broken", "weights_file_missing", "weights_not_opened", "weights_too_much", "weights_other_zip", "safetensors_header",
          "weights_not_checkpoint")


class Harm:
    """A pickle that leaves a file behind when it is opened."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.system, (f"touch {self.place}",)


@pytest.fixture
def state():
    torch.manual_seed(0)
    return OrderedDict({"backbone.weight": torch.randn(3, 4), "backbone.bias": torch.randn(4).half(), "steps": torch.tensor(7)})


def told(file):
    return inspect(file).as_dict()


def codes(report):
    return [problem["code"] for problem in report["problems"]]


def refusal(file):
    with pytest.raises(UserError) as caught:
        inspect(file)
    return caught.value.key


def written(file, data):
    file.write_bytes(data)
    return file


def test_every_sentence_has_its_text_and_remedy_in_all_languages():
    for language in LANGUAGES:
        texts = catalogue(language)
        wanted = [*(f"problem.{code}" for code in CODES), *(f"error.{key}" for key in ERRORS)]
        assert [key for key in wanted for suffix in ("", ".remedy") if f"{key}{suffix}" not in texts] == []


# ---- what Detectron2 would do

@pytest.mark.parametrize("name", NAMES)
def test_detectron2_is_foretold_as_it_really_behaves(name, reference):
    wanted = json.loads((reference / "parity" / "checkpoints" / "verdicts.json").read_text())[name]
    report = told(reference / "parity" / "checkpoints" / name)
    assert report["detectron2"]["outcome"] == wanted["detectron2"]
    assert report["detectron2"]["message"] == wanted.get("message", report["detectron2"]["message"])
    assert (report["tensors"], report["parameters"]) == ((0, 0) if "lists" in name else (4, 120))
    assert not any(problem["severity"] == "error" for problem in report["problems"])


def test_the_official_small_model_is_read_like_torch_reads_it(reference):
    file = reference / "parity" / "di_maskdino" / "state_dict.pth"
    report, truth = inspect(file), torch.load(file, weights_only=True)["model"]
    assert {name: tuple(value.shape) for name, value in truth.items()} == {name: each.shape for name, each in report.found.tensors.items()}
    assert report.parameters == sum(value.numel() for value in truth.values())
    assert report.verdict.outcome == "loads"
    assert report.non_finite == []


# ---- the kinds of files

def save_as(state, file, kind):
    if kind == "zip":
        torch.save({"model": state}, file)
    elif kind == "legacy":
        torch.save({"model": state}, file, _use_new_zipfile_serialization=False)
    elif kind == "safetensors":
        save_file({name: value.contiguous().clone() for name, value in state.items()}, file)
    else:
        with file.open("wb") as stream:
            pickle.dump({"model": dict(state), "__author__": "x"}, stream, protocol=int(kind))
    return file


KINDS = ("zip", "legacy", "safetensors", "0", "1", "2", "3", "4", "5")


@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_of_files_give_the_same_answer(state, tmp_path, kind):
    report = told(save_as(state, tmp_path / "file.bin", kind))
    assert report["container"] == {"zip": "torch_zip", "legacy": "torch_legacy", "safetensors": "safetensors"}.get(kind, "pickle")
    assert report["layout"] == {"zip": "model", "legacy": "model", "safetensors": "flat"}.get(kind, "detectron2")
    assert (report["tensors"], report["parameters"], report["non_finite"]) == (3, 17, 0)
    assert report["dtypes"] == {"float32": 1, "float16": 1, "int64": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_that_are_not_finite_are_found_in_the_tensors_that_show_them(tmp_path, kind):
    base = torch.rand(10, 10)
    base[3, 7] = float("nan")
    state = {"all": base, "row_2": base[2], "row_3": base[3], "column_6": base[:, 6], "column_7": base[:, 7], "turned": base.t(),
             "beside": base[2:5, 5:7], "around": base[2:5, 7:9], "bf16": torch.tensor([1, float("-inf")]).bfloat16(), "large": torch.full((2,), 3e38),
             "f64": torch.tensor(float("inf")).double(), "f8": torch.tensor([1, float("nan")]).to(torch.float8_e4m3fn), "whole": torch.arange(5),
             "empty": torch.zeros(0, 3)}
    wanted = [name for name, value in state.items() if not torch.isfinite(value.double()).all()]
    assert sorted(inspect(save_as(state, tmp_path / "file.bin", kind)).non_finite) == sorted(wanted)


@pytest.mark.parametrize("protocol", range(6))
def test_pickled_numpy_arrays_are_read_like_numpy_reads_them(tmp_path, protocol):
    arrays = {"big_endian": np.array([1, np.nan], ">f8"), "swapped": np.arange(5, dtype=">f4"), "columns": np.asfortranarray(np.ones((3, 4), "f4")),
              "long": np.full(3000, 2, "f4"), "number": np.array(3, "i8"), "bytes": np.frombuffer(bytes(range(256)) * 40, "u1")}
    arrays["long"][2999] = np.inf
    with (tmp_path / "w.pkl").open("wb") as stream:
        pickle.dump({"model": arrays, "__author__": "x"}, stream, protocol=protocol)
    report = inspect(tmp_path / "w.pkl")
    assert {name: each.shape for name, each in report.found.tensors.items()} == {name: each.shape for name, each in arrays.items()}
    assert {name: each.dtype for name, each in report.found.tensors.items()} == {name: each.dtype.name for name, each in arrays.items()}
    assert report.non_finite == ["big_endian", "long"]


@pytest.mark.parametrize(("wrap", "layout"), [
    (lambda s: s, "flat"), (lambda s: {"model": s, "epoch": 3}, "model"), (lambda s: {"state_dict": s}, "state_dict"),
    (lambda s: {"ema": {"module": s, "updates": 3}, "model": {f"module.{name}": value + 1 for name, value in s.items()}}, "ema.module"),
    (lambda s: {"model": {"model": s}}, "model.model"), (lambda s: {"model_ema": s, "optimizer": {"state": {0: {"a": s["steps"]}}}}, "model_ema"),
])
def test_the_tensors_are_found_wherever_trainers_put_them(state, tmp_path, wrap, layout):
    torch.save(wrap(state), tmp_path / "w.pth")
    report = told(tmp_path / "w.pth")
    assert (report["layout"], report["tensors"]) == (layout, 3)
    assert ("weights_averaged" in codes(report)) == ("ema" in layout)


def test_class_names_and_their_number_are_told(state, tmp_path):
    torch.save({"model": {**state, "head.bias": torch.zeros(5)}, "classes": ["a", "b"]}, tmp_path / "w.pth")
    report = told(tmp_path / "w.pth")
    assert (report["classes"], report["class_names"]) == (5, ["a", "b"])


# ---- hostile and damaged files

def test_what_a_hostile_file_wants_to_run_is_named_and_not_run(state, tmp_path, capsys):
    mark = tmp_path / "mark"
    content = {"model": state, "x": Harm(mark)}
    torch.save(content, tmp_path / "zip.pth")
    torch.save(content, tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    for protocol in range(6):
        (tmp_path / f"{protocol}.pkl").write_bytes(pickle.dumps(content, protocol))
    (tmp_path / "inst.pkl").write_bytes(b"(S'touch " + str(mark).encode() + b"'\nios\nsystem\n.")
    for file in sorted(tmp_path.glob("*.p*")):
        assert main(["weights", "inspect", str(file), "--json", "--lang", "en"]) == 2
        out, err = capsys.readouterr()
        assert "os.system" in err
        assert "touch" in err
        assert "weights_unsafe" in codes(json.loads(out))
    assert not mark.exists()


def test_a_pickled_module_is_refused_with_what_to_save_instead(tmp_path, capsys):
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 2)), tmp_path / "w.pth")
    assert main(["weights", "inspect", str(tmp_path / "w.pth"), "--lang", "en"]) == 2
    assert "state_dict" in capsys.readouterr().err


def test_an_expanded_view_is_named_and_never_copied(tmp_path):
    torch.save({"model": {"w": torch.zeros(1).expand(2**20, 2**20)}}, tmp_path / "w.pth")
    report = told(tmp_path / "w.pth")
    assert codes(report)[0] == "weights_expanded"
    assert report["parameters"] == 2**40


def test_numbers_outside_of_their_storage_are_damage(tmp_path):
    torch.save({"w": torch.zeros(9)}, tmp_path / "w.pth")
    with zipfile.ZipFile(tmp_path / "w.pth") as old, zipfile.ZipFile(tmp_path / "x.pth", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, content.replace(b"K\x09\x85", b"K\x63\x85") if name.endswith("data.pkl") else content)
    assert codes(told(tmp_path / "x.pth")) == ["weights_outside", "weights_d2_names"]


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors", "2", "4"])
def test_every_cut_is_noticed(state, tmp_path, kind):
    data = save_as(state, tmp_path / "whole.bin", kind).read_bytes()
    for length in range(0, len(data), max(1, len(data) // 60)):
        assert refusal(written(tmp_path / "cut.bin", data[:length])) in ("weights_broken", "safetensors_header", "weights_too_much")


def test_bombs_are_refused_within_seconds(tmp_path):
    proto = b"\x80\x04"
    header = b'{"a":{"dtype":"F32","shape":' + b"[" * 100_000 + b"]" * 100_000 + b',"data_offsets":[0,0]}}'
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", proto + b"N0" * 40_000_000 + b"N.")
    bombs = {
        "nested": proto + b"]" * 200_000 + b"a" * 199_999 + b".", "key": proto + b"}" + b")" + b"\x85" * 200_000 + b"Ns.",
        "marks": proto + b"(" * 400_000 + b".", "bytes": proto + b"\x8e" + struct.pack("<Q", 2**62) + b"x.",
        "number": proto + b"\x8b" + struct.pack("<I", 2**31) + b"x" * 99 + b".", "steps": proto + b"N0" * 1_100_000 + b"N.",
        "names": proto + b"".join(b"cm%d\nx\n0" % number for number in range(20_000)) + b"N.",
        "laughs": proto + b"]q\x00" + b"".join(b"]q%c(" % i + b"h%c" % (i - 1) * 99 + b"e" for i in range(1, 200)) + b".",
        "packed": packed.getvalue(), "claim": struct.pack("<Q", 2**60) + b'{"a":{}}', "header": struct.pack("<Q", len(header)) + header,
    }
    for name, data in bombs.items():
        started = time.perf_counter()
        assert refusal(written(tmp_path / name, data)) in (*ERRORS,), name
        assert time.perf_counter() - started < 20, name


def test_changed_files_end_in_a_report_or_a_sentence(state, tmp_path):
    chance = random.Random(5)
    seeds = [save_as(state, tmp_path / "seed.bin", kind).read_bytes() for kind in KINDS]
    for _ in range(800):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.choice((1, 2, 8))):
            place = chance.randrange(len(data))
            data[place:place + chance.choice((0, 1, 1, 4))] = bytes(chance.randrange(256) for _ in range(chance.choice((0, 1, 1, 3))))
        try:
            json.dumps(told(written(tmp_path / "changed.pth", data)))
        except UserError as error:
            assert error.key in ERRORS


def test_other_files_are_refused_by_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("photo.jpg", b"x")
    assert refusal(tmp_path / "photos.zip") == "weights_other_zip"
    assert refusal(written(tmp_path / "empty.pth", b"")) == "weights_broken"
    assert refusal(written(tmp_path / "text.pkl", pickle.dumps({"a": 1}))) == "weights_not_checkpoint"
    assert refusal(tmp_path / "none.pth") == "weights_file_missing"
    assert refusal(tmp_path) == "weights_file_missing"


# ---- beside a model

@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("run") / "best.pt"
    torch.save({"model": create("deimv2_atto", 7).state_dict(), "classes": list("abcdefg")}, file)
    return file


def test_a_checkpoint_of_the_model_covers_it_whole(trained, capsys):
    assert main(["weights", "inspect", str(trained.parent), "--for", "deimv2_atto", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["coverage"]["complete"]
    assert report["coverage"]["matched"] == report["coverage"]["total"] == report["tensors"]
    assert report["classes"] == 7


@pytest.mark.parametrize("model", ["timm", "hybridmednet"])
def test_a_checkpoint_of_another_model_is_refused(trained, model, capsys):
    assert main(["weights", "inspect", str(trained), "--for", model, "--json"]) == 2
    out, err = capsys.readouterr()
    assert codes(json.loads(out))[-1] in ("weights_foreign", "weights_not_of_model")
    assert "problem." not in err


def test_missing_and_spare_tensors_are_counted_and_named(trained, tmp_path, capsys):
    content = torch.load(trained, weights_only=True)
    first = next(name for name in content["model"] if name.endswith("weight"))
    content["model"]["spare"] = content["model"].pop(first)
    torch.save(content, tmp_path / "w.pth")
    assert main(["weights", "inspect", str(tmp_path / "w.pth"), "--for", "deimv2_atto", "--json"]) == 0
    coverage = json.loads(capsys.readouterr().out)["coverage"]
    assert (coverage["missing"], coverage["unexpected"], coverage["complete"]) == ([first], ["spare"], False)


def test_no_network_is_built_for_a_shape_that_nobody_stored(tmp_path, capsys):
    torch.save({"model": {"decoder.enc_score_head.bias": torch.zeros(1).expand(2**40)}}, tmp_path / "w.pth")
    assert main(["weights", "inspect", str(tmp_path / "w.pth"), "--for", "deimv2_atto", "--json"]) == 2
    assert "weights_not_compared" in codes(json.loads(capsys.readouterr().out))


@pytest.mark.parametrize("shape", [(), (0,), (2, 3), (40_000,)])
def test_a_head_of_an_impossible_shape_is_no_accident(trained, tmp_path, capsys, shape):
    content = torch.load(trained, weights_only=True)["model"]
    torch.save({"model": {**content, "decoder.enc_score_head.bias": torch.zeros(shape)}}, tmp_path / "w.pth")
    assert main(["weights", "inspect", str(tmp_path / "w.pth"), "--for", "deimv2_atto", "--json"]) in (0, 2)
    assert codes(json.loads(capsys.readouterr().out))[-1] in ("weights_not_of_model", "weights_partial", "weights_reshaped")


def test_the_summary_is_readable_in_every_language(trained, capsys):
    for language in LANGUAGES:
        assert main(["weights", "inspect", str(trained), "--lang", language]) == 0
        out = capsys.readouterr().out
        assert "torch_zip" in out
        assert "cli." not in out
