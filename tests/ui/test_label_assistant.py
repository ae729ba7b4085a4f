"""What the canvas is told of a cross-check, and of labels of another kind: offered where they make sense, done, taken back, refused with words."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from engine import suggest_jobs
from engine.config import TrainConfig
from engine.datasets import editing
from engine.datasets.store import Dataset
from engine.runs import create, write_json
from engine.types import Instances, Polygons, Reading, Sample, Tags
from engine.workspace import Workspace
from ui.annotator import server

SQUARE = Instances([[4, 4, 24, 20]], [0], None, (Polygons((np.array([[4, 4], [24, 4], [24, 20], [4, 20]], float),)),))
VISITOR = SimpleNamespace(username=None, headers={}, query_params={})


@pytest.fixture
def bench(tmp_path, picture):
    def made(*labels, task="instance", demo=False):
        workspace = Workspace(tmp_path / "workspace")
        samples = [Sample(picture(tmp_path / f"{number}.png", seed=number), (64, 48), each, "train", None, f"{number}.png")
                   for number, each in enumerate(labels)]
        with workspace.stage() as stage:
            dataset = workspace.adopt(Dataset.create(stage / "set", "set", Reading(("cat", "dog"), iter(samples), task)))
        functions = {each.__name__: each for each in server.functions(workspace, demo=demo)}
        return SimpleNamespace(dataset=dataset, ask=lambda what, /, **sent: functions[f"label_{what}"](
            {"dataset": dataset.id, "language": "en", **sent}, VISITOR))
    return made


def test_labels_are_filled_in_for_one_image_or_all_and_taken_back(bench):
    desk = bench(SQUARE, SQUARE, None)
    told = desk.ask("derivable", image=3)
    assert told == {"kinds": [{"what": "masks_from_polygons", "here": False, "count": 2}], "complete": True, "looked": 2, "images": 2}
    assert desk.ask("derivable", image=1)["kinds"][0]["here"]
    one = desk.ask("derive", what="masks_from_polygons", image=1)
    assert one["images"] == 1 and desk.ask("open", image=1)["document"]["shapes"][0]["derived"]
    rest = desk.ask("derive", what="masks_from_polygons")
    assert rest["images"] == 1 and rest["edit"] != one["edit"]
    assert desk.ask("derive", what="masks_from_polygons") == {"images": 0, "edit": None}
    assert [each["what"] for each in desk.ask("derivable", image=1)["kinds"]] == ["polygons_from_masks"]
    for edit in (one["edit"], rest["edit"]):
        assert desk.ask("underive", edit=edit) == {"images": 1}
    assert desk.ask("open", image=1)["document"]["shapes"][0]["kind"] == "polygon"


def test_what_cannot_be_filled_in_or_taken_back_is_said(bench):
    desk = bench(SQUARE, Tags(np.array([1, 0])))
    assert desk.ask("derive", what="gold_from_lead")["error"]["key"] == "browse_unknown"
    assert desk.ask("derive", what="masks_from_polygons", image=99)["error"]["key"] == "image_unknown"
    moved = editing.move(desk.dataset, [1], "valid")
    assert desk.ask("underive", edit=moved.id)["error"]["key"] == "edit_unknown"
    made = desk.ask("derive", what="masks_from_polygons", image=1)
    desk.dataset.set_labels(1, None)
    assert "error" in desk.ask("underive", edit=made["edit"])


def test_a_set_of_tags_or_plain_boxes_has_nothing_to_fill_in(bench):
    assert bench(Tags(np.array([1, 0])), Instances([[1, 1, 9, 9]], [0])).ask("derivable", image=1)["kinds"] == []


def test_a_cross_check_says_what_it_costs_or_why_it_cannot_be(bench):
    desk = bench(*[SQUARE] * 6)
    assert desk.ask("crosscheck") == {"images": 6, "folds": 3, "minutes": 15.0, "model": "DEIMv2 Atto", "done": 0, "problem": ""}
    desk.dataset.set_labels(1, None)
    told = desk.ask("crosscheck")["problem"]
    assert "5 labeled images" in told and "needs 6" in told and "Label more images" in told
    assert desk.ask("job", work="kfold")["error"]["key"] == "cross_check_few"
    assert desk.ask("job", work="kfold", minutes="soon")["error"]["key"] == "option_bounds"


def test_a_cross_check_begins_without_any_model_and_tells_where_it_stopped(bench, monkeypatch):
    desk = bench(*[SQUARE] * 6)

    def stopped(folder):
        job = suggest_jobs._Job(Dataset(folder))
        job.progress = lambda done, total: None
        job.asked = True
        suggest_jobs.run(job)
        write_json(folder / suggest_jobs.FILE, {**job.now, "done": 420})
    monkeypatch.setattr(suggest_jobs, "_launch", stopped)
    job = desk.ask("job", work="kfold", minutes=2)["job"]
    assert (job["phase"], job["work"], job["done"], job["total"], job["folds"], job["source"]) == ("stopped", "kfold", 420, 1000, 3, "deimv2_atto")
    told = desk.ask("crosscheck")
    assert (told["minutes"], told["done"]) == (2.0, 0.42)
    desk.dataset.set_labels(1, Instances([[1, 1, 9, 9]], [0]))
    assert desk.ask("crosscheck")["done"] == 0


def test_why_a_model_cannot_judge_is_told_with_the_way_out(bench):
    desk = bench(SQUARE)
    write_json(desk.dataset.folder / suggest_jobs.FILE, {"phase": "failed", "work": "suspects", "error": {
        "key": "held_out_nothing", "values": {"model": "run", "name": "set"}}})
    assert "by cross-checking" in desk.ask("progress")["job"]["error"]


def test_a_demo_and_a_set_that_may_only_be_read_only_look(bench, monkeypatch):
    desk = bench(*[SQUARE] * 6, demo=True)
    for name in ("derive", "underive", "job"):
        assert desk.ask(name, what="masks_from_polygons", edit=1, work="kfold")["error"]["key"] == "demo_only_shows"
    assert desk.ask("derivable", image=1)["kinds"] and desk.ask("crosscheck")["problem"] == ""


def test_runs_of_one_set_are_told_apart_by_what_a_narrow_list_shows_and_none_is_missing_in_silence(bench):
    desk = bench(SQUARE)
    runs = desk.dataset.folder.parent.parent / "runs"
    for name, more in (("20261121-200501-set-Atto", {}), ("20261121-210601-set-Atto", {}), ("20261122-080000-new-Atto", {"unheard_of": 1})):
        made = create(runs / name, TrainConfig(data="/data/set", model="deimv2_atto"))
        made.best.write_bytes(b"weights")
        file = made.folder / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **more}))
    names = [name for name, _ in desk.ask("models")["models"]]
    assert sorted(names[:2]) == ["11-21 20:05 · set-Atto", "11-21 21:06 · set-Atto"]
    assert len(names) == 3 and names[2].startswith("11-22 08:00 · new-Atto") and "cannot be read" in names[2]
