"""The labeling canvas: its modules tested by node, the script that the page gets, and what it may ask the server."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from engine import messages
from engine.datasets import labeling_suggested
from engine.types import Instances, Reading, Sample
from engine.workspace import Workspace
from ui import annotator
from ui.annotator import server

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "ui" / "annotator").glob("*.js"))
VISITOR = SimpleNamespace(query_params={}, cookies={}, headers={}, username="小明")


@pytest.fixture(scope="module")
def node():
    program = shutil.which("node")
    if program is None:
        reason = "node is not there; install it with: apt-get install nodejs"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return program


def test_the_modules_pass_their_own_tests(node):
    files = map(str, sorted((ROOT / "tests" / "annotator").glob("*.test.mjs")))
    done = subprocess.run([node, "--test", *files], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_the_script_of_the_page_is_one_valid_function(node, tmp_path):
    script = annotator.script()
    assert not re.search(r"^(import|export)\b", script, re.MULTILINE)
    (tmp_path / "whole.js").write_text(f"'use strict';\n(function (element, props, server, watch, trigger) {{\n{script}\n}});\n", encoding="utf-8")
    done = subprocess.run([node, "--check", str(tmp_path / "whole.js")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_every_module_stands_in_the_script_once_after_what_it_needs():
    order = annotator._in_order(annotator.ENTRY)
    assert sorted(order) == [module.name for module in MODULES]
    for name in order:
        needs = annotator.IMPORT.findall((ROOT / "ui" / "annotator" / name).read_text("utf-8"))
        assert all(order.index(needed) < order.index(name) for needed in needs)


def test_the_modules_are_short_and_reach_no_host():
    for module in MODULES:
        text = module.read_text(encoding="utf-8")
        assert text.count("\n") <= 300, module.name
        assert not re.search(r"https?://|fetch\(|XMLHttpRequest|eval\(|document\.write|insertAdjacentHTML", text), module.name
    assert sum(module.read_text("utf-8").count("innerHTML") for module in MODULES) == 1  # icons, which are constants


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_every_text_that_the_modules_ask_for_is_in_the_catalogue(language):
    known = messages.catalogue(language)
    asked = set()
    for module in MODULES:
        text = module.read_text(encoding="utf-8")
        asked |= set(re.findall(r"\btext\('([\w.]+)'", text)) | {f"hint.{key}" for key in re.findall(r"\bsay\('(\w+)'[,)]", text)}
        asked |= {f"key.{key}" for _, _, key in re.findall(r"\['(work|tools|edit|view)', '([^']*)', '(\w+)'\]", text)}
    assert len(asked) > 80
    assert sorted(key for key in asked if f"{server.PREFIX}{key}" not in known) == []


# ---- the server's side

@pytest.fixture
def bench(tmp_path, picture):
    workspace = Workspace(tmp_path / "workspace")
    labels = [Instances(np.array([[1, 2, 30, 20]]), np.array([1])), None, None]
    samples = [Sample(picture(tmp_path / f"{number}.png"), (64, 48), each, "train", None, f"{number}.png") for number, each in enumerate(labels)]
    with workspace.stage() as stage:
        made = server.Dataset.create(stage / "set", "set", Reading(("猫", "<i>dog</i>"), iter(samples), "detect"))
        dataset = workspace.adopt(made)
    functions = {each.__name__: each for each in server.functions(workspace, demo=False)}
    return SimpleNamespace(workspace=workspace, dataset=dataset,
                           ask=lambda what, /, **sent: functions[f"label_{what}"]({"dataset": dataset.id, "language": "en", **sent}, VISITOR))


def test_the_canvas_begins_with_the_first_image_that_nobody_looked_at(bench):
    begun = bench.ask("begin")
    assert [each["name"] for each in begun["classes"]] == ["猫", "<i>dog</i>"] and begun["classes"][0]["color"] == "#E69F00"
    assert begun["first"] == 2 and not begun["readOnly"] and begun["texts"]["saved"] == "Saved {at}"
    assert bench.ask("begin", language="zh-TW")["texts"]["classes"] == "類別"


def test_an_image_is_opened_saved_and_kept(bench):
    opened = bench.ask("open", image=1)
    assert (opened["size"], opened["state"], opened["document"]["mark"]) == ([64, 48], "labeled", None)
    content = {**opened["document"], "shapes": [*opened["document"]["shapes"], {"kind": "box", "cls": 0, "box": [3, 3, 9, 9]}]}
    saved = bench.ask("save", image=1, document=content, expected=opened["revision"], token="t")
    assert saved["who"] == "小明" and saved["revision"] > opened["revision"]
    assert len(bench.dataset.row(1).labels) == 2
    late = bench.ask("save", image=1, document=content, expected=opened["revision"], token="u")
    assert late["conflict"]["token"] == "t" and len(late["conflict"]["document"]["shapes"]) == 2
    versions = bench.ask("versions", image=1)["versions"]
    assert [(each["count"], each["who"]) for each in versions] == [(1, "小明")]
    assert len(bench.ask("restore", image=1, revision=versions[0]["revision"])["document"]["shapes"]) == 1


def test_pictures_and_the_queue_come_as_data(bench):
    assert bench.ask("picture", image=1)["url"].startswith("data:image/png;base64,")
    found = bench.ask("queue", around=2, state="")
    assert [image for image, _ in found["images"]] == [1, 2, 3] and found["counts"]["unlabeled"] == 2
    thumbs = bench.ask("thumbs", ids=[1, 99, "x", True])
    assert thumbs["1"].startswith("data:image/webp;base64,") and thumbs["99"] is None and set(thumbs) == {"1", "99"}


def test_a_class_is_added_by_its_name(bench):
    assert bench.ask("class", name=" 鸟 ")["cls"] == 2
    assert bench.ask("class", name="猫")["cls"] == 0
    assert bench.ask("class", name=" ")["error"]["key"] == "class_name_empty"


@pytest.mark.parametrize(("name", "sent"), [
    ("open", {"image": 99}), ("open", {"image": "1"}), ("open", {}), ("picture", {"image": -1}), ("begin", {"dataset": "../set"}),
    ("save", {"image": 1, "document": {"shapes": 7}, "expected": 0}), ("save", {"image": 1, "document": None}), ("queue", {"state": "admired"}),
    ("queue", {"around": 1.5}), ("restore", {"image": 1, "revision": 0}),
    ("save", {"image": 1, "expected": 0, "document": {"looked": True, "shapes": [], "tags": None, "mark": {"a": 1}}}),
])
def test_what_makes_no_sense_is_answered_with_words(bench, name, sent):
    told = bench.ask(name, **sent)["error"]
    assert told["message"] and told["key"] != "bug"


def test_a_demo_shows_and_saves_nothing(bench):
    functions = {each.__name__: each for each in server.functions(bench.workspace, demo=True)}
    sent = {"dataset": bench.dataset.id, "image": 1, "document": {"looked": True, "shapes": [], "tags": None}, "expected": 0, "name": "x"}
    assert functions["label_begin"](sent, VISITOR)["readOnly"]
    changing = ("save", "class", *server.CHANGING)
    assert {functions[f"label_{name}"](sent, VISITOR)["error"]["key"] for name in changing} == {"demo_only_shows"}


def test_the_queue_takes_an_order_and_filters(bench):
    assert [image for image, _ in bench.ask("queue", order="rare", around=0)["images"]] == [1, 2, 3]
    assert [image for image, _ in bench.ask("queue", cls=1)["images"]] == [1]
    assert [image for image, _ in bench.ask("queue", text="2.", split="train", state="unlabeled")["images"]] == [3]
    assert bench.ask("queue", state="unseen")["images"] == []
    assert bench.ask("queue", order="prettiest")["error"]["key"] == "browse_unknown"


def test_suggestions_come_back_with_the_image_and_are_accepted_in_all_others(bench):
    shape = {"kind": "box", "cls": 0, "box": [2, 2, 20, 20], "state": "suggested", "score": 0.8}
    for image in (2, 3):
        labeling_suggested.put(bench.dataset, image, labeling_suggested.Suggestion("m", "2026-11-21T10:00:00Z", [shape]))
    opened = bench.ask("open", image=2)
    assert (opened["state"], opened["source"], opened["document"]["shapes"][0]["score"]) == ("suggested", "m", 0.8)
    assert bench.ask("models")["waiting"] == 2
    assert bench.ask("accept", threshold=0.9, image=2)["images"] == 0
    assert bench.ask("accept", threshold=0.5, image=2)["images"] == 1
    assert bench.ask("open", image=3)["unseen"]
    assert bench.dataset.row(2).labels is None and len(bench.dataset.row(3).labels) == 1
    assert bench.ask("discard", image=3)["images"] == 1


def test_a_pasted_list_adds_each_class_once(bench):
    told = bench.ask("classes", text=" 鸟 \n\n猫\nfish, red\n鸟\n")
    assert [each["name"] for each in told["classes"]] == ["猫", "<i>dog</i>", "鸟", "fish, red"]
    assert (told["added"], bench.ask("classes", text="a, b；c、d")["added"]) == (2, 4)
    assert bench.ask("classes", text=" \n ")["error"]["key"] == "class_name_empty"
    assert bench.ask("classes", text="\n".join(map(str, range(1001))))["error"]["key"] == "option_bounds"


def test_an_object_that_is_pointed_at_is_answered_and_not_stored(bench):
    before = bench.ask("open", image=2)["revision"]
    found = bench.ask("segment", image=2, inside=[[20, 20]], window=[0, 0, 64, 48])
    assert found["mask"] is None or found["mask"]["size"] == [48, 64]
    assert bench.ask("open", image=2)["revision"] == before


@pytest.mark.parametrize(("name", "sent"), [
    ("look", {"image": 1, "model": "../x"}), ("job", {"work": "suggest", "model": "none"}), ("accept", {"threshold": "x"}),
    ("accept", {"threshold": 7}), ("segment", {"image": 1, "inside": [[1]]}), ("segment", {"image": 1, "inside": [["a", 1]]}),
    ("segment", {"image": 1}), ("segment", {"image": 1, "inside": [[1e9, 1]]}), ("segment", {"image": 1, "inside": [[5, 5]], "box": [1, 2]}),
    ("segment", {"image": 1, "inside": "x"}),
    ("segment", {"image": 1, "inside": [[float("nan"), 5]]}),
])
def test_what_the_assistant_cannot_do_is_answered_with_words(bench, name, sent):
    told = bench.ask(name, **sent)["error"]
    assert told["message"] and told["key"] != "bug"
