"""What every format that can be written has to keep; a new format is covered by being registered."""

from pathlib import Path

import numpy as np
import pytest

from engine.datasets.collection import collect
from engine.datasets.formats import formats
from engine.datasets.outlines import mask_of, rle_of_mask
from engine.datasets.source import evidence
from engine.types import IGNORE, UNCERTAIN, Instances, Polygons, Problem, Sample, SemanticMask, Tags

WRITABLE = [name for name, entry in formats.entries().items() if entry.write is not None]
HOLDS = [(name, task) for name in WRITABLE for task in formats.get(name).tasks]
CLASSES = ("no", "手术 剪", "=1+1", "<b>")
SPLITS = ("train", "valid", "test")
WITHOUT_SPLITS: set[str] = set()
SINGLE_LABEL = {"class_folders"}
PICTURES_OF_LABELS = {"mask_png"}


def boxes_of(rng, number):
    low = rng.uniform(1, 20, (2 + number % 2, 2))
    return np.concatenate([low, low + rng.uniform(4, 25, low.shape)], 1)


def labels_for(task, number, *, single=False):
    """Labels of image `number`, different for each and none of them simple."""
    rng = np.random.default_rng(number)
    if task == "classify":
        chosen = np.eye(len(CLASSES))[number % len(CLASSES)]
        return Tags(chosen if single else np.array([number % 2, (number + 1) % 2, 1, 0]))
    if task == "semantic":
        classes = np.zeros((48, 64), np.uint16)
        classes[10:30, 5 + number:40] = 1 + number % 3
        classes[40:44, 10:20] = 1 + (number + 1) % 3
        classes[:2] = IGNORE
        return SemanticMask(classes)
    boxes = boxes_of(rng, number)
    shapes = tuple(Polygons((np.array([[x1, y1], [x2, y1], [x2, y2], [(x1 + x2) / 2, y2], [x1, y2]]),)) for x1, y1, x2, y2 in boxes)
    return Instances(boxes, rng.integers(0, len(CLASSES), len(boxes)), shapes=shapes if task == "instance" else None)


def made(picture, folder, *, task="detect", count=8, single=False):
    """Samples of all splits; the last one was looked at and shows nothing where the task can say so."""
    samples = []
    for number in range(count):
        image = picture(folder / f"图 {number}.png", 64, 48, seed=number)
        samples.append(Sample(image, (64, 48), labels_for(task, number, single=single), SPLITS[number % 3], name=f"图 {number}.png"))
    return samples


def made_for(name, picture, folder):
    """Samples with labels that the format can hold, and their classes."""
    task = (formats.get(name).tasks or ("detect",))[0]
    return made(picture, folder, task=task, single=name in SINGLE_LABEL), classes_for(task)


def classes_for(task):
    return ("background", *CLASSES[1:]) if task == "semantic" else CLASSES


def written_and_read(name, samples, out, images="copy", classes=CLASSES):
    out.mkdir(parents=True)
    problems = list(formats.get(name).write(classes, samples, out, images))
    return problems, collect(formats.get(name).read(out), name)


def by_name(samples):
    return {Path(sample.name).name: sample for sample in samples}


@pytest.mark.parametrize(("name", "task"), HOLDS)
def test_what_is_written_reads_back_the_same(tmp_path, picture, same_labels, name, task):
    samples, classes = made(picture, tmp_path / "in", task=task, single=name in SINGLE_LABEL), classes_for(task)
    problems, again = written_and_read(name, samples, tmp_path / "out", classes=classes)
    assert [problem for problem in problems + again.problems if problem.severity != "note"] == []
    assert again.classes == classes
    assert again.task == task
    copies = by_name(again.samples)
    assert len(again.samples) == len(samples)
    for original in samples:
        copy = copies[original.name]
        assert (copy.split, copy.size) == (None if name in WITHOUT_SPLITS else original.split, original.size)
        same_labels(copy.labels, original.labels)
        assert copy.image.read_bytes() == original.image.read_bytes()


@pytest.mark.parametrize(("name", "task"), HOLDS)
def test_looked_at_and_empty_is_not_the_same_as_never_looked_at(tmp_path, picture, same_labels, name, task):
    samples, classes = made(picture, tmp_path / "in", task=task, single=name in SINGLE_LABEL), classes_for(task)
    samples[3] = samples[3].with_labels(None)
    empty = {"detect": Instances.empty(), "instance": Instances.empty(), "semantic": SemanticMask(np.zeros((48, 64), np.uint16)),
             "classify": Tags(np.zeros(len(CLASSES)))}[task]
    if name not in SINGLE_LABEL:
        samples[4] = samples[4].with_labels(empty)
    problems, again = written_and_read(name, samples, tmp_path / "out", classes=classes)
    copies = by_name(again.samples)
    if name in SINGLE_LABEL:
        assert any(samples[3].name in problem.where or problem.values for problem in problems)
        return
    assert copies[samples[3].name].labels is None
    same_labels(copies[samples[4].name].labels, empty)


