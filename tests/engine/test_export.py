"""A trained model as an ONNX file: it says what it is, gives what the original gives, and nothing else is ever run."""

import json
import shutil

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from engine import exported
from engine.__main__ import main
from engine.datasets.samples import generate
from engine.export import Agreement, agreement, card_of, compared, export, traced
from engine.models import create, models
from engine.predict import Predictor, Preprocess, load
from engine.tasks.task import tasks
from engine.types import UserError

CLASSES = ("红细胞", "白細胞", "platelet")
FINDINGS = ("bleeding", "exudates", "laser scars", "cupped disc", "macular scar")  # of the generated sample
PIXELS = [np.random.default_rng(seed).integers(0, 255, (50, 90, 3), np.uint8) for seed in range(3)]
TAGS = {"backbone": "test_resnet", "mode": "multilabel"}
MASKS = {"architecture": "unet", "encoder": "tu-test_resnet", "mode": "multiclass"}


def best(folder, model, options, thresholds, size, classes=CLASSES, resize="stretch"):
    """A best.pt whose outputs are far enough apart to be told from each other."""
    torch.manual_seed(0)
    network = create(model, len(classes), **options)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.requires_grad and any(head in name for head in ("score_head", "bbox_head.layers.2", "reg_conf")):
                parameter.add_(torch.randn_like(parameter) * 0.3)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"model": network.state_dict(), "model_name": model, "options": {"num_classes": len(classes), **options},
                "task": models.get(model).task, "classes": list(classes),
                "preprocess": {"resize": resize, "size": size, "mean": [0.1, 0.2, 0.3], "std": [0.9, 1.0, 1.1]}, "thresholds": thresholds,
                "metrics": {}, "config": {}, "version": "0"}, folder / "best.pt")
    return folder


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    run = best(tmp_path_factory.mktemp("detector") / "run", "deimv2_atto", {}, {"score": 0.3}, 64)
    return run, export(run, run.parent / "out.onnx")


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    run = best(tmp_path_factory.mktemp("tagger") / "run", "timm", TAGS, {"temperature": 2.0, "classes": [0.2, 0.7, 0.5, 0.5, 0.5]}, 32, FINDINGS)
    return run, export(run, run.parent)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    run = best(tmp_path_factory.mktemp("segmenter") / "run", "unet", MASKS, {}, 32, resize="crop")
    return run, export(run, run.parent)


@pytest.fixture
def quick(tagger, monkeypatch):
    """The graph of the tagger without its card, so that it need not be traced again."""
    def ready(predictor, free_sides=False):
        model = onnx.load(tagger[1].file)
        del model.metadata_props[:]
        return model
    monkeypatch.setattr("engine.export.traced", ready)


# ---- what is written

def test_the_file_says_what_it_holds_and_the_classes_keep_their_script(detector):
    run, made = detector
    card = exported.read(made.file)[1]
    assert card == made.card and card.classes == CLASSES and card.model_name == "deimv2_atto" and card.threshold == 0.3
    assert card.preprocess == {"resize": "stretch", "size": 64, "mean": [0.1, 0.2, 0.3], "std": [0.9, 1.0, 1.1]}
    told = {each.key: each.value for each in onnx.load(made.file).metadata_props}
    assert json.loads(told["lightbox"])["options"] == {"num_classes": 3}
    assert made.outputs == {"logits": [0, 20, 3], "boxes": [0, 20, 4]} and not made.free_sides


def test_only_standard_operators_stand_in_the_graph(detector):
    model = onnx.load(detector[1].file)
    onnx.checker.check_model(model)
    assert {each.domain for each in model.opset_import} <= {"", "ai.onnx"} and not model.functions


def test_a_folder_gets_a_file_with_the_name_of_the_run(tagger):
    assert tagger[1].file == tagger[0].parent / "run.onnx"


def test_nothing_is_overwritten_unasked(tagger, quick, tmp_path):
    run, _ = tagger
    (tmp_path / "a.onnx").write_bytes(b"mine")
    with pytest.raises(UserError) as error:
        export(run, tmp_path / "a.onnx")
    assert error.value.key == "weights_out_exists" and (tmp_path / "a.onnx").read_bytes() == b"mine"
    assert export(run, tmp_path / "a.onnx", force=True).file.stat().st_size > 1000


