import numpy as np

from engine.datasets import editing
from engine.datasets.health import Report
from engine.types import Instances, Problem


def test_a_report_is_kept_until_the_set_changes(stored_set):
    dataset = stored_set(labels=[Instances([[1, 1, 5, 5]], [0]), None])
    assert (dataset.report(), dataset.report_is_stale()) == (None, False)
    problems = [Problem("boxes_outside", "warning", "名/<a>.png", {"count": 2, "width": np.int64(5)}), Problem("no_valid_split", "warning", ".")]
    report = Report("coco", "detect", dataset.classes, dataset.counts(), problems)
    dataset.keep_report(report, {1: problems[:1], 2: [*problems, *problems]})
    kept = dataset.report()
    assert (kept.format, kept.task, kept.classes, kept.splits) == ("coco", "detect", dataset.classes, dataset.counts())
    assert kept.problems == [Problem("boxes_outside", "warning", "名/<a>.png", {"count": 2, "width": 5}), problems[1]]
    assert dataset.revision == 0
    assert [row.problems for row in dataset.page(0, 9)] == [("boxes_outside",), ("boxes_outside", "no_valid_split")]
    assert not dataset.report_is_stale()
    editing.move(dataset, [1], "test")
    assert dataset.report_is_stale()
    dataset.keep_report(report, {})
    assert not dataset.report_is_stale()
    assert dataset.total(problem="any") == 0
    dataset.keep_report(report, {}, revision=0)
    assert dataset.report_is_stale()


def test_extras_of_a_report_come_back_as_plain_numbers(stored_set):
    dataset = stored_set(labels=[None])
    extras = {"sizes": np.arange(3), "share": np.float32(0.5), "name": "x", "pairs": ((1, 2),)}
    dataset.keep_report(Report("", "detect", (), {}, [], extras), {})
    assert dataset.report().extras == {"sizes": [0, 1, 2], "share": 0.5, "name": "x", "pairs": [[1, 2]]}


def test_fingerprints_and_clusters_are_kept_side_by_side(stored_set):
    dataset = stored_set(labels=[None] * 3)
    assert dataset.fingerprints() == {}
    dataset.keep_fingerprints({1: (b"a", b"look"), 2: (b"b", b"like")})
    dataset.keep_fingerprints({2: (b"c", b"like")}, clusters={1: 7, 2: 7, 3: None})
    assert dataset.fingerprints() == {1: (b"a", b"look"), 2: (b"c", b"like")}
    assert [item.alike for item in dataset.items()] == [7, 7, None]
    dataset.keep_fingerprints({}, clusters={2: None})
    assert [item.alike for item in dataset.items()] == [7, None, None]
    assert dataset.revision == 0


def test_items_say_what_dealing_to_splits_needs(stored_set):
    labels = [Instances([[1, 1, 5, 5]] * 3, [2, 0, 2]), None, Instances.empty(), Instances([[1, 1, 5, 5]], [1])]
    dataset = stored_set(labels=labels)
    editing.delete_class(dataset, 0)
    editing.trash(dataset, [2])
    assert [(item.id, item.name, item.group, item.split, item.classes, item.alike) for item in dataset.items()] == [
        (1, "set/0.png", "patient 0", "train", (1, 1), None), (3, "set/2.png", "patient 1", "test", (), None),
        (4, "set/3.png", "patient 1", "train", (0,), None)]
