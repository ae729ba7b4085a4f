"""The train page without a browser: what it says of the data, what it plans, and how it watches a run's folder."""

import dataclasses
import json
import os
from types import SimpleNamespace

import gradio as gr
import psutil
import pytest

import ui
from engine import messages, runs
from engine.config import TrainConfig
from engine.models import models
from engine.recipe import DataFacts, Machine, schedule_facts, suggest
from engine.runs import Run
from engine.types import UserError
from engine.workspace import Workspace
from ui.pages.train import data, monitor, pictures, plan, setup, words
from ui.pages.train.watch import Watch, look

SKIPPED = gr.skip()


def a_set(counts, classes=("cat", "dog"), name="<i>pets</i>", task="detect"):
    return SimpleNamespace(id="pets", name=name, task=task, classes=classes, counts=lambda: counts, folder="/data/pets", most_objects=lambda: {})


def split(images, boxes, unlabeled=0, classes=None):
    return {"images": images, "boxes": boxes, "unlabeled": unlabeled, "classes": classes or {}}


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def run(workspace):
    made = runs.create(workspace.runs_folder / "20261121-050650-pets-Atto", TrainConfig(data="/data/pets", epochs=4))
    me = psutil.Process()
    made.write_state(phase="running", pid=os.getpid(), pid_started=me.create_time(), epoch=1, epochs=4)
    return made


def row(step, **values):
    return {"time": 100.0 + step, "step": step, "epoch": 1 + step // 10, "split": "train", "loss": 3.0, "loss_mal": 1.0, "loss_mal_aux_0": 1.0,
            "loss_bbox": 1.0, "lr": 1e-3, **values}


# ---- data

def test_a_validation_part_that_will_be_split_off_is_counted_off():
    assert data.facts(a_set({"train": split(100, 500)})) == DataFacts(80, 20, 2)
    assert data.facts(a_set({"train": split(100, 500, unlabeled=40), "valid": split(10, 9)})) == DataFacts(60, 10, 2)


@pytest.mark.parametrize(("counts", "words_said"), [
    ({"train": split(100, 0)}, "nothing to learn"), ({"train": split(100, 500)}, "20 %"),
    ({"train": split(9, 50), "valid": split(2, 4)}, "9 training"),
    ({"train": split(90, 50, unlabeled=12), "valid": split(2, 4)}, "12 training"),
    ({"train": split(90, 50, classes={"cat": 3}), "valid": split(2, 4)}, "cat"),
])
def test_the_card_warns_of_what_makes_a_poor_training(counts, words_said):
    assert any(words_said in words for _, words in data.warnings(a_set(counts), "en"))


# ---- models that fit the data

@pytest.fixture
def offered(monkeypatch):
    """The registry's models are those given as (name, task) for the length of a test."""
    def only(*pairs):
        first = next(iter(models.entries().values()))
        monkeypatch.setattr(models, "_entries", {name: dataclasses.replace(first, name=name, task=task) for name, task in pairs})
    return only


def labeled(task):
    return a_set({"train": split(90, 0, classes={"cat": 40, "dog": 50}), "valid": split(9, 0, classes={"cat": 9})}, task=task)


@pytest.mark.parametrize("task", ["classify", "semantic"])
def test_a_set_that_no_model_can_learn_folds_the_choice_away_and_says_why(offered, task):
    offered(("boxes", "detect"))
    chosen = labeled(task)
    radio, *steps = setup.models_for(chosen, "boxes", "en")
    assert (radio["choices"], radio["value"]) == ([], None)
    assert [step["visible"] for step in steps] == [False, False]
    why = data.obstacle(chosen, "en")
    assert messages.text(f"task.{task}", "en") in why
    assert any(words == why for _, words in data.warnings(chosen, "en"))
    with pytest.raises(UserError) as refused:
        data.pick_model(chosen, "boxes")
    assert refused.value.key == "no_model_for_task"


@pytest.mark.parametrize("task", ["classify", "semantic"])
def test_models_show_as_soon_as_one_of_the_sets_task_is_registered(offered, task):
    offered(("boxes", "detect"), ("other", task))
    radio, *steps = setup.models_for(labeled(task), "boxes", "en")
    assert [name for _, name in radio["choices"]] == ["other"]
    assert radio["value"] == "other"
    assert [step["visible"] for step in steps] == [True, True]
    assert data.obstacle(labeled(task), "en") == ""
    assert data.pick_model(labeled(task), "boxes") == "other"


def test_outlines_are_learned_by_models_for_boxes_and_areas_too(offered):
    offered(("boxes", "detect"), ("areas", "semantic"), ("shapes", "instance"))
    chosen = a_set({"train": split(90, 400)}, task="instance")
    assert [spec.name for spec in data.models_of(chosen)] == ["shapes", "boxes", "areas"]
    assert data.pick_model(chosen, "boxes") == "boxes"