@pytest.mark.parametrize("choice", [{"to": "openvino"}, {"precision": "int8"}])
def test_what_is_not_known_is_refused_with_what_is(tagger, tmp_path, choice):
    with pytest.raises(UserError) as error:
        export(tagger[0], tmp_path / "a.onnx", **choice)
    assert error.value.key == "option_choice" and error.value.values["choices"] in ("onnx", "fp32")
    assert not list(tmp_path.iterdir())


def test_another_ending_and_an_exported_file_are_refused(tagger, tmp_path):
    for model, out, key in ((tagger[0], tmp_path / "a.pt", "weights_out_suffix"), (tagger[1].file, tmp_path, "export_again")):
        with pytest.raises(UserError) as error:
            export(model, out)
        assert error.value.key == key


def test_a_file_that_differs_is_not_left_behind(tagger, quick, tmp_path, monkeypatch):
    forward = exported.Graph.forward
    monkeypatch.setattr(exported.Graph, "forward", lambda self, images: forward(self, images) + 0.01)
    with pytest.raises(UserError) as error:
        export(tagger[0], tmp_path / "a.onnx")
    assert error.value.key == "export_differs" and not list(tmp_path.iterdir())


# ---- what is computed another way in a graph

def test_the_scan_by_doubling_is_the_scan_step_by_step():
    from engine.models.hybridmednet import vim

    random = torch.Generator().manual_seed(0)
    for length in (1, 2, 7, 16):
        decay, inputs = torch.rand(length, 3, 4, generator=random), torch.randn(length, 3, 4, generator=random)
        torch.testing.assert_close(vim._doubling(decay, inputs), vim._run(decay, inputs))


