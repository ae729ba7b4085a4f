"""The train page for every task: augmented samples, comparisons of backbones, and what the best epoch's validation says."""

from types import SimpleNamespace

import numpy as np
import pytest

from engine import messages, runs
from engine.config import TrainConfig
from engine.runs import Run
from engine.types import IGNORE, Instances, Polygons, SemanticMask, UserError
from engine.workspace import Workspace
from ui.pages import home
from ui.pages.train import augmented, compare, data, groups, pictures, pixels, plan, validation


def a_set(task):
    return SimpleNamespace(task=task)


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def run(workspace) -> Run:
    return runs.create(workspace.runs_folder / "20261121-050650-pets", TrainConfig(data="/data/pets", epochs=4))


# ---- what the network will see

def striped(width=96, height=64):
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, : width // 2] = 200
    return picture


@pytest.mark.parametrize("augment", ["none", "flip", "standard", "tutorial"])
def test_a_mask_moves_with_its_image(augment):
    picture = striped()
    mask = SemanticMask(classes=(picture[..., 0] > 100).astype(np.uint16))
    config = TrainConfig(task="semantic", augment=augment, image_size=64)
    seen, moved = pixels.transformed(picture, mask, (96, 64), config, 3)
    assert seen.shape == (64, 64, 3)
    inside = moved.classes != IGNORE
    gray = seen.mean(-1)
    middle = (gray[inside].min() + gray[inside].max()) / 2  # colours change as well
    assert (moved.classes[inside] == (gray > middle)[inside]).mean() > 0.9
    again, _ = pixels.transformed(picture, mask, (96, 64), config, 3)
    assert np.array_equal(seen, again)


def test_layers_outlines_and_pieces_move_too():
    picture = striped()
    layers = SemanticMask(layers=np.stack([picture[..., 0] > 100, picture[..., 0] < 100]))
    _, moved = pixels.transformed(picture, layers, (96, 64), TrainConfig(task="semantic", augment="none", image_size=32), 0)
    assert moved.layers.shape == (2, 32, 32)
    ring = Polygons((np.array([[0, 0], [96, 0], [96, 128], [0, 128.0]]),))
    outline = Instances(np.array([[0, 0, 96, 128]]), np.array([0]), shapes=(ring,))
    _, area = pixels.transformed(picture, outline, (192, 128), TrainConfig(task="semantic", augment="none", image_size=32), 0)
    assert area.layers[0][:, :15].all()
    assert not area.layers[0][:, 17:].any()
    piece, _ = pixels.transformed(picture, layers, (96, 64), TrainConfig(task="semantic", augment="none", image_size=32, resize="crop"), 1)
    assert piece.shape == (32, 32, 3)


def test_boxes_come_at_the_size_of_training():
    boxes = Instances(np.array([[0, 0, 96, 128]]), np.array([1]))
    _, moved = pixels.transformed(striped(), boxes, (192, 128), TrainConfig(augment="none", image_size=64), 0)
    assert moved.boxes.tolist() == [[0, 0, 32, 64]]


