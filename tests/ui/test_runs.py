"""The table of runs: facts, comparison, and the way to the trash."""

import pytest
import torch

from engine import runs
from engine.config import TrainConfig
from engine.types import UserError
from engine.workspace import Workspace
from ui.pages.runs import compared, comparison, curves, shown, table
from ui.pages.train import groups
from ui.pages.train.monitor import all_runs


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path)


def make(workspace, name, phase="done", curve=(0.1, 0.5, 0.4), **config):
    run = runs.create(workspace.runs_folder / name, TrainConfig(data="/data/<pets>", **config))
    for epoch, value in enumerate(curve, 1):
        run.append_metrics({"time": 10.0 * epoch, "step": epoch, "epoch": epoch, "split": "valid", "AP50": value})
    run.write_state(phase=phase, epoch=len(curve), epochs=3)
    return run


def test_a_line_tells_the_best_value_the_curve_and_the_time(workspace):
    line = table.line_of(make(workspace, "a"), {})
    assert (line.best, line.curve, line.seconds) == ((0.5, 2), (0.1, 0.5, 0.4), 20.0)


def test_facts_are_read_again_only_when_the_file_changed(workspace):
    run = make(workspace, "a")
    before = table.signature([run], "en")
    assert table.signature([run], "en") == before
    run.append_metrics({"time": 90.0, "step": 9, "epoch": 4, "split": "valid", "AP50": 0.9})
    assert table.signature([run], "en") != before
    assert table.line_of(run, {}).best == (0.9, 4)


def test_the_table_escapes_and_survives_a_damaged_run(workspace):
    make(workspace, "a")
    broken = make(workspace, "b")
    (broken.folder / "config.json").write_text("{")
    markup = table.table_html(table.lines(workspace, all_runs(workspace)), ["a"], "en")
    assert "<pets>" not in markup
    assert markup.count("data-open") == 2
    assert markup.count(" checked") == 1


def test_an_empty_table_says_what_will_stand_there(workspace):
    assert "lb-empty" in table.table_html([], [], "en")


def test_buttons_follow_what_is_ticked(workspace):
    make(workspace, "a")
    make(workspace, "b", phase="stopped")
    one, two = shown(workspace, ["b"], "en"), shown(workspace, ["a", "b", "gone"], "en")
    assert [each.visible for each in one[3:7]] == [True, False, True, True]
    assert [each.visible for each in two[3:7]] == [False, False, False, True]
    assert two[1] == ["b", "a"] or two[1] == ["a", "b"]
    assert two[9].visible


def test_a_comparison_shows_what_differs(workspace):
    pair = [make(workspace, "a", lr=0.001), make(workspace, "b", epochs=7)]
    markup = table.difference_html(pair, "en")
    assert "0.001" in markup
    assert "suggested" in markup
    assert "Random seed" not in markup
    _, drawn = curves(workspace, ["a", "b"], "AP50", None)
    assert set(drawn) == {"a", "b"}


def test_runs_of_one_name_are_told_apart(workspace):
    pair = [make(workspace, "20260101-000000-pets"), make(workspace, "20260102-000000-pets")]
    assert table.name_among(pair[0], pair) != table.name_among(pair[1], pair)
    assert table.name_among(pair[0], pair[:1]) == "pets"


def test_a_deleted_run_lies_in_the_trash(workspace):
    run = make(workspace, "a")
    target = table.move_to_trash(workspace, run)
    assert not all_runs(workspace)
    assert target.parent == workspace.root / "trash"
    assert (target / "config.json").is_file()


def test_a_run_that_trains_is_not_deleted(workspace):
    import os

    import psutil

    run = make(workspace, "a")
    run.write_state(phase="running", pid=os.getpid(), pid_started=psutil.Process().create_time())
    with pytest.raises(UserError):
        table.move_to_trash(workspace, run)
    assert run.exists()


# ---- comparisons of a group

def compared_runs(workspace, **metrics):
    group = groups.new("pets")
    made = []
    for backbone, value in (("resnet18", 0.7), ("resnet50", 0.9)):
        run = runs.create(workspace.runs_folder / backbone, TrainConfig(model="timm", task="classify", options={"backbone": backbone}))
        run.append_metrics({"time": 1.0, "step": 1, "epoch": 1, "split": "train", "loss": 1.0, "images_per_s": 12.0})
        run.append_metrics({"time": 9.0, "step": 1, "epoch": 1, "split": "valid", "auroc": value})
        run.write_validation({"epoch": 1, "metrics": {"auroc": value, **metrics}, "per_class": []})
        run.write_state(phase="done", memory_gib=1.5)
        groups.mark(run, group)
        made.append(run)
    return group, made


def test_a_comparison_tells_what_was_measured_of_each_run(workspace):
    group, made = compared_runs(workspace, auroc_low=0.6, auroc_high=0.95)
    markup = comparison.table_html(group, made, "en")
    assert "timm resnet50" in markup
    assert "<b>0.900</b>" in markup
    assert "<b>0.700</b>" not in markup
    assert "(0.60-0.95)" in markup
    assert 'data-value="12.0"' in markup
    assert 'data-value="1.5"' in markup
    assert markup.count("data-sort") == len(comparison.HEAD)


def test_parameters_are_counted_in_the_weights_without_running_statistics(workspace):
    _, (run, _) = compared_runs(workspace)
    assert comparison.measured(run).parameters is None
    torch.save({"model": {"a.weight": torch.zeros(500, 1000), "bn.running_mean": torch.zeros(9)}}, run.best)
    assert comparison.measured(run).parameters == 0.5
    run.best.write_bytes(b"broken")
    assert comparison.measured(run).parameters is None


def test_the_page_shows_the_newest_comparison_and_none_when_there_is_none(workspace):
    assert not compared(workspace, None, "en")[0].visible
    group, _ = compared_runs(workspace)
    frame, chosen, markup = compared(workspace, "gone", "en")
    assert frame.visible
    assert chosen.value == group.key
    assert "resnet18" in markup


def test_runs_are_measured_by_the_metric_of_their_task(workspace):
    _, made = compared_runs(workspace)
    line = table.line_of(made[0], {})
    assert (line.metric, line.best) == ("auroc", (0.7, 1))
    assert "AUROC" in table.table_html([line], [], "en")
    _, drawn = curves(workspace, [run.id for run in made], "AP50", None)
    assert set(drawn) == {"resnet18", "resnet50"}
    assert [name for _, name in shown(workspace, [run.id for run in made], "en")[11]["choices"]] == ["auroc", "average_precision", "f1", "loss"]