def test_a_scale_and_a_shift_are_the_norm_that_stands_for_them():
    from engine.models.deimv2.backbone import Affine

    affine, x = Affine(), torch.randn(2, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        affine.scale.fill_(-1.3)
        affine.bias.fill_(0.4)
        torch.testing.assert_close(affine._as_norm(x), affine(x))


def test_boxes_of_all_masks_at_once_are_those_of_one_image_after_the_other(monkeypatch):
    from engine.models.di_maskdino.outputs import MaskProduct
    from engine.models.di_maskdino.selection import mask_boxes

    random = torch.Generator().manual_seed(0)
    masks = MaskProduct(torch.randn(3, 6, 4, generator=random), torch.randn(3, 4, 8, 10, generator=random))
    plain = mask_boxes(masks)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(mask_boxes(masks), plain)


# ---- how outputs are compared

def queries(count=200):
    random = torch.Generator().manual_seed(0)
    return {"logits": torch.randn(2, count, 3, generator=random), "boxes": torch.rand(2, count, 4, generator=random)}


def test_queries_agree_in_any_order_and_within_a_thousandth():
    ours = queries()
    order = torch.randperm(200, generator=torch.Generator().manual_seed(1))
    moved = {name: values[:, order] + 5e-4 for name, values in ours.items()}
    found = agreement(ours, moved)
    assert found.share == 1 and 4e-4 < found.largest < 6e-4


def test_queries_that_are_lost_count_against_the_file():
    ours = queries()
    theirs = {name: values.clone() for name, values in ours.items()}
    theirs["boxes"][0, :10] += 0.1
    assert agreement(ours, theirs).share == pytest.approx(1 - 10 / 400)
    doubled = {name: torch.cat((values[:, :100], values[:, :100]), 1) for name, values in ours.items()}
    assert agreement(ours, doubled).share == pytest.approx(0.75)


def test_masks_of_queries_are_compared_too():
    ours = {**queries(20), "masks": torch.randn(2, 20, 4, 4, generator=torch.Generator().manual_seed(2))}
    theirs = {**ours, "masks": ours["masks"].clone()}
    theirs["masks"][0, 0] = 1
    assert agreement(ours, ours) == Agreement(1.0, 0.0) and agreement(ours, theirs).share == pytest.approx(1 - 1 / 40)


def test_what_is_no_number_agrees_with_nothing():
    logits = torch.zeros(1, 2, 4, 4)
    assert agreement({"logits": logits}, {"logits": torch.full_like(logits, float("nan"))}).share == 0


# ---- what is read

def assert_same_boxes(ours, theirs):
    assert len(ours) == len(theirs)
    gaps = np.abs(ours.boxes[:, None] - theirs.boxes[None]).max(-1) + 100 * np.abs(ours.scores[:, None] - theirs.scores[None])
    gaps += 1e3 * (ours.classes[:, None] != theirs.classes[None])
    assert gaps.min(1).max() < 0.01 and gaps.min(0).max() < 0.01


@pytest.mark.parametrize("tta", [False, True])
def test_objects_are_those_of_the_original(detector, tta):
    original, copy = load(detector[0], device="cpu"), load(detector[1].file)
    original.tta = copy.tta = tta
    assert (copy.classes, copy.name, copy.task.name, copy.cut, copy.threshold) == (CLASSES, "deimv2_atto", "detect", original.cut, 0.3)
    for ours, theirs in zip(original.batch(PIXELS), copy.batch(PIXELS), strict=True):
        assert_same_boxes(ours, theirs)


def test_large_images_are_seen_in_slices_as_well(detector):
    original, copy = load(detector[0], device="cpu"), load(detector[1].file)
    original.slices = copy.slices = 64
    large = np.random.default_rng(5).integers(0, 255, (120, 150, 3), np.uint8)
    assert_same_boxes(original(large), copy(large))


def test_tags_are_those_of_the_original_with_their_thresholds(tagger):
    original, copy = load(tagger[0], device="cpu"), load(tagger[1].file)
    for ours, theirs in zip(original.batch(PIXELS), copy.batch(PIXELS), strict=True):
        np.testing.assert_allclose(ours.values, theirs.values, atol=1e-5)
    assert copy.tag_thresholds(None) == [0.2, 0.7, 0.5, 0.5, 0.5] and copy.exclusive is False


@pytest.mark.slow
@pytest.mark.parametrize("tta", [False, True])
def test_areas_are_those_of_the_original_and_windows_slide(segmenter, tta):
    original, copy = load(segmenter[0], device="cpu"), load(segmenter[1].file)
    original.tta = copy.tta = tta
    assert copy.slides and segmenter[1].free_sides
    for pixels in PIXELS:
        ours, theirs = original(pixels), copy(pixels)
        np.testing.assert_allclose(ours.probabilities.astype(float), theirs.probabilities.astype(float), atol=2e-3)
        assert (ours.classes == theirs.classes).mean() > 0.999


@pytest.mark.slow
def test_other_sizes_go_through_the_graph_of_a_sliding_model(segmenter):
    graph, _ = exported.read(segmenter[1].file)
    images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(graph(images), load(segmenter[0], device="cpu").network(images), atol=1e-4, rtol=1e-4)


def test_display_names_may_be_given_and_options_not(tagger):
    assert load(tagger[1].file, classes=["甲"]).classes == ("甲", *FINDINGS[1:])
    for given, key in (({"model": "unet"}, "model_differs"), ({"image_size": 64}, "weights_say_themselves"), ({"device": "cuda"}, "exported_device")):
        with pytest.raises(UserError) as error:
            load(tagger[1].file, **given)
        assert error.value.key == key


@pytest.mark.parametrize("names", [CLASSES[:2], (*CLASSES, "4")])
def test_names_for_some_classes_alone_are_refused(detector, tmp_path, names):
    with pytest.raises(UserError) as caught:
        export(detector[0], tmp_path / "out.onnx", classes=names)
    assert caught.value.key == "class_names_differ" and ", ".join(CLASSES) in str(caught.value) and not list(tmp_path.iterdir())


def test_the_command_line_measures_a_file_like_its_run(quick, tmp_path, capsys):
    generate("classify", tmp_path / "data", 24, 0)
    own = best(tmp_path / "own", "timm", TAGS, {}, 32, FINDINGS)
    assert main(["export", str(own), str(tmp_path / "own.onnx"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["classes"] == list(FINDINGS) and told["verified"]["share"] == 1 and told["outputs"] == {"logits": [0, 5]}
    for model in (own, tmp_path / "own.onnx"):
        file = tmp_path / f"{model.name}.json"
        assert main(["evaluate", str(model), "--data", str(tmp_path / "data"), "--json", str(file)]) == 0
    ours, theirs = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("own", "own.onnx"))
    assert ours["metrics"]["auroc"] is not None
    for name, value in ours["metrics"].items():
        assert theirs["metrics"][name] == (value if value is None else pytest.approx(value, abs=1e-4))


def test_the_command_line_predicts_with_a_file(detector, picture, tmp_path, capsys):
    image = picture(tmp_path / "a.png")
    assert main(["predict", str(detector[1].file), str(image), "--out", str(tmp_path / "out"), "--threshold", "0"]) == 0
    told = json.loads((tmp_path / "out" / "predictions.json").read_text(encoding="utf-8"))
    assert told["model"] == "deimv2_atto" and told["classes"] == list(CLASSES) and told["images"][0]["instances"]


# ---- files of others

def tiny(path, *, domain="", external=False, text=None):
    """A graph that hands on its input."""
    node = helper.make_node("Identity", ["images"], ["logits"], domain=domain)
    sides = ["batch", 3, 32, 32]
    value = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], raw_data=b"\0" * 4)
    if external:
        value.ClearField("raw_data")
        value.data_location = TensorProto.EXTERNAL
        value.external_data.add(key="location", value="/etc/passwd")
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("images", TensorProto.FLOAT, sides)],
                              [helper.make_tensor_value_info("logits", TensorProto.FLOAT, sides)], [value])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18), *([helper.make_opsetid(domain, 1)] if domain else [])])
    model.ir_version = 10  # as the exporter writes it
    if text is not None:
        model.metadata_props.add(key="lightbox", value=text)
    path.write_bytes(model.SerializeToString())
    return path


