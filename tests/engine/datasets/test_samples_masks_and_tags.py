"""Generated samples of tissue (masks) and of the retina (tags): the same every time, and readable like any other data set."""

import csv
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.datasets import sample_retina, sample_tissue, samples, source
from engine.datasets.collection import collect
from engine.datasets.formats import formats
from engine.types import SPLITS, Problem

COUNT, SEED = 9, 3
NEW = ("semantic", "classify")
READERS = {"semantic": "mask_png", "classify": "label_csv"}
PICTURES = {"semantic": (256, 256), "classify": (128, 128)}


def contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture(scope="module", params=NEW)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def written(kind, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample") / "new" / "set"
    assert samples.generate(kind, folder, COUNT, SEED) == COUNT
    return folder


# -- both -----------------------------------------------------------------------------------------------------------------------------


def test_the_same_seed_writes_the_same_bytes(kind, written, tmp_path):
    samples.generate(kind, tmp_path / "again", COUNT, SEED)
    assert contents(tmp_path / "again") == contents(written)


def test_another_seed_gives_other_pictures(kind, written, tmp_path):
    samples.generate(kind, tmp_path / "other", 3, SEED + 1)
    ours, theirs = contents(written), contents(tmp_path / "other")
    assert not any(ours[name] == theirs[name] for name in theirs if name.endswith(".jpg"))


@pytest.mark.parametrize("count", [1, 4])
def test_an_image_does_not_depend_on_how_many_are_made(kind, written, tmp_path, count):
    samples.generate(kind, tmp_path / "fewer", count, SEED)
    fewer, more = contents(tmp_path / "fewer"), contents(written)
    lines, all_lines = (files.pop("labels.csv", b"").splitlines() for files in (fewer, more))
    assert len(fewer) == 1 + count * (2 if kind == "semantic" else 1)
    assert fewer.items() <= more.items() and lines == all_lines[:len(lines)]


def test_the_reader_finds_every_image_and_no_problem_but_a_note(kind, written):
    reading = formats.get(READERS[kind]).read(written)
    items = list(reading.items)
    images = [item for item in items if not isinstance(item, Problem)]
    assert reading.task == kind and reading.classes == {"semantic": sample_tissue.CLASSES, "classify": sample_retina.CLASSES}[kind]
    assert [item.code for item in items if isinstance(item, Problem) and item.severity != "note"] == []
    assert len(images) == COUNT and {item.size for item in images} == {PICTURES[kind]}
    assert sorted(item.split for item in images) == sorted(samples.PATTERN[:COUNT])


def test_the_folder_is_recognised_without_being_told_its_format(kind, written):
    assert source.recognise(written)[0].name == READERS[kind]


@pytest.mark.parametrize(("count", "splits"), [(1, 1), (2, 2), (3, 3)])
def test_every_split_gets_an_image_as_soon_as_there_are_three(kind, tmp_path, count, splits):
    samples.generate(kind, tmp_path, count, 1)
    assert {item.split for item in collect(source.read(tmp_path)).samples} == set(SPLITS[:splits])


@pytest.mark.parametrize("seed", [-1, 2**70])
def test_any_whole_number_is_a_seed(seed):
    assert samples.tissue_slide(0, seed).image.shape == (256, 256, 3)
    assert samples.retina_eye(0, seed).image.shape == (128, 128, 3)


def test_file_names_tell_nothing_of_the_classes(written):
    words = [word for name in (*sample_tissue.CLASSES, *sample_retina.CLASSES) for word in name.split() if word != "background"]
    assert not [name for name in contents(written) if any(word in name for word in words) or "background" in name]


def test_progress_counts_the_images(kind, tmp_path):
    seen = []
    samples.generate(kind, tmp_path, 2, 0, lambda done, wanted: seen.append((done, wanted)))
    assert seen == [(1, 2), (2, 2)]


# -- tissue ---------------------------------------------------------------------------------------------------------------------------


def test_the_masks_read_back_are_those_that_were_drawn(tmp_path):
    samples.generate("semantic", tmp_path, 4, SEED)
    for item in collect(source.read(tmp_path)).samples:
        slide = samples.tissue_slide(int(item.image.stem.split("_")[1]), SEED)
        assert np.array_equal(item.labels.classes, slide.mask)
        stored = cv2.imread(str(item.image))[..., ::-1].astype(float)
        assert np.abs(stored - slide.image).mean() < 8


@pytest.mark.parametrize("number", range(len(sample_tissue.KINDS)))
def test_a_slide_shows_the_classes_of_its_kind_and_one_kind_in_eight_shows_none(number):
    slide = sample_tissue.generate(np.random.default_rng([4, number]), number)
    glands, clusters = sample_tissue.KINDS[number]
    assert set(np.unique(slide.mask)) == {0} | ({1} if glands else set()) | ({2} if clusters else set())
    assert sum(not any(each) for each in sample_tissue.KINDS) / len(sample_tissue.KINDS) == 0.125


def test_no_threshold_of_one_channel_finds_the_glands_or_the_immune_cells():
    slides = [samples.tissue_slide(k, 0) for k in range(16)]
    image, mask = np.stack([slide.image for slide in slides]), np.stack([slide.mask for slide in slides])
    for wanted in (mask == 1, mask == 2, mask > 0):
        for channel in (*np.moveaxis(image, -1, 0), image.mean(-1).astype(np.uint8)):
            below = np.bincount(channel[wanted], minlength=256).cumsum()
            chosen = np.bincount(channel.ravel(), minlength=256).cumsum()
            inside, total = below[-1], chosen[-1]
            darker, lighter = 2 * below / (chosen + inside), 2 * (inside - below) / (total - chosen + inside)
            assert max(darker.max(), lighter.max()) < 0.75


# -- retina ---------------------------------------------------------------------------------------------------------------------------


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_tags_and_patients_read_back_are_those_that_were_drawn(tmp_path):
    samples.generate("classify", tmp_path, 5, SEED)
    for item in collect(source.read(tmp_path)).samples:
        eye = samples.retina_eye(int(item.image.stem.split("_")[1]), SEED)
        assert np.flatnonzero(item.labels.values).tolist() == sorted(eye.findings) and set(item.labels.values) <= {0, 1}
        assert item.group == f"patient {eye.patient:04d}"


def test_patients_have_two_pictures_and_no_split_parts_them(monkeypatch, tmp_path):
    blank = np.zeros((8, 8, 3), np.uint8)
    monkeypatch.setattr(sample_retina, "photograph", lambda *_, **__: blank)
    samples.generate("classify", tmp_path, 120, SEED)
    rows = table(tmp_path)
    assert set(Counter(row["patient"] for row in rows).values()) == {2}
    assert len({(row["patient"], row["split"]) for row in rows}) == len({row["patient"] for row in rows}) == 60


def test_every_split_of_a_hundred_and_twenty_shows_every_finding_and_eyes_without_any(monkeypatch, tmp_path):
    blank = np.zeros((8, 8, 3), np.uint8)
    monkeypatch.setattr(sample_retina, "photograph", lambda *_, **__: blank)
    for seed in range(3):
        samples.generate("classify", tmp_path / str(seed), 120, seed)
        for split in SPLITS:
            cells = [row["labels"].split("|") for row in table(tmp_path / str(seed)) if row["split"] == split]
            found = Counter(name for names in cells for name in names)
            assert set(found) == {"", *sample_retina.CLASSES} and min(found.values()) >= 2
            assert max(len(names) for names in cells) > 1


def test_the_two_eyes_of_a_patient_are_a_left_and_a_right_one_of_the_same_tone(monkeypatch):
    asked = []
    monkeypatch.setattr(sample_retina, "photograph", lambda rng, patient, kind, *, left: asked.append((patient, left)))
    first, second = (samples.retina_eye(k, SEED) for k in (0, 3))  # the first two of the training part
    assert first.patient == second.patient == 0
    assert asked[0][0].tone.tolist() == asked[1][0].tone.tolist() and asked[0][1] != asked[1][1]


def test_the_mean_colour_hardly_tells_the_findings():
    eyes = [samples.retina_eye(k, 0) for k in range(36)]
    colours = np.stack([eye.image.reshape(-1, 3).mean(0) for eye in eyes])
    for number in range(len(sample_retina.CLASSES)):
        there = np.array([number in eye.findings for eye in eyes])
        for channel in (*colours.T, colours.mean(1)):
            share = (channel[there][:, None] > channel[~there]).mean()
            assert max(share, 1 - share) < 0.8
