"""The table of runs: facts, comparison, and the way to the trash."""

import pytest

from engine import runs
from engine.config import TrainConfig
from engine.types import UserError
from engine.workspace import Workspace
from ui.pages.runs import curves, shown, table
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