CARD = {"model_name": "timm", "task": "classify", "classes": ["a"], "preprocess": {"size": 32, "mean": [0, 0, 0], "std": [1, 1, 1]},
        "threshold": 0.5, "options": {"num_classes": 1}, "thresholds": {}, "version": "0"}


@pytest.mark.parametrize("how, key", [
    ({}, "exported_foreign"), ({"domain": "com.evil"}, "exported_operators"),
    ({"domain": "com.microsoft"}, "exported_operators"),
    ({"external": True}, "exported_external"), ({"text": "{}"}, "exported_broken"),
    ({"text": json.dumps({**CARD, "task": "sing"})}, "exported_broken"),
    ({"text": json.dumps({**CARD, "task": "detect"})}, "exported_broken"), ({"text": "{"}, "json_damaged"),
    ({"text": json.dumps({**CARD, "preprocess": {**CARD["preprocess"], "size": 64}})}, "exported_broken"),
])
def test_files_of_others_are_refused(tmp_path, how, key):
    with pytest.raises(UserError) as error:
        load(tiny(tmp_path / "a.onnx", **how))
    assert error.value.key == key and error.value.remedy()


def test_a_graph_with_a_right_card_is_taken(tmp_path):
    assert load(tiny(tmp_path / "a.onnx", text=json.dumps(CARD))).classes == ("a",)


def test_damaged_files_are_refused(tagger, tmp_path):
    whole = tagger[1].file.read_bytes()
    for content in (b"", b"\x00garbage", whole[: len(whole) // 2], bytes(1000)):
        (tmp_path / "a.onnx").write_bytes(content)
        with pytest.raises(UserError) as error:
            load(tmp_path / "a.onnx")
        assert error.value.key in ("exported_broken", "exported_foreign")


def test_a_custom_operator_inside_a_branch_is_found(tmp_path):
    inner = helper.make_graph([helper.make_node("Run", ["images"], ["x"], domain="com.evil")], "inner", [],
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)])
    node = helper.make_node("If", ["yes"], ["logits"], then_branch=inner, else_branch=inner)
    graph = helper.make_graph([node], "g", [], [])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError) as error:
        load(tmp_path / "a.onnx")
    assert error.value.key == "exported_operators" and "com.evil" in str(error.value)


# ---- every model

SMALL = {"timm": TAGS, "unet": MASKS, "hybridmednet": {"backbone": "resnet18"}}
SEEN_ABOVE = ("deimv2_atto", "timm", "unet")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in models.names() if name not in SEEN_ABOVE])
def test_every_model_can_be_exported(name, tmp_path):
    torch.manual_seed(0)
    spec, options = models.get(name), SMALL.get(name, {})
    network = create(name, 3, **options)
    task = tasks.get(spec.task).bound({**options, "num_classes": 3})
    predictor = Predictor(network, name=name, task=task, classes=CLASSES, preprocess=Preprocess.of(spec, 64), device=torch.device("cpu"))
    model = traced(predictor)
    model.metadata_props.add(key="lightbox", value=card_of(predictor).as_json())
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    assert compared(predictor, tmp_path / "a.onnx", tmp_path / "a.onnx").share >= 0.99
    shutil.rmtree(tmp_path)