def test_a_set_without_labels_says_so_at_the_start_button():
    assert "nothing to learn" in data.obstacle(a_set({"train": split(100, 0)}), "en")
    assert data.obstacle(None, "en")


def test_names_of_people_are_escaped():
    card = data.card(a_set({"train": split(90, 900), "valid": split(9, 9)}, classes=("<script>", "b")), "en")
    assert "<i>pets" not in card
    assert "<script>" not in card


def test_weights_are_chosen_by_id_and_never_by_path(workspace, run):
    (workspace.weights / "mine.pth").write_bytes(b"x")
    (workspace.weights / "notes.txt").write_bytes(b"x")
    run.best.write_bytes(b"x")
    assert set(data.weights_files(workspace)) == {"weights/mine.pth", f"runs/{run.id}"}
    assert data.weights_file(workspace, "weights/mine.pth") == str(workspace.weights / "mine.pth")
    assert data.weights_file(workspace, None) == "auto"
    for bad in ("/etc/passwd", "weights/../mine.pth", "weights/notes.txt"):
        with pytest.raises(UserError):
            data.weights_file(workspace, bad)


def test_a_double_click_is_answered_with_the_run_of_its_first():
    starts, made = data.Starts(), []

    def create():
        made.append(len(made))
        return Run(f"/runs/{len(made)}")

    first = starts.once("tab 1", TrainConfig(), create)
    assert starts.once("tab 1", TrainConfig(), create) is first
    assert starts.once("tab 1", TrainConfig(seed=1), create) is not first
    assert starts.once("tab 2", TrainConfig(seed=1), create) is not first
    assert len(made) == 3


# ---- plan

def test_only_the_chosen_length_counts():
    values = {"minutes": "5", "epochs": "9"}
    chosen = {length: plan.asked(values, length, data="d", model="deimv2_atto") for length in plan.LENGTHS}
    assert [(each.minutes, each.epochs) for each in chosen.values()] == [(0, 0), (5, 0), (0, 9)]


