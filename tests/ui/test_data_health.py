"""The Health tab: the verdict, the problems with their places, the proposed repairs and the way back."""

import pytest

from engine.datasets import editing, health, repairs, standing
from engine.types import Instances, Problem
from engine.workspace import Workspace
from ui import findings
from ui.pages.data import health as page
from ui.pages.data import health_parts as parts


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def dataset(workspace, yolo_folder):
    labels = {f"image{i:02d}": f"{i % 2} 0.5 0.5 0.5 0.5\n" for i in range(6)}
    made = workspace.import_dataset(yolo_folder({"train": labels, "valid": {"c": "1 0.5 0.5 0.25 0.5\n"}}), "pets")[0]
    editing.replace_labels(made, {1: Instances([[10, 10, 90, 40]], [0]), 2: Instances([[5, 5, 9, 9], [5, 5, 9, 9]], [1, 1])})
    return made


@pytest.fixture
def checked(dataset):
    health.examine(dataset)
    return dataset


def mends(dataset):
    return repairs.proposed(dataset, dataset.report())


def test_before_the_first_check_the_page_says_so(dataset):
    assert "Not checked yet" in parts.head(dataset, None, "en")
    assert "Check now" in parts.problems_html(dataset, None, [], "en")


def test_the_verdict_is_in_words_and_grows_stale(checked):
    fresh = parts.head(checked, checked.report(), "en")
    assert "warning" in fresh and "has changed" not in fresh
    editing.move(checked, [3], "valid")
    assert "has changed" in parts.head(checked, checked.report(), "en")


def test_a_problem_shows_its_images_and_its_repair(checked):
    shown = parts.problems_html(checked, checked.report(), mends(checked), "en")
    assert 'data-send="fix" data-code="boxes_outside"' in shown and 'data-send="images" data-code="boxes_outside"' in shown
    assert "Show 1 image" in shown
    assert 'data-send="open" data-place="train/images/image00.png"' in shown


def test_repairs_are_chosen_by_what_they_do(checked):
    proposed = mends(checked)
    keys = [parts.key_of(repair) for repair in proposed]
    assert len(set(keys)) == len(keys) >= 2 and keys == [parts.key_of(repair) for repair in mends(checked)]
    shown = parts.repairs_html(proposed, "en")
    assert all(f'value="{key}"' in shown and f'data-key="{key}"' in shown for key in keys)
    assert parts.repairs_html([], "en") == ""


def test_a_preview_shows_before_and_after(checked):
    repair = next(repair for repair in mends(checked) if repair.problem == "boxes_outside")
    shown = parts.preview_html(checked, repair, "en")
    assert "<del>" in shown and "<ins>" in shown and "image00.png" in shown and "data:image/jpeg" in shown


def test_after_a_repair_the_report_is_fresh_and_its_problem_gone(checked):
    edit = repairs.apply(checked, [repair for repair in mends(checked) if repair.problem == "boxes_outside"])
    page.look_again(checked)
    assert edit.images == 1 and not checked.report_is_stale()
    assert "boxes_outside" not in {problem.code for problem in checked.report().problems}


def told(report):
    return [(problem.code, problem.where, problem.values) for problem in report.problems]


def test_after_apply_and_undo_the_report_is_the_same_with_damaged_images_too(dataset):
    path = dataset.page(0, 1)[0].path
    path.write_bytes(path.read_bytes()[:90])
    health.examine(dataset, image_size=512)
    before = dataset.report()
    assert "image_damaged" in {problem.code for problem in before.problems}
    edit = repairs.apply(dataset, mends(dataset))
    page.look_again(dataset)
    assert "image_damaged" not in {problem.code for problem in dataset.report().problems}
    editing.undo(dataset, edit.id)
    page.look_again(dataset)
    after = dataset.report()
    assert told(after) == told(before) and after.splits == before.splits and after.extras == before.extras


def test_an_ignored_kind_counts_no_more_until_it_is_taken_back(checked):
    standing.ignore(checked, "boxes_outside")
    report = checked.report()
    shown = parts.problems_html(checked, report, [], "en")
    assert "1 ignored kind of problem" in shown and 'data-send="heed" data-code="boxes_outside"' in shown
    assert 'data-send="ignore" data-code="boxes_outside"' not in shown
    assert "boxes_outside" not in {problem.code for problem in standing.standing(checked).open}
    standing.ignore(checked, "boxes_outside", on=False)
    assert 'data-send="ignore" data-code="boxes_outside"' in parts.problems_html(checked, report, [], "en")
    assert "data-send=\"ignore\"" not in parts.problems_html(checked, report, [], "en", editable=False)


