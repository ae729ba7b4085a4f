"""Masks that do not fit their image, or are none; and real sets of masks."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from engine.datasets.formats import mask_items, mask_png
from engine.datasets.images import open_image
from tests.engine.datasets.formats.mask_sets import SIZE, codes, maker_of, read, save, shapes


@pytest.fixture
def masked(tmp_path, picture):
    return maker_of(tmp_path / "set", picture)


# ---- what does not fit

def test_a_mask_of_another_size_is_left_out_and_named(masked):
    def of(k):
        return cv2.resize(shapes(k) * 255, (32, 24), interpolation=cv2.INTER_AREA) if k == 1 else shapes(k) * 255
    found = read(masked(of))
    assert [(problem.code, problem.where) for problem in found.problems] == [("mask_size_wrong", "masks/s1.png")]
    assert all(text in found.problems[0].message() for text in ("32x24", "64x48"))
    assert [sample.labels is None for sample in found.samples] == [False, True, False, False]
    assert found.classes == ("background", "foreground")


def test_an_image_without_mask_is_kept_and_named(masked):
    found = read(masked(lambda k: None if k == 2 else shapes(k) * 255))
    assert [(problem.code, problem.where) for problem in found.problems] == [("image_without_mask", "images/s2.jpg")]
    assert len(found.samples) == 4


def test_many_images_without_masks_are_counted_after_the_first(masked, monkeypatch):
    monkeypatch.setattr(mask_items, "MAX_NAMED", 3)
    found = read(masked(lambda k: shapes(k) if k == 0 else None, count=9))
    assert codes(found) == ["image_without_mask"] * 3 + ["images_without_masks"]
    assert found.problems[-1].values == {"count": 5}


def test_a_mask_without_image_and_a_damaged_one_are_named(masked):
    root = masked(lambda k: shapes(k) * 255)
    save(root / "masks" / "lost.png", shapes())
    whole = (root / "masks" / "s1.png").read_bytes()
    (root / "masks" / "s1.png").write_bytes(whole[:len(whole) // 2])
    (root / "masks" / "s2.png").write_bytes(b"")
    found = read(root)
    assert {(problem.code, problem.where) for problem in found.problems} == {
        ("mask_without_image", "masks/lost.png"), ("mask_unreadable", "masks/s1.png"), ("mask_unreadable", "masks/s2.png")}
    assert len(found.samples) == 4


def test_a_bomb_among_the_masks_is_refused_by_its_header(masked):
    root = masked(lambda k: shapes(k) * 255)
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    (root / "masks" / "s0.png").write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)))
    found = read(root)
    assert codes(found) == ["mask_unreadable"]
    assert "million pixels" in found.problems[0].message()


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_mask_that_lies_like_the_stored_image_is_turned_with_it(tmp_path, orientation):
    stored = np.zeros((*SIZE[::-1], 3), np.uint8)
    stored[shapes(0, (1, 0, 1)) > 0] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(tmp_path / "images" / "a.png", stored, exif=exif)
    save(tmp_path / "masks" / "a.png", shapes(0, (255, 0, 255)))
    found = read(tmp_path)
    assert found.samples[0].size == SIZE[::-1]
    assert np.array_equal(found.samples[0].labels.classes > 0, open_image(tmp_path / "images" / "a.png")[..., 0] > 0)
    assert codes(found) == ["masks_turned"]


def test_an_upright_mask_of_a_turned_image_stays_as_it_is(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "images" / "a.png", np.zeros((*SIZE[::-1], 3), np.uint8), exif=exif)
    upright = np.ascontiguousarray(shapes().T) * 255
    save(tmp_path / "masks" / "a.png", upright)
    assert np.array_equal(read(tmp_path).samples[0].labels.classes, upright > 0)


def test_of_too_many_masks_some_are_looked_at_and_new_values_are_void(masked, monkeypatch):
    monkeypatch.setattr(mask_png, "MAX_SURVEYED", 64 * 48 * 3)
    root = masked(lambda k: shapes(k, (1, 2)) if k < 11 else shapes(k, (1, 3)), count=12)
    order = list(mask_png._spread(12))
    assert sorted(order) == list(range(12))
    found = read(root)
    assert "masks_sampled" in codes(found)
    if 11 not in order[:4]:
        assert "mask_value_unknown" in codes(found)


# ---- real data

def test_the_membranes_have_two_classes_and_no_background(reference):
    root = reference / "data" / "sem_membrane_png"
    assert mask_png.detects(root)
    found = read(root)
    assert (len(found.samples), found.classes, codes(found)) == (30, ("value 0", "value 255"), ["mask_polarity_unclear"])
    for sample in found.samples[:5]:
        stored = np.asarray(Image.open(root / "label" / Path(sample.name).name))
        assert np.array_equal(sample.labels.classes, stored // 255)


def test_camvid_and_voc_samples_are_read(reference):
    annotations = reference / "data" / "formats" / "annotations"
    camvid = read(annotations / "datumaro_camvid_dataset")
    assert {sample.split for sample in camvid.samples} == {"train", "valid", "test"}
    assert all(sample.labels is not None for sample in camvid.samples)
    voc = read(annotations / "datumaro_voc_dataset" / "voc_dataset1")
    assert [(sample.name, sample.split, sample.labels is None) for sample in voc.samples] == [
        ("JPEGImages/2007_000001.jpg", "train", False), ("JPEGImages/2007_000002.jpg", "test", True)]