def test_a_demo_trains_for_minutes_only():
    for length, values in (("suggested", {}), ("epochs", {"epochs": 1}), ("minutes", {"minutes": 60})):
        with pytest.raises(UserError):
            plan.asked(values, length, data="d", model="deimv2_atto", demo=True)
    assert plan.asked({"minutes": 2}, "minutes", data="d", model="deimv2_atto", demo=True).minutes == 2


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_a_plan_says_every_value_with_its_reason(language):
    proposal = plan.propose(TrainConfig(epochs=12, device="cpu"), DataFacts(100, 20, 3))
    shown = plan.picture(proposal, language)
    assert proposal.steps == 12 * (100 // proposal.plan.config.batch)
    assert "reason." not in shown
    assert "option." not in shown
    assert "{" not in shown


def test_the_length_of_a_run_by_minutes_is_not_made_up():
    assert plan.propose(TrainConfig(minutes=5, device="cpu"), DataFacts(100, 20, 3)).steps == 0


@pytest.mark.parametrize("name", models.names())
@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_every_model_says_when_to_take_it(name, language):
    lines = plan.model_card(models.get(name), language).split("\n")
    assert len(lines) == 3
    assert lines[0] == plan.shown_name(name, language)
    assert language != "en" or lines[0] == plan.display_name(name)


# ---- words

@pytest.mark.parametrize(("seconds", "text"), [(None, "–"), (4.4, "4 s"), (200, "3 min 20 s"), (3900, "1 h 05 min")])
def test_durations_are_told_in_words(seconds, text):
    assert words.duration(seconds, "en") == text


@pytest.mark.parametrize("language", messages.LANGUAGES)
@pytest.mark.parametrize("phase", ["queued", *runs.ACTIVE, *runs.FINISHED])
def test_every_phase_has_words(phase, language):
    assert {f"phase.{phase}", f"train.now_{phase}"} <= messages.catalogue(language).keys()


# ---- watching

def test_each_look_reads_only_what_is_new(run):
    watch = Watch(run.id)
    assert look(watch, run).state_changed
    run.append_metrics(row(1))
    assert look(watch, run).rows
    news = look(watch, run)
    assert not (news.rows or news.state_changed or news.log)
    assert news.previews is None
    run.append_metrics(row(2))
    look(watch, run)
    assert [each["step"] for each in watch.rows] == [1, 2]
    assert watch.rows[0]["loss_class"] == 2.0


def test_rows_that_a_resumed_run_drops_are_dropped_here_too(run):
    watch = Watch(run.id)
    for step in (1, 2, 3):
        run.append_metrics(row(step))
    look(watch, run)
    run.forget_metrics_after(1)
    run.append_metrics(row(2, loss=9.0))
    look(watch, run)
    assert [(each["step"], each["loss"]) for each in watch.rows] == [(1, 3.0), (2, 9.0)]


def test_a_tick_without_news_changes_nothing(workspace, run):
    run.append_metrics(row(1))
    first = monitor.tick(workspace, run.id, None, "en")
    watch = first[-1]
    assert isinstance(watch, Watch)
    second = monitor.tick(workspace, run.id, watch, "en")
    assert second[3].color_map
    assert all(each == SKIPPED for each in monitor.tick(workspace, run.id, watch, "en"))


def test_a_form_on_show_or_an_unknown_run_changes_nothing(workspace):
    for shown in ("", "gone", "../.."):
        assert all(each == SKIPPED for each in monitor.tick(workspace, shown, None, "en"))


def test_the_newest_run_that_trains_is_found_and_waiting_ones_after_it(workspace, run):
    waiting = runs.create(workspace.runs_folder / "waiting", TrainConfig())
    assert monitor.newest_active(workspace).id == run.id
    run.write_state(phase="done")
    assert monitor.newest_active(workspace).id == waiting.id


def test_a_waiting_run_is_stopped_without_ever_starting(workspace):
    waiting = runs.create(workspace.runs_folder / "waiting", TrainConfig())
    monitor.stop(workspace, waiting.id)
    assert waiting.state()["phase"] == "stopped"
    with pytest.raises(UserError):
        monitor.stop(workspace, "gone")


def test_a_failure_is_told_with_cause_remedy_and_the_end_of_the_log(run):
    (run.folder / "log.txt").write_text("".join(f"line {i} <b>\n" for i in range(100)))
    run.write_state(phase="failed", error={"key": "out_of_memory", "values": {"batch": 32, "size": 640}})
    card = pictures.failure(run, run.state(), "en")
    assert "32" in card
    assert "Halve the batch" in card
    assert "line 99 &lt;b&gt;" in card
    assert "line 59" not in card


@pytest.mark.parametrize("error", [None, "text", {"key": 3}, {"key": "new_key_of_a_later_version", "values": None}])
def test_a_failure_that_says_little_is_told_all_the_same(run, error):
    run.write_state(phase="failed", error=error)
    assert "lb-failure" in pictures.failure(run, run.state(), "en")


def test_a_half_written_preview_waits_for_the_next_look(run):
    (run.folder / "previews" / "epoch_00001_0.jpg").write_bytes(b"\xff\xd8\xff")
    watch = Watch(run.id)
    markup, complete = pictures.previews(look(watch, run).previews, "en")
    assert not complete
    assert "<img" not in markup


def test_progress_is_known_from_the_epochs():
    state = {"phase": "running", "epoch": 2, "epochs": 4}
    assert pictures.progress(state) == 0.25
    assert pictures.progress({**state, "phase": "done"}) == 1.0
    assert pictures.progress({**state, "epochs": 0}) is None
    assert pictures.progress({**state, "phase": "stopped"}) == 0.25, "the epoch in which it was stopped is not finished"


def test_a_pause_is_not_counted_as_time(run):
    assert pictures.elapsed([{"time": 0.0}, {"time": 10.0}, {"time": 10_000.0}, {"time": 10_005.0}]) == 15.0
    assert pictures.elapsed([{"time": 1.0}]) is None


def test_a_short_pause_is_not_counted_either():
    """Rows say how long was trained; a validation ends later than the row before it."""
    first = [{"time": 0.0, "trained_s": 2.0}, {"time": 10.0, "trained_s": 12.0}, {"time": 13.0}]
    assert pictures.elapsed(first) == 15.0
    assert pictures.elapsed([*first, {"time": 83.0, "trained_s": 20.0}, {"time": 86.5}]) == 23.5
    assert pictures.elapsed([{"time": 1.0, "trained_s": 2.0}]) == 2.0


def test_a_damaged_state_does_not_stop_the_page(workspace, run):
    (run.folder / "state.json").write_text("{")
    assert json.dumps(str(monitor.tick(workspace, run.id, None, "en")[0]))


@pytest.mark.parametrize("language", messages.LANGUAGES)
@pytest.mark.parametrize("pretrained", [True, False])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_reason_is_a_full_sentence(device, pretrained, language):
    for name in models.names():
        found = suggest(TrainConfig(), models.get(name), DataFacts(500, 50, 3), Machine(device, 24.0, 8), pretrained=pretrained)
        for derived in (*found.derived, *schedule_facts(found.config, 1000, 20)):
            assert not derived.because(language).startswith("reason."), derived.reason
            assert "{" not in derived.because(language)
            assert not derived.label(language).startswith("option.")


def test_another_data_set_asks_no_model_of_the_last_one_anything(workspace):
    """What is checked against choices that have just been replaced ends in a message that nobody understands."""
    blocks = ui.build(workspace)
    known = {getattr(block, "elem_id", None): block._id for block in blocks.blocks.values()}
    asked = [each for each in blocks.fns.values() if (known["lb-dataset"], "change") in each.targets]
    assert asked and {each.name for each in asked if known["lb-train-model"] in [part._id for part in each.inputs] and each.preprocess} == set()
