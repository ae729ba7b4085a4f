"""The Splits tab: what the form means, what would come out, and that it is one change."""

import pytest

from engine.datasets import editing, health
from engine.datasets.splits import Item
from engine.messages import LANGUAGES, text
from engine.types import UserError
from engine.workspace import Workspace
from ui.pages.data import split_parts as parts
from ui.pages.data import splits as page
from ui.pages.data.splits import Plan


@pytest.fixture
def dataset(tmp_path, yolo_folder):
    labels = {f"patient{i // 5}_{i % 5}": f"{i % 2} 0.5 0.5 0.5 0.5\n" for i in range(50)}
    return Workspace(tmp_path / "workspace").import_dataset(yolo_folder({"train": labels}), "pets")[0]


def test_shares_are_what_was_typed_made_whole():
    plan = Plan.of(70, 20, 10, "given", "", True, 3)
    assert plan.fractions == {"train": 0.7, "valid": 0.2, "test": 0.1} and plan.seed == 3
    assert Plan.of(1, 1, 0, "none", "", True, 0).fractions == {"train": 0.5, "valid": 0.5}


@pytest.mark.parametrize("bad", [(None, "x", float("nan")), (-5, 0, 0), ([], {}, "")])
def test_shares_that_are_nothing_are_refused_with_words(bad):
    with pytest.raises(UserError):
        _ = Plan.of(*bad, "given", "", True, 0).fractions


def test_whatever_a_browser_sends_is_made_harmless():
    plan = Plan.of(1e9, 50, 50, "; DROP", None, "yes", 1e99)
    assert plan.shares == (100.0, 50.0, 50.0) and plan.rule == "given" and not plan.stratify and plan.seed == page.MOST_SEED


def test_groups_of_a_rule_stay_together(dataset):
    plan = Plan((50.0, 50.0, 0.0), "prefix")
    items = plan.grouped(list(dataset.items()))
    dealt = plan.deal(items)
    homes = {}
    for item in items:
        homes.setdefault(item.group, set()).add(dealt[item.id])
    assert len(homes) == 10 and all(len(splits) == 1 for splits in homes.values())


def test_a_pattern_that_is_none_is_said(dataset):
    with pytest.raises(UserError) as caught:
        page.previewed(dataset, Plan(rule="pattern", pattern="([", shares=(70, 20, 10)), "en")
    assert "([" in parts.trouble(caught.value, "en")
    assert "<i>" not in parts.trouble(UserError("group_pattern_bad", pattern="<i>", reason="<i>"), "en")


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_the_groups_are_is_named_and_never_taken_for_patients(language):
    items = [Item(number, f"street/{number // 2}/x{number}.png", group=f"street/{number // 2}") for number in range(6)]
    words = parts.group_words(items, "folder", language)
    assert text("data.rule.folder", language) in words and "street/0" in words and "3" in words
    for said in (words, text("problem.group_in_splits", language), *(text(f"data.rule.{rule}", language) for rule in page.RULES)):
        assert not any(word in said.casefold() for word in ("patient", "患者", "病人"))


def test_no_fault_is_found_in_a_pattern_that_nobody_has_typed_yet(dataset):
    for nothing in ("", "  "):
        shown = page.previewed(dataset, Plan(rule="pattern", pattern=nothing, shares=(70, 20, 10)), "en")
        assert "Type the pattern" in shown and "alert" not in shown
    with pytest.raises(UserError):
        page.dealt(dataset, Plan(rule="pattern", pattern="", shares=(70, 20, 10)))


def test_the_preview_tells_numbers_groups_and_how_many_would_move(dataset):
    shown = page.previewed(dataset, Plan((60.0, 40.0, 0.0), "pattern", r"patient(\d+)"), "en")
    for part in ("10 groups", "30", "20", "20 images would move", "cat", "dog"):
        assert part in shown
    assert len(dataset.counts()) == 1


def test_look_alikes_that_nobody_has_looked_for_are_warned_of(dataset):
    plan = Plan((70.0, 20.0, 10.0))
    assert "Look-alikes are not known yet" in page.previewed(dataset, plan, "en")
    health.examine(dataset)
    assert "Look-alikes are not known yet" not in page.previewed(dataset, plan, "en")


def test_dealing_is_one_change_that_can_be_taken_back(dataset):
    edit = page.dealt(dataset, Plan((60.0, 40.0, 0.0), "prefix"))
    assert edit.action == "splits_dealt" and len(editing.edits(dataset)) == 1
    assert {name: row["images"] for name, row in dataset.counts().items()} == {"train": 30, "valid": 20}
    assert dataset.groups()
    editing.undo(dataset, edit.id)
    assert list(dataset.counts()) == ["train"] and dataset.groups() == []


def test_the_same_seed_deals_the_same(dataset):
    items = list(dataset.items())
    first, again, other = (Plan((70.0, 20.0, 10.0), seed=seed).deal(items) for seed in (1, 1, 2))
    assert first == again != other


def test_classes_that_a_split_would_lack_are_named():
    counts = {"train": {"images": 5, "classes": {"a": 3, "b": 1}}, "valid": {"images": 2, "classes": {"a": 1, "b": 0}},
              "test": {"images": 0, "classes": {"a": 0, "b": 0}}}
    assert parts.lacking(["a", "b", "never"], counts) == {"valid": ["b"]}


def test_groups_are_told_in_words_so_that_a_wrong_rule_shows():
    items = [Item(1, "a", "<i>"), Item(2, "b", "<i>"), Item(3, "c", "z"), Item(4, "d")]
    assert parts.group_words(items, "folder", "en") == "By folder: 2 groups; the largest is <i> with 2 images."
    assert parts.group_words([Item(1, "a")], "folder", "en").startswith("No groups")


def test_a_large_set_waits_to_be_asked(dataset):
    assert 'data-send="preview"' in parts.waiting(dataset, "en")
