"""Rows of a run become few points in stable colours; the schedule becomes a drawing."""

import re

import pytest

from engine.config import TrainConfig
from engine.recipe import plain_from
from ui import plots


def train_row(step, **terms):
    return {"split": "train", "step": step, "epoch": 1 + step // 10, "loss": sum(terms.values()), "lr": 1e-3, **terms}


def valid_row(epoch, **metrics):
    return {"split": "valid", "step": epoch * 10, "epoch": epoch, **metrics}


@pytest.mark.parametrize(("part", "family"), [
    ("loss_mal", "class"), ("loss_mal_aux_1", "class"), ("loss_bbox_dn_2", "bbox"), ("loss_giou_enc_0", "giou"), ("loss_fgl_dn_pre", "local"),
    ("loss_ddf", "local"), ("loss_mask_pre", "mask"), ("loss_focal_tversky", "tversky"), ("loss_dice", "dice"),
])
def test_loss_terms_belong_to_families(part, family):
    assert plots.family(part) == family


def test_terms_of_a_family_add_up_and_the_families_add_up_to_the_total():
    series = plots.loss_series([train_row(1, loss_mal=1.0, loss_mal_aux_0=2.0, loss_bbox=0.5)])
    assert series == {"total": [(1.0, 3.5)], "class": [(1.0, 3.0)], "bbox": [(1.0, 0.5)]}


def test_rows_of_validation_and_undefined_values_leave_gaps():
    rows = [train_row(1, loss_mal=1.0), valid_row(1, AP50=0.2, AP=None), valid_row(2, AP50=float("nan")), valid_row(3, AP50=0.4, best=True)]
    assert plots.metric_series(rows, ("AP50", "AP")) == {"AP50": [(1.0, 0.2), (3.0, 0.4)]}
    assert plots.best(rows, "AP50") == (0.4, 3)
    assert plots.best(rows, "AP") is None


@pytest.mark.parametrize("mean", [True, False])
def test_many_points_become_few_and_the_ends_stay(mean):
    points = [(float(i), float(i % 7)) for i in range(12_345)]
    few = plots.fewer(points, mean=mean)
    assert len(few) <= plots.LIMIT
    assert few[0] == points[0]
    assert few[-1][0] == points[-1][0]
    assert [at for at, _ in few] == sorted(at for at, _ in few)
    assert plots.fewer(points[:200]) == points[:200]


def test_averaging_keeps_the_level_of_a_noisy_curve():
    points = [(float(i), 10.0 + (-1) ** i) for i in range(10_000)]
    assert all(abs(value - 10) < 0.2 for _, value in plots.fewer(points, mean=True)[1:])


def test_a_frame_of_nothing_has_its_columns():
    frame = plots.frame({}, "step")
    assert list(frame.columns) == ["step", "value", "series"]
    assert len(frame) == 0


def test_a_plot_that_shows_other_curves_is_emptied_before_it_is_drawn():
    rows = [train_row(1, loss_mal=1.0, loss_bbox=0.2), train_row(2, loss_mal=0.5, loss_bbox=0.1)]
    first, drawn = plots.loss_update(rows, "en", plots.UNKNOWN)
    assert first.value is None
    assert drawn is None
    second, drawn = plots.loss_update(rows, "en", drawn)
    assert drawn == ("Total", "Class", "Box distance")
    colours = plots.LOSS_COLOURS
    assert second.color_map == {"Total": colours["total"], "Class": colours["class"], "Box distance": colours["bbox"]}
    third, again = plots.loss_update([*rows, train_row(3, loss_mal=0.4, loss_bbox=0.1)], "en", drawn)
    assert again == drawn
    assert len(third.value["data"]) == 9


def test_a_family_that_is_all_there_is_of_the_loss_has_no_curve_of_its_own():
    assert set(plots.loss_series([train_row(1, loss_focal_tversky=1.0)])) == {"total"}
    assert set(plots.loss_series([train_row(1, loss_dice=1.0, loss_ce=0.5)])) == {"total", "dice", "class"}


@pytest.mark.parametrize("families", [["total", "dice", "bce"], ["total", "class", "bbox", "giou", "local", "mask", "dice"]])
def test_every_curve_of_the_loss_has_a_colour_of_its_own(families):
    colours = plots.loss_colours(families)
    assert set(colours) == set(families)
    assert len(set(colours.values())) == len(families)


@pytest.mark.parametrize(("task", "first"), [("detect", "AP50"), ("semantic", "Dice"), ("classify", "AUROC")])
def test_the_metrics_of_the_runs_task_are_drawn(task, first):
    rows = [valid_row(1, AP50=0.1, AP=0.1, AP75=0.1, dice=0.5, iou=0.4, dice_global=0.5, auroc=0.8, average_precision=0.6, f1=0.5)]
    plot, drawn = plots.metric_update(rows, task, "en", None)
    assert drawn[0] == first
    assert len(drawn) == 3
    assert set(plot.color_map) == set(drawn)


def test_a_comparison_has_one_curve_a_run_and_the_loss_by_epoch():
    runs = {"a": [valid_row(1, AP50=0.1), valid_row(2, AP50=0.3)], "b": [train_row(1, loss_mal=2.0), train_row(2, loss_mal=4.0)]}
    _, drawn = plots.comparison_update(runs, "AP50", None)
    assert drawn == ("a",)
    loss, drawn = plots.comparison_update(runs, "loss", None)
    assert drawn == ("b",)
    assert loss.value["data"] == [[1.0, 3.0, "b"]]


@pytest.mark.parametrize(("steps", "epochs"), [(1, 1), (7, 2), (66, 6), (100_000, 300)])
def test_the_schedule_is_drawn_for_runs_of_any_length(steps, epochs):
    drawing = plots.schedule_picture(TrainConfig(), steps, epochs, "end <b>", "en")
    points = re.search(r'<polyline points="([^"]+)"', drawing).group(1).split()
    assert 2 <= len(points) <= plots.PICTURE_STEPS + 1
    assert "end &lt;b&gt;" in drawing
    assert ("Warm-up" in drawing) == (steps >= 20)


def test_the_marked_parts_of_the_schedule_cover_the_run_in_order():
    config = TrainConfig(warmup=0.1, flat=0.5, plain_tail=0.2)
    parts = plots._parts(config, 1000, 50)
    assert [name for name, _, _ in parts] == ["warmup", "flat", "cosine", "tail"]
    assert [end for _, _, end in parts][:-1] == [start for _, start, _ in parts][1:]
    assert parts[0][2] == 0.1
    assert parts[2][2] == (plain_from(config, 50) - 1) / 50


@pytest.mark.parametrize(("schedule", "named"), [("cosine", ["warmup", "cosine"]), ("plateau", ["warmup", "flat"])])
def test_other_schedules_are_marked_as_they_run(schedule, named):
    parts = plots._parts(TrainConfig(warmup=0.1, schedule=schedule), 1000, 50)
    assert [name for name, _, _ in parts] == named
    assert parts[-1][2] == 1.0
