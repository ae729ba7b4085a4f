"""The set itself: its header, what was done to it last, and what the page's parts share."""

import threading
from datetime import UTC, datetime, timedelta

import gradio as gr
import pytest

import ui
from engine.datasets import editing, health
from engine.types import UserError
from engine.workspace import Workspace
from ui.html import tag
from ui.pages import data
from ui.pages.data import words
from ui.pages.data.panel import Panel, Room, ids_of, together
from ui.pages.data.stops import Stopped, Stops


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def dataset(workspace, yolo_folder):
    labels = {f"image{i:02d}": f"{i % 2} 0.5 0.5 0.5 0.5\n" for i in range(30)}
    folder = yolo_folder({"train": {**labels, "bare": None}, "valid": {"c": "1 0.5 0.5 0.25 0.5\n"}})
    return workspace.import_dataset(folder, "<b>pets</b> & co")[0]


def test_the_header_has_name_numbers_and_classes_and_escapes_them(dataset):
    shown = words.header(dataset, "en")
    assert "&lt;b&gt;pets&lt;/b&gt; &amp; co" in shown and "<b>pets" not in shown
    for part in ("32", "31", "cat", "dog", "train", "valid", "Detection", "YOLO"):
        assert part in shown


def test_a_set_that_nobody_has_checked_is_neither_good_nor_bad(workspace, yolo_folder):
    dataset = workspace.import_dataset(yolo_folder({"train": {"a": "0 0.5 0.5 0.5 0.5\n"}}, name="clean"), "clean")[0]
    assert words.health(dataset, "en") == ("none", "Not checked yet")
    health.examine(dataset)
    assert words.health(dataset, "en")[0] in ("good", "warn")


def test_a_note_of_the_import_alone_makes_no_set_good(workspace, yolo_folder):
    noted = workspace.import_dataset(yolo_folder({"train": {"a": "0 0.5 0.5 0.5 0.5\n", "b": None}}, name="noted"), "noted")[0]
    assert [each.severity for each in noted.problems()] == ["note"]
    assert words.health(noted, "en") == ("none", "Not checked yet")


def test_counts_in_words_know_one_from_many(workspace, yolo_folder):
    single, _ = workspace.import_dataset(yolo_folder({"train": {"a": "0 0.5 0.5 0.5 0.5\n"}}, yaml="train: train/images\nnames: [cat]\n"), "one")
    assert words.counts_in_words(single, "en") == "1 image · 1 object · 1 class"


def test_many_classes_end_in_the_way_to_all_of_them(workspace, yolo_folder):
    names = ", ".join(f"c{i}" for i in range(40))
    many, _ = workspace.import_dataset(yolo_folder({"train": {"a": "0 0.5 0.5 0.5 0.5\n"}}, yaml=f"train: train/images\nnames: [{names}]\n"), "many")
    shown = words.class_chips(many, "en")
    assert shown.count("lb-swatch") == words.MOST_CHIPS and "All 40 classes" in shown


def test_the_header_offers_to_take_back_the_last_change(dataset):
    assert "lb-last-change" not in words.header(dataset, "en", data.last_change(dataset))
    editing.move(dataset, [1, 2], "valid")
    last = data.last_change(dataset)
    shown = words.header(dataset, "en", last)
    assert f'data-edit="{last.id}"' in shown and "Images moved to valid: 2" in shown
    assert "验证" in words.edit_text(last, "zh-CN")
    editing.undo(dataset, last.id)
    assert data.last_change(dataset) is None


def test_a_demo_has_no_button_that_changes(dataset):
    editing.move(dataset, [1], "valid")
    shown = data.set_header(dataset, "en", True)
    assert "data-send=\"delete\"" not in shown and "data-send=\"undo\"" not in shown and "data-send=\"export\"" in shown


