"""Real data sets: what comes in, that the health check has something true to say, and that every format which can hold them gives them back."""

from pathlib import Path

import pytest

from engine.datasets import source
from engine.datasets.collection import Collection, collect, count_samples
from engine.datasets.formats import formats
from engine.datasets.health import check

# name: (task, images by split, classes, objects or positive tags; None = counted elsewhere)
SETS = {
    "det_bccd_voc": ("detect", {"train": 205, "valid": 87, "test": 72}, 3, 4886),
    "det_cones_yolo": ("detect", {"train": 180, "valid": 50, "test": 40}, 2, 633),
    "inst_brain_tumor_coco": ("instance", {"train": 160, "valid": 80, "test": 70}, 1, 240),
    "inst_facade_coco": ("instance", {"train": 70, "valid": 25, "test": 20}, 10, 3319),
    "sem_membrane_png": ("semantic", {"train": 30}, 2, None),
    "multilabel_nih64_csv": ("classify", {"train": 735}, None, None),
}
BOX_AND_OUTLINE = {"coco": None, "voc": None}  # the others hold one or the other; boxes of these sets are up to a pixel off their outlines
LOADED: dict[str, Collection] = {}


@pytest.fixture
def loaded(reference):
    def load(name: str) -> Collection:
        if name not in LOADED:
            root = reference / "data" / name
            chosen, _ = source.recognise(root)
            LOADED[name] = collect(chosen.read(root), chosen.name)
        return LOADED[name]
    return load


@pytest.mark.parametrize("name", SETS)
def test_everything_in_it_is_read(loaded, name):
    task, images, classes, objects = SETS[name]
    found = loaded(name)
    counts = count_samples(found.samples, found.classes)
    assert found.task == task
    assert {split: row["images"] for split, row in counts.items()} == images
    assert classes is None or len(found.classes) == classes
    assert objects is None or sum(row["boxes"] for row in counts.values()) == objects


@pytest.mark.parametrize("name", SETS)
def test_the_health_check_speaks_plainly(loaded, name):
    report = check(loaded(name))
    for problem in report.problems:
        for language in ("en", "zh-CN", "zh-TW"):
            words = problem.message(language) + problem.remedy(language)
            assert "{" not in words
            assert "problem." not in words


@pytest.mark.parametrize(("name", "to"), [(name, entry.name) for name, (task, *_) in SETS.items() for entry in formats.entries().values()
                                          if entry.write is not None and task in entry.tasks])
def test_every_format_that_can_hold_it_gives_it_back(loaded, same_labels, tmp_path, name, to):
    original = loaded(name)
    if to == "class_folders" and any(sample.labels.values.sum() != 1 for sample in original.samples):
        pytest.skip("an image of several classes has no folder of its own")
    (tmp_path / "out").mkdir()
    list(formats.get(to).write(original.classes, original.samples, tmp_path / "out", "link"))
    chosen, _ = source.recognise(tmp_path / "out")
    assert chosen.name == to
    copy = collect(chosen.read(tmp_path / "out"), to)
    assert (copy.classes, copy.task) == (original.classes, original.task)
    copies = {(sample.split or "train", Path(sample.name).stem): sample for sample in copy.samples}
    assert len(copies) == len(copy.samples) == len(original.samples)
    for sample in original.samples:
        same_labels(copies[sample.split or "train", Path(sample.name).stem].labels, sample.labels, points=2e-3, derived=BOX_AND_OUTLINE.get(to, 1.0))
