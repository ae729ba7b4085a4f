"""Sets of masks in which something small went wrong, or that mean something else than they seem to."""

import shutil

import numpy as np
import pytest
from PIL import Image

from engine.datasets import source
from engine.datasets.collection import collect
from engine.types import UserError
from tests.engine.datasets.formats.mask_sets import SIZE, save


@pytest.fixture
def masked(tmp_path, picture):
    """images/ and masks/ of which mask number k is of(k)."""
    def make(of, count=4):
        for k in range(count):
            picture(tmp_path / "images" / f"s{k}.png", *SIZE, seed=k)
            save(tmp_path / "masks" / f"s{k}.png", of(k))
        return tmp_path
    return make


def block(k=0, value=255):
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[10:30, 10 + k % 8:40] = value
    return mask


def read(root):
    return collect(source.read(root))


def said(found):
    return [(problem.code, problem.where) for problem in found.problems]


@pytest.mark.parametrize("count, photos", [(4, (1,)), (8, (3, 7))])
def test_photos_among_few_masks_are_named_and_the_good_masks_kept(masked, count, photos):
    root = masked(block, count=count)
    noise = np.random.default_rng(0).integers(0, 255, (*SIZE[::-1], 3), dtype=np.uint8)
    for k in photos:
        save(root / "images" / f"s{k}.png", noise)
        shutil.copy(root / "images" / f"s{k}.png", root / "masks" / f"s{k}.png")
    found = read(root)
    assert said(found) == [("mask_not_a_mask", f"masks/s{k}.png") for k in photos]
    assert found.classes == ("background", "foreground")


def test_where_half_are_photos_the_error_names_one_of_them(masked):
    root = masked(lambda k: block(k) if k % 2 else np.random.default_rng(k).integers(0, 255, (*SIZE[::-1], 3), dtype=np.uint8))
    with pytest.raises(UserError) as caught:
        read(root)
    assert caught.value.values["name"] in ("masks/s0.png", "masks/s2.png")


def two_colours(size):
    pixels = np.zeros((192, 256, 3), np.uint8)
    pixels[40:80, 40:120], pixels[100:160, 120:200] = (255, 0, 0), (0, 255, 0)
    return Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS)


def test_blends_at_the_edges_of_small_objects_become_the_nearest_colour(masked):
    found = read(masked(lambda k: two_colours(SIZE)))
    assert found.classes == ("background", "colour #00ff00", "colour #ff0000")
    assert ("mask_thresholded", ".") in said(found)
    counts = np.bincount(found.samples[0].labels.classes.ravel())[1:]
    assert counts.tolist() == pytest.approx([80 * 60 / 16, 80 * 40 / 16], rel=0.1)


def test_colours_that_only_lie_along_edges_are_refused_and_a_list_of_colours_is_asked_for(masked):
    def of(k):
        pixels = np.zeros((*SIZE[::-1], 3), np.uint8)
        for number in range(20):
            pixels[2 * number + 1, 5:60] = (40 + 10 * number, 250 - 7 * number, 30 + (number * 53) % 200)
        return pixels
    with pytest.raises(UserError, match="labelmap.txt") as caught:
        read(masked(of))
    assert caught.value.key == "masks_blended_colours"


def test_names_that_differ_in_case_keep_their_own_masks(masked, picture):
    root = masked(lambda k: block(k))
    picture(root / "images" / "S0.png", *SIZE, seed=9)
    save(root / "masks" / "S0.png", block(0, 255)[::-1])
    found = read(root)
    assert found.problems == []
    own = {sample.name: sample.labels.classes for sample in found.samples}
    assert np.array_equal(own["images/S0.png"], own["images/s0.png"][::-1])


def test_an_unreadable_mask_is_no_lost_image(masked):
    root = masked(block)
    (root / "masks" / "s1.png").write_bytes(b"")
    found = read(root)
    assert said(found) == [("mask_unreadable", "masks/s1.png")]
    assert "empty" in found.problems[0].message()
    assert [sample.labels is None for sample in found.samples] == [False, True, False, False]