def test_what_the_import_dealt_with_stands_apart_and_does_not_count(workspace, yolo_folder):
    root = yolo_folder({"train": {"a": "0 0.5 0.5 0.5 0.5\n", "b": "0 0.5 0.5 0.5 0.5\n"}})
    (root / "train" / "images" / "b.png").write_bytes(b"\x08\x01nothing")
    made = workspace.import_dataset(root, "some")[0]
    assert "not_an_image" in {problem.code for problem in made.problems()}
    health.examine(made)
    shown = parts.problems_html(made, made.report(), [], "en")
    assert "What the import did" in shown and "unknown content" in shown and "\\x08" not in shown
    assert findings.tone(standing.standing(made).open) != "bad"


def test_a_check_says_when_it_ran(checked):
    assert "Checked " in parts.head(checked, checked.report(), "en")


def test_more_problems_of_a_kind_are_counted_in_its_row():
    problems = [*(Problem("image_windowed", "note", f"{n}.png") for n in range(3)),
                Problem("problems_more", "note", ".", {"kind": "image_windowed", "count": 2})]
    shown = findings.findings(problems, "en")
    assert "5 times" in shown and "image_windowed" not in shown and findings.tally(problems, "en") == "5 notes"


def test_splits_in_problems_are_named_in_the_language_and_one_thing_is_one():
    across = Problem("same_image_in_splits", "warning", "a.png", {"split": "valid", "other": "train.png", "other_split": "train"})
    assert "验证" in across.message("zh-CN") and "train.png" in across.message("zh-CN") and "valid" not in across.message("zh-CN")
    group = Problem("group_in_splits", "warning", "a.png", {"group": "7", "count": 3, "splits": "train (2), valid (1)"})
    assert "訓練 (2), 驗證 (1)" in group.message("zh-TW")
    assert repairs.Repair("trash_unreadable", {"count": 1}, (1,), "image_damaged").title("en") == "Move 1 unreadable image to the trash"


def test_a_set_that_was_never_checked_is_not_checked_by_a_change(dataset):
    page.look_again(dataset)
    assert dataset.report() is None


@pytest.mark.parametrize(("side", "most", "options"), [(None, None, (640, None)), (512.0, 100.0, (512, 100)), (0, 0, (640, None))])
def test_what_a_check_compares_with_comes_from_the_form(side, most, options):
    assert tuple(page.options_of(side, most).values()) == options


FIRST = "train/images/image00.png"


@pytest.mark.parametrize(("where", "name"), [(FIRST, FIRST), ("train/labels/image00.txt:3", FIRST), ("image00.txt", FIRST), ("elsewhere.png", None),
                                             ("train", None), ("", None), ("%", None)])
def test_a_place_opens_its_image(checked, where, name):
    row = parts.image_at(checked, where)
    assert (row.name if row else None) == name


def test_lines_of_files_are_told_from_names_with_colons():
    assert parts.without_line("a/b.txt:12") == "a/b.txt" and parts.without_line("a:b.txt") == "a:b.txt" and parts.without_line(":3") == ":3"


def test_changes_are_listed_with_their_way_back(dataset):
    edit = editing.move(dataset, [3], "valid")
    shown = parts.history_html(editing.edits(dataset), "en")
    assert f'data-edit="{edit.id}"' in shown and "Images moved to valid: 1" in shown
    editing.undo(dataset, edit.id)
    assert "undone" in parts.history_html(editing.edits(dataset), "en")
    assert "data-send" not in parts.history_html(editing.edits(dataset), "en", editable=False)
    assert parts.history_html([], "en") == ""


def test_findings_without_actions_have_no_buttons():
    shown = findings.findings([Problem("image_missing", "error", "<i>a</i>.png", {"name": "<i>a</i>.png"})], "en")
    assert "<button" not in shown and "&lt;i&gt;a" in shown and "<i>a" not in shown


def test_what_the_import_met_is_shown_before_the_first_check(workspace, yolo_folder):
    made = workspace.import_dataset(yolo_folder({"train": {"a": "0 0.5 0.5 0.5 0.5\nnonsense\n"}}, name="odd"), "odd")[0]
    shown = parts.problems_html(made, None, [], "en")
    assert "met no problems" not in shown and "Check now" in shown
    assert "<details open><summary>What the import did" in shown and "train/labels/a.txt:2" in shown