@pytest.mark.parametrize("kind", ["detect", "semantic", "classify"])
def test_the_page_shows_augmented_images_of_every_task_and_others_when_asked_again(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(home, "SAMPLE_IMAGES", 6)
    workspace = Workspace(tmp_path / "w")
    found = data.find(workspace, home.make_sample(workspace, lambda *told: None, "en", kind))
    config = TrainConfig(augment="standard", task=kind, image_size=64)
    first, again, other = (augmented.grid(found, config, seed, "en") for seed in (0, 0, 1))
    assert first.count("<img") >= 3
    assert first == again
    assert first != other
    assert "64 px" in first


# ---- several backbones

def test_candidates_are_the_backbones_of_the_models_that_learn_from_the_set():
    found = compare.candidates(a_set("classify"))
    assert {"timm · resnet18", "hybridmednet · convnext_tiny", "vim_tiny"} <= set(found)
    assert not [name for name in found if name.startswith(("unet", "deimv2"))]
    assert "deimv2_atto" in compare.candidates(a_set("detect"))
    assert compare.candidates(None) == []


def test_compared_runs_differ_in_their_network_only():
    asked = TrainConfig(data="d", model="timm", task="classify", options={"backbone": "resnet50", "dropout": 0.1, "mode": "multiclass"}, seed=5)
    planned = asked.replace(image_size=96, batch=4, minutes=3)
    made = compare.configs(["timm · resnet18", "hybridmednet · resnet34", "vim_tiny", "convnext_atto"], asked, planned)
    assert [each.model for each in made] == ["timm", "hybridmednet", "vim_tiny", "timm"]
    assert [each.options.get("backbone") for each in made] == ["resnet18", "resnet34", None, "convnext_atto"]
    assert {each.options["mode"] for each in made} == {"multiclass"}
    assert made[3].options["dropout"] == 0.1
    assert {(each.seed, each.image_size, each.batch, each.minutes, each.data) for each in made} == {(5, 96, 4, 3.0, "d")}


@pytest.mark.parametrize(("picked", "key"), [
    ([], "compare_count"), (["vim_tiny", "vim_tiny "], "compare_count"), ([f"x{i}" for i in range(9)], "compare_count"),
    (["resnet18", "vim_tiny · resnet18"], "compare_name"),
])
def test_a_comparison_that_makes_no_sense_is_refused(picked, key):
    asked = TrainConfig(model="timm", task="classify", image_size=64, batch=4, epochs=1)
    with pytest.raises(UserError) as refused:
        compare.configs(picked, asked, asked)
    assert refused.value.key == key


def test_runs_that_belong_together_are_found_in_the_order_of_their_queue(workspace):
    group = groups.new("pets")
    made = [runs.create(workspace.runs_folder / name, TrainConfig()) for name in ("b", "a", "alone", "broken")]
    for each in made[:2]:
        groups.mark(each, group)
    (made[3].folder / groups.FILE).write_text("[]")
    (found, members), = groups.grouped(made).values()
    assert found == group
    assert [each.id for each in members] == ["b", "a"]


def test_a_run_is_called_by_its_model_and_its_backbone():
    unet = TrainConfig(model="unet", task="semantic")
    assert plan.full_name(unet) == "U-Net++ resnet34"
    assert plan.run_name("cells", unet) == "cells U-NetPlusPlus resnet34"
    assert plan.full_name(TrainConfig(model="timm", task="classify", options={"backbone": "vgg16"})) == "timm vgg16"
    assert plan.full_name(TrainConfig()) == "DEIMv2 Atto"


# ---- the best epoch

def found_of_tags(**more):
    curve = {"fpr": [0, 0.5, 1], "tpr": [0, 1, 1], "threshold": [None, 0.5, 0.1]}
    rows = [{"name": "<cat>", "auroc": 0.75, "auroc_low": 0.6, "auroc_high": 0.9, "positives": 4, "negatives": 8, "f1": 0.5},
            {"name": "dog", "auroc": None, "positives": 0, "negatives": 12, "f1": None}]
    return {"epoch": 3, "metrics": {"auroc": 0.75, "ece": 0.1}, "per_class": rows,
            "curves": {"roc": {"<cat>": curve, "dog": None}, "pr": {}, "reliability": {"predicted": [0.2], "observed": [0.3], "count": [4]}, **more}}


def test_the_best_epoch_is_told_class_by_class_with_intervals_and_curves(run):
    run.write_validation(found_of_tags(confusion=[[[1, 2], [3, 4]], [[1, 2], [3, 4]]]))
    markup = validation.section(run, "classify", "en")
    assert "0.750 (0.60-0.90)" in markup
    assert "<cat>" not in markup
    assert markup.count("lb-chart-line") == 2  # one class has no curve; reliability
    assert "lb-matrix" not in markup


def test_classes_that_exclude_each_other_have_a_confusion_matrix(run):
    run.write_validation(found_of_tags(confusion=[[5, 1], [0, 6]]))
    markup = validation.section(run, "classify", "en")
    assert "lb-matrix" in markup
    assert "(83%)" in markup


def test_masks_have_a_table_without_curves_and_nothing_measured_shows_nothing(run):
    assert validation.section(run, "semantic", "en") == ""
    run.write_validation({"epoch": 1, "metrics": {"dice": 0.5}, "per_class": [{"name": "a", "dice": 0.5, "images": 3}], "curves": None})
    markup = validation.section(run, "semantic", "en")
    assert "0.500" in markup
    assert "lb-chart" not in markup


def test_the_figures_of_masks_say_over_what_they_are_taken(run):
    row = {"name": "a", "dice": 0.5, "dice_global": 0.6, "dice_with_empty": 0.4, "iou_with_empty": 0.3, "hausdorff95": 31.7109, "images": 3}
    run.write_validation({"epoch": 1, "metrics": {}, "per_class": [row], "curves": None})
    markup = validation.section(run, "semantic", "en")
    assert all(name in markup for name in ("Dice of all pixels", "Dice with empty images", "IoU with empty images", "Hausdorff 95 (px)"))
    assert ">31.7<" in markup
    assert messages.text("train.validation_columns.semantic", "en") in markup


def test_objects_with_outlines_have_a_table_that_sorts_and_of_many_classes_one_can_be_found(run):
    rows = [{"name": f"c{i}", "AP": 0.2, "AP50": 0.3, "mask_AP": 0.1, "mask_AP50": None, "objects": i} for i in range(500)]
    run.write_validation({"epoch": 1, "metrics": {"mask_AP50": 0.4, "boundary_AP": 0.05}, "per_class": rows, "curves": None})
    markup = validation.section(run, "instance", "en")
    assert markup.count("data-sort") == 5  # no class has a mask AP50 or a boundary AP yet: class, mask AP, AP50, AP and objects
    assert 'type="search"' in markup
    assert 'data-value="499"' in markup
    run.write_validation({"epoch": 1, "metrics": {}, "per_class": rows[:3], "curves": None})
    assert 'type="search"' not in validation.section(run, "instance", "en")


def test_a_plot_that_leaves_classes_out_says_so(run):
    rows = [{"name": f"c{i}", "auroc": 0.5} for i in range(validation.MOST_CURVES + 1)]
    line = {"fpr": [0.0, 1.0], "tpr": [0.0, 1.0]}

    def shown(count):
        found = {"roc": {row["name"]: line for row in rows[:count]}}
        run.write_validation({"epoch": 1, "metrics": {}, "per_class": rows[:count], "curves": found})
        return validation.section(run, "classify", "en")

    assert messages.text("plot.most_curves", "en", shown=12, all=13) in shown(13)
    assert "are drawn" not in shown(12)


def test_the_history_picture_can_be_kept(run):
    assert "<img" not in validation.history(run, "en")
    (run.folder / "training_history.png").write_bytes(b"png")
    markup = validation.history(run, "en")
    assert "<img" in markup
    assert "download=" in markup


def test_the_headline_is_the_metric_of_the_task(run):
    rows = [{"split": "valid", "step": 1, "epoch": 1, "time": 1.0, "dice": 0.8, "auroc": 0.65}]
    assert "Dice 0.80" in pictures.headline(run.state(), rows, "en", "semantic")
    told = pictures.headline(run.state(), rows, "en", "classify")
    assert "AUROC 0.65" in told
    assert messages.text("word.quality_classify_1", "en") in told