@pytest.mark.parametrize(("name", "task"), HOLDS)
def test_what_a_format_cannot_hold_is_said(tmp_path, picture, name, task):
    """Holes, masks made of runs, crowds, unknown tags, patients: kept, or named."""
    samples, classes = made(picture, tmp_path / "in", task=task, single=name in SINGLE_LABEL), classes_for(task)
    samples = [Sample(each.image, each.size, each.labels, each.split, f"patient {number // 2}", each.name) for number, each in enumerate(samples)]
    if task == "classify" and name not in SINGLE_LABEL:
        samples[1] = samples[1].with_labels(Tags(np.array([1, np.nan, UNCERTAIN, 0])))
    if task == "instance":
        ring = np.array([[5, 5], [40, 5], [40, 40], [5, 40]], float)
        hole = np.array([[10, 10], [20, 10], [20, 20], [10, 20]], float)
        run = rle_of_mask(mask_of(Polygons((ring,), (hole,)), (64, 48)))
        samples[1] = samples[1].with_labels(Instances(np.array([[5, 5, 40, 40]] * 3), [0, 1, 2], crowd=np.array([0, 0, 1]),
                                                      shapes=(Polygons((ring,), (hole,)), run, run)))
    problems, again = written_and_read(name, samples, tmp_path / "out", classes=classes)
    said = {problem.code for problem in problems}
    copies = by_name(again.samples)
    if any(copies[each.name].group != each.group for each in samples if each.name in copies):
        assert "groups_left_out" in said
    mine, theirs = copies[samples[1].name].labels, samples[1].labels
    if task == "instance" and not (len(mine) == 3 and mine.crowd is not None and mine.crowd.tolist() == [False, False, True]):
        assert "crowd_left_out" in said
    if task == "instance":
        areas = [int(mask_of(shape, (64, 48)).sum()) for shape in mine.shapes]
        wanted = [int(mask_of(shape, (64, 48)).sum()) for shape in theirs.shapes][:len(areas)]
        assert np.allclose(areas, wanted, rtol=0.12)
        if not (isinstance(mine.shapes[0], Polygons) and mine.shapes[0].holes and isinstance(mine.shapes[1], type(run))):
            assert said & {"outline_joined", "mask_traced"} or name in PICTURES_OF_LABELS or isinstance(mine.shapes[1], type(run))
    if task == "classify" and not np.array_equal(mine.values, theirs.values, equal_nan=True):
        assert said & {"tags_left_out", "labels_left_out", "tags_uncertain_left_out"}


@pytest.mark.parametrize("name", WRITABLE)
def test_only_the_format_itself_recognises_what_it_wrote(tmp_path, picture, name):
    samples, classes = made_for(name, picture, tmp_path / "in")
    written_and_read(name, samples, tmp_path / "out", classes=classes)
    assert list(evidence(tmp_path / "out")) == [name]


@pytest.mark.parametrize("name", WRITABLE)
def test_links_share_the_bytes_and_none_leaves_the_images_away(tmp_path, picture, name):
    samples, classes = made_for(name, picture, tmp_path / "in")
    _, linked = written_and_read(name, samples, tmp_path / "linked", "link", classes)
    assert all(copy.image.samefile(by_name(samples)[Path(copy.name).name].image) for copy in linked.samples)
    written_and_read(name, samples, tmp_path / "bare", "none", classes)
    names = {each.name for each in tmp_path.glob("linked/**/images/**/*.png")} or {each.name for each in (tmp_path / "linked").rglob("*.png")}
    assert not [each for each in (tmp_path / "bare").rglob("*.png") if each.name in names and "masks" not in each.parts]


@pytest.mark.parametrize("name", WRITABLE)
def test_writing_and_reading_change_nothing_at_the_source(tmp_path, picture, name):
    samples, classes = made_for(name, picture, tmp_path / "in")
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (tmp_path / "in").rglob("*")}
    written_and_read(name, samples, tmp_path / "out", classes=classes)
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (tmp_path / "in").rglob("*")} == before


@pytest.mark.parametrize("name", WRITABLE)
def test_an_image_that_vanished_is_named_and_the_rest_is_written(tmp_path, picture, name):
    samples, classes = made_for(name, picture, tmp_path / "in")
    samples[2].image.unlink()
    problems, again = written_and_read(name, samples, tmp_path / "out", classes=classes)
    assert [(problem.code, problem.where) for problem in problems if problem.severity == "error"] == [("image_missing", samples[2].name)]
    assert len(again.samples) == len(samples) - 1


@pytest.mark.parametrize("name", list(formats.entries()))
def test_a_folder_of_something_else_is_not_recognised(tmp_path, picture, name):
    picture(tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("bring milk and 3 eggs")
    (tmp_path / "package.json").write_text('{"name": "x", "version": "1"}')
    (tmp_path / "compose.yaml").write_text("services:\n  db: {}\n")
    assert formats.get(name).detects(tmp_path) is None
    (tmp_path / "empty").mkdir()
    assert formats.get(name).detects(tmp_path / "empty") is None


@pytest.mark.parametrize("name", WRITABLE)
def test_reading_is_lazy(tmp_path, picture, name, monkeypatch):
    samples, classes = made_for(name, picture, tmp_path / "in")
    written_and_read(name, samples, tmp_path / "out", classes=classes)
    reading = formats.get(name).read(tmp_path / "out")
    first = next(item for item in reading.items if not isinstance(item, Problem))
    assert isinstance(first, Sample)
    assert sum(isinstance(item, Sample) for item in reading.items) == 7
