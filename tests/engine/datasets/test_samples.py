"""Generated samples: the same every time, labelled to the pixel, and readable like any other data set."""

import copy
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine import messages
from engine.datasets import samples
from engine.datasets.aerial import scenes, site
from engine.datasets.aerial.model import Part
from engine.datasets.formats import formats
from engine.types import SPLITS, Problem, UserError

ROUND = len(scenes.KINDS)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample") / "new" / "set"
    samples.generate("detect", folder, 2 * ROUND, 3)
    return folder


def read(folder):
    reading = formats.get("yolo").read(folder)
    return reading, list(reading.items)


# -- the same every time --------------------------------------------------------------------------------------------------------------


def test_the_same_seed_writes_the_same_bytes(written, tmp_path):
    samples.generate("detect", tmp_path / "again", 2 * ROUND, 3)
    assert contents(tmp_path / "again") == contents(written)


def test_another_seed_gives_other_pictures(written, tmp_path):
    samples.generate("detect", tmp_path / "other", 3, 4)
    ours, theirs = contents(written), contents(tmp_path / "other")
    assert not any(ours[name] == theirs[name] for name in theirs if name.endswith(".jpg"))


def test_an_image_does_not_depend_on_how_many_are_made(written, tmp_path):
    samples.generate("detect", tmp_path / "fewer", 5, 3)
    fewer = contents(tmp_path / "fewer")
    del fewer["data.yaml"]
    assert len(fewer) == 10
    assert fewer.items() <= contents(written).items()


@pytest.mark.parametrize("seed", [-1, 0, 2**63, 2**70])
def test_any_whole_number_is_a_seed(seed):
    assert samples.aerial_scene(0, seed).image.shape == (320, 320, 3)


# -- splits ---------------------------------------------------------------------------------------------------------------------------


def test_a_hundred_and_twenty_images_are_split_75_to_15_to_10():
    splits = [samples.PATTERN[k % len(samples.PATTERN)] for k in range(120)]
    assert (splits.count("train"), splits.count("valid"), splits.count("test")) == (90, 18, 12)


@pytest.mark.parametrize(("count", "splits"), [(1, 1), (2, 2), (3, 3), (7, 3)])
def test_every_split_gets_an_image_as_soon_as_there_are_three(tmp_path, count, splits):
    wanted = set(SPLITS[:splits])
    assert samples.generate("detect", tmp_path, count, 1) == count
    images = [file.parts[-3] for file in tmp_path.rglob("*.jpg")]
    assert set(images) == wanted and len(images) == count
    assert {folder.name for folder in tmp_path.iterdir() if folder.is_dir()} == wanted


# -- what is on disk ------------------------------------------------------------------------------------------------------------------


def test_the_yolo_reader_finds_every_image_and_no_problem(written):
    reading, items = read(written)
    assert reading.classes == ("aircraft", "ship", "vehicle", "building")
    assert not [item for item in items if isinstance(item, Problem)]
    assert len(items) == 2 * ROUND and {item.split for item in items} == {"train", "valid", "test"}
    assert all(item.size == (320, 320) and 1 <= len(item.labels) <= 8 for item in items)


def test_the_boxes_read_back_are_those_of_the_masks(written):
    for item in read(written)[1]:
        scene = samples.aerial_scene(int(item.image.stem.split("_")[1]), 3)
        assert np.allclose(item.labels.boxes, scene.boxes(), atol=1e-3)
        assert item.labels.classes.tolist() == scene.classes.tolist()


def test_the_jpeg_looks_like_the_scene(written):
    file = next(written.rglob("scene_0004.jpg"))
    stored = cv2.imread(str(file))[..., ::-1].astype(float)
    assert np.abs(stored - samples.aerial_scene(4, 3).image).mean() < 6


def test_file_names_and_folders_tell_nothing_of_the_classes(written):
    assert not [name for name in contents(written) if any(word in name for word in scenes.CLASSES)]


def test_a_round_of_images_shows_every_class():
    for seed in range(3):
        assert {int(c) for k in range(2 * ROUND) for c in samples.aerial_scene(k, seed).classes} == {0, 1, 2, 3}


def test_progress_counts_the_images(tmp_path):
    seen = []
    samples.generate("detect", tmp_path, 3, 0, lambda done, wanted: seen.append((done, wanted)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


# -- pixels ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", range(ROUND))
def test_boxes_are_tight_around_the_pixels_that_show_the_object(kind, monkeypatch):
    """Painting one object magenta and then green shows which pixels are its own, whatever the masks say."""
    monkeypatch.setattr(site, "_photograph", lambda rng, image: image)
    place = scenes.KINDS[kind](np.random.default_rng([7, kind]))
    boxes = copy.deepcopy(place).finish().boxes()
    for i in range(len(boxes)):
        pictures = []
        for colour in ((255.0, 0.0, 255.0), (0.0, 255.0, 0.0)):
            painted = copy.deepcopy(place)
            painted.objects[i] = [Part(part.points, colour) for part in painted.objects[i]]
            pictures.append(painted.finish().image.astype(int))
        rows, columns = np.nonzero(np.abs(pictures[0] - pictures[1]).max(axis=2) > 127)
        seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert np.abs(boxes[i] - seen).max() <= 1, (kind, i, boxes[i], seen)


@pytest.mark.parametrize("kind", range(ROUND))
def test_masks_never_overlap_and_objects_have_a_useful_size(kind):
    scene = scenes.generate(np.random.default_rng([5, kind]), kind)
    boxes = scene.boxes()
    longest = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    assert longest.min() >= 20 and longest.max() <= 112
    assert boxes.min() >= 0 and boxes.max() <= 320
    assert not any((a & b).any() for a, b in combinations(scene.masks, 2))
    for mask, (left, top, right, bottom) in zip(scene.masks, boxes.astype(int), strict=True):
        assert mask[top:bottom, left:right].sum() == mask.sum()
        assert mask[top].any() and mask[bottom - 1].any() and mask[:, left].any() and mask[:, right - 1].any()


# -- refusals -------------------------------------------------------------------------------------------------------------------------


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError) as caught:
        samples.generate("detect", tmp_path, 3)
    assert caught.value.key == "output_not_empty" and caught.value.values["path"] == tmp_path
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="not an empty folder"):
        samples.generate("detect", tmp_path / "file", 3)


@pytest.mark.parametrize("kind", ["panoptic", "pony"])
def test_a_kind_that_is_missing_is_said_so_before_anything_is_written(tmp_path, kind):
    with pytest.raises(UserError) as caught:
        samples.generate(kind, tmp_path / "out", 3)
    assert caught.value.key == "sample_kind_missing" and caught.value.values == {"kind": kind, "known": "detect, instance, semantic, classify"}
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("count", [0, -5])
def test_a_number_of_images_below_one_is_refused(tmp_path, count):
    with pytest.raises(UserError) as caught:
        samples.generate("detect", tmp_path / "out", count)
    assert caught.value.key == "sample_count" and not (tmp_path / "out").exists()


@pytest.mark.parametrize("language", messages.LANGUAGES)
@pytest.mark.parametrize("key", ["sample_kind_missing", "sample_count", "output_not_empty"])
def test_every_refusal_has_a_text_and_a_remedy(language, key):
    error = UserError(key, kind="instance", known="detect", value=0, path="folder")
    for told, english in ((error.message(language), error.message("en")), (error.remedy(language), error.remedy("en"))):
        assert not told.startswith("error.") and "{" not in told and (told == english) == (language == "en")