def test_lines_of_a_list_of_colours_that_are_none_are_named(masked):
    root = masked(lambda k: np.stack([block(k, 128), block(k, 0), block(k, 0)], -1))
    lines = ["# label:color_rgb:parts:actions", "background:0,0,0::", "x:128,0,0::", "y:300,-1,nan::", "z:128,0,0::"]
    (root / "labelmap.txt").write_text("\n".join(lines) + "\n")
    found = read(root)
    assert found.classes == ("background", "x")
    assert said(found) == [("legend_line_wrong", "labelmap.txt:4"), ("legend_colour_twice", "labelmap.txt")]


# ---- masks that mean something else than they seem to

def numbered(k, count):
    mask = np.zeros(SIZE[::-1], np.uint8)
    for number in range(count):
        mask[5 + 10 * (number // 4):12 + 10 * (number // 4), 3 + 15 * (number % 4):13 + 15 * (number % 4)] = number + 1
    return mask


def test_masks_that_number_their_objects_are_read_as_objects(masked):
    found = read(masked(lambda k: numbered(k, (2, 5, 0, 3)[k])))
    assert (found.classes, found.task, said(found)) == (("object",), "instance", [("masks_number_objects", ".")])
    assert [len(sample.labels) for sample in found.samples] == [2, 5, 0, 3]
    assert found.samples[0].labels.boxes.tolist() == [[3, 5, 13, 12], [18, 5, 28, 12]]


@pytest.mark.parametrize("of", [
    lambda k: numbered(k, 3),  # the same numbers everywhere
    lambda k: np.where(numbered(k, k + 1) == 2, 0, numbered(k, k + 1)),  # with gaps
    lambda k: numbered(k, k + 1) + numbered(k, k + 1)[::-1, ::-1] * (numbered(k, k + 1) == 0)])  # in several pieces
def test_classes_are_not_taken_for_numbers_of_objects(masked, of):
    assert read(masked(of)).task == "semantic"


def test_a_list_of_classes_speaks_against_numbers_of_objects(masked):
    root = masked(lambda k: numbered(k, k + 1))
    (root / "classes.txt").write_text("background\na\nb\nc\nd\n")
    assert read(root).classes == ("background", "a", "b", "c", "d")


def test_good_pieces_beside_the_masks_of_faulty_ones_show_nothing(tmp_path, picture):
    for k, name in enumerate(("train/good/000", "test/good/000", "test/broken/000", "test/broken/001")):
        picture(tmp_path / "bottle" / f"{name}.png", *SIZE, seed=k)
    for k in range(2):
        save(tmp_path / "bottle" / "ground_truth" / "broken" / f"00{k}_mask.png", block(k))
    found = read(tmp_path)
    assert (found.classes, said(found)) == (("background", "foreground"), [("masks_of_good_images", ".")])
    assert {sample.name.removeprefix("bottle/"): bool(sample.labels.classes.any()) for sample in found.samples} == {
        "train/good/000.png": False, "test/good/000.png": False, "test/broken/000.png": True, "test/broken/001.png": True}


def test_masks_beside_images_in_folders_of_classes_win_and_the_classes_can_be_asked_for(tmp_path, picture):
    for kind in ("benign", "malignant"):
        for k in range(1, 3):
            picture(tmp_path / kind / f"{kind} ({k}).png", *SIZE, seed=k + len(kind))
            save(tmp_path / kind / f"{kind} ({k})_mask.png", block(k))
    found = read(tmp_path)
    assert (found.task, said(found)) == ("semantic", [("mask_folders_named", ".")])
    assert "benign, malignant" in found.problems[0].message()
    classes = collect(source.read(tmp_path, "class_folders"))
    assert (classes.classes, len(classes.samples), said(classes)) == (("benign", "malignant"), 4, [("class_folder_masks_left_out", ".")])
