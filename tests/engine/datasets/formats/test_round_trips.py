"""What every format that can be written has to keep; a new format is covered by being registered."""

from pathlib import Path

import numpy as np
import pytest

from engine.datasets.collection import collect
from engine.datasets.formats import formats
from engine.datasets.source import evidence
from engine.types import Instances, Polygons, Problem, Sample

WRITABLE = [name for name, entry in formats.entries().items() if entry.write is not None and name in ("yolo", "coco")]
CLASSES = ("no", "手术 剪", "=1+1", "<b>")


def made(picture, folder, *, outlined=False, count=8):
    """Samples of all splits with two or three objects each."""
    rng = np.random.default_rng(3)
    samples = []
    for number in range(count):
        low = rng.uniform(1, 20, (2 + number % 2, 2))
        boxes = np.concatenate([low, low + rng.uniform(4, 25, low.shape)], 1)
        shapes = tuple(Polygons((np.array([[x1, y1], [x2, y1], [x2, y2], [(x1 + x2) / 2, y2], [x1, y2]]),)) for x1, y1, x2, y2 in boxes)
        labels = Instances(boxes, rng.integers(0, len(CLASSES), len(boxes)), shapes=shapes if outlined else None)
        image = picture(folder / f"图 {number}.png", 64, 48, seed=number)
        samples.append(Sample(image, (64, 48), labels, ("train", "valid", "test")[number % 3], name=f"图 {number}.png"))
    return samples


def written_and_read(name, samples, out, images="copy"):
    out.mkdir(parents=True)
    problems = list(formats.get(name).write(CLASSES, samples, out, images))
    return problems, collect(formats.get(name).read(out), name)


def by_name(samples):
    return {Path(sample.name).name: sample for sample in samples}


@pytest.mark.parametrize("name", WRITABLE)
@pytest.mark.parametrize("outlined", [False, True])
def test_what_is_written_reads_back_the_same(tmp_path, picture, name, outlined):
    samples = made(picture, tmp_path / "in", outlined=outlined)
    problems, again = written_and_read(name, samples, tmp_path / "out")
    assert problems == []
    assert again.problems == []
    assert again.classes == CLASSES
    assert again.task == ("instance" if outlined else "detect")
    assert len(again.samples) == len(samples)
    for original, copy in zip(samples, (by_name(again.samples)[sample.name] for sample in samples), strict=True):
        assert (copy.split, copy.size) == (original.split, original.size)
        assert copy.labels.classes.tolist() == original.labels.classes.tolist()
        assert np.abs(copy.labels.boxes - original.labels.boxes).max() < 1e-3
        assert copy.image.read_bytes() == original.image.read_bytes()
        if outlined:
            pairs = zip(copy.labels.shapes, original.labels.shapes, strict=True)
            assert all(np.abs(mine.rings[0] - theirs.rings[0]).max() < 1e-3 for mine, theirs in pairs)


@pytest.mark.parametrize("name", WRITABLE)
def test_only_the_format_itself_recognises_what_it_wrote(tmp_path, picture, name):
    written_and_read(name, made(picture, tmp_path / "in"), tmp_path / "out")
    assert list(evidence(tmp_path / "out")) == [name]


@pytest.mark.parametrize("name", WRITABLE)
def test_links_share_the_bytes_and_none_leaves_the_images_away(tmp_path, picture, name):
    samples = made(picture, tmp_path / "in")
    _, linked = written_and_read(name, samples, tmp_path / "linked", "link")
    assert all(copy.image.samefile(by_name(samples)[Path(copy.name).name].image) for copy in linked.samples)
    written_and_read(name, samples, tmp_path / "bare", "none")
    assert not list((tmp_path / "bare").rglob("*.png"))


@pytest.mark.parametrize("name", WRITABLE)
def test_writing_and_reading_change_nothing_at_the_source(tmp_path, picture, name):
    samples = made(picture, tmp_path / "in")
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (tmp_path / "in").rglob("*")}
    written_and_read(name, samples, tmp_path / "out")
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (tmp_path / "in").rglob("*")} == before


@pytest.mark.parametrize("name", WRITABLE)
def test_an_image_that_vanished_is_named_and_the_rest_is_written(tmp_path, picture, name):
    samples = made(picture, tmp_path / "in")
    samples[2].image.unlink()
    problems, again = written_and_read(name, samples, tmp_path / "out")
    assert [(problem.code, problem.where) for problem in problems] == [("image_missing", samples[2].name)]
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
    written_and_read(name, made(picture, tmp_path / "in"), tmp_path / "out")
    reading = formats.get(name).read(tmp_path / "out")
    first = next(item for item in reading.items if not isinstance(item, Problem))
    assert isinstance(first, Sample)
    assert sum(isinstance(item, Sample) for item in reading.items) == 7