@pytest.mark.parametrize(("ago", "text"), [(5, "just now"), (120, "2 minutes ago"), (3600, "1 hour ago"), (3 * 86400, "3 days ago")])
def test_times_are_told_as_people_would(ago, text):
    stamp = (datetime.now(UTC) - timedelta(seconds=ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert words.when(stamp, "en") == text
    assert words.when("nonsense", "en") == "nonsense" and words.when("2020-01-02T03:04:05Z", "en") == "2020-01-02"


def test_names_without_a_text_stay_as_they_are():
    assert words.split_name("fold<1>", "en") == "fold<1>" and words.split_name("valid", "zh-TW") == "驗證"
    assert words.format_name("unheard_of", "en") == "unheard_of" and words.format_name("coco", "en") == "COCO"


def test_only_whole_numbers_are_image_ids():
    assert ids_of([1, 2, "3", True, None, 4.0, {}]) == [1, 2]
    assert ids_of("12") == ids_of(None) == []


def test_several_edits_are_one_entry_and_none_when_nothing_changes(dataset):
    edit = together(dataset, "splits_dealt", {"count": 2}, lambda: [editing.move(dataset, [1], "test"), editing.move(dataset, [2], "test")])
    assert edit.action == "splits_dealt" and len(editing.edits(dataset)) == 1
    nothing = together(dataset, "splits_dealt", {"count": 0}, lambda: editing.move(dataset, [1], "test"))
    assert nothing.action == "nothing" and words.edit_text(nothing, "en") == "Nothing had to be changed"


def test_work_ends_when_its_visitor_presses_cancel_and_only_then():
    stops, told = Stops(), []
    first, second = type("Request", (), {"session_hash": "a"})(), type("Request", (), {"session_hash": "b"})()
    report = stops.begin(first, lambda *said: told.append(said))
    other = stops.begin(second)
    report(1, 10)
    stops.stop(first)
    with pytest.raises(Stopped):
        report(2, 10)
    other(1, 10)
    assert told == [(1, 10)]
    again = stops.begin(first)
    again(1)
    stops.stop(type("Request", (), {"session_hash": "nobody"})())


def test_a_demo_can_not_be_edited_and_a_set_that_is_gone_is_none(workspace, dataset):
    app = type("App", (), {"workspace": workspace, "demo": True})()
    room = Room(app, None, None, None, None)
    assert room.open("gone") is None and room.open("") is None and room.open(dataset.id).id == dataset.id
    with pytest.raises(UserError) as caught:
        room.to_edit(dataset.id)
    assert caught.value.key == "demo_only_shows"
    app.demo = False
    with pytest.raises(UserError):
        room.to_edit("gone")


def test_a_tab_that_is_not_open_leaves_its_parts_alone():
    panel = Panel([1, 2], lambda dataset, language, *values: ("shown", len(values)))
    assert panel.afresh(None, "en") == ("shown", 0)
    assert len(panel.cleared(None, "en")) == 2
    assert Panel([1], panel.show, reset=lambda dataset, language: ("new",)).afresh(None, "en") == ("new",)


def test_the_page_builds_in_its_own_thread_without_a_set(workspace):
    import ui
    built = []
    thread = threading.Thread(target=lambda: built.append(ui.build(workspace)))
    thread.start()
    thread.join()
    assert built and str(tag("p", "x")) == "<p>x</p>"


def test_the_page_knows_that_a_set_was_labeled_since_it_was_shown(dataset):
    shown = data.stand(dataset)
    assert data.stand(dataset) == shown and data.stand(None) == ""
    dataset.set_labels(1, None)
    assert data.stand(dataset) != shown


def test_who_opens_the_data_page_again_finds_the_set_as_it_is_now(workspace, dataset):
    blocks = ui.build(workspace)
    tab = next(block for block in blocks.blocks.values() if getattr(block, "elem_id", "") == "lb-page-data")
    back = next(each for each in blocks.fns.values() if (tab._id, "select") in each.targets and each.name == "back")
    shown = data.stand(dataset)
    assert isinstance(back.fn(dataset.id, ""), float)
    assert back.fn(dataset.id, shown) == gr.skip()
    dataset.set_labels(1, None)
    assert isinstance(back.fn(dataset.id, shown), float)
