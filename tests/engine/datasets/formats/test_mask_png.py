"""Masks as pictures: what their values mean, decided over the whole set."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from engine.datasets.formats import mask_png
from engine.datasets.formats.mask_codes import voc_colour
from engine.types import IGNORE, UserError
from tests.engine.datasets.formats.mask_sets import SIZE, codes, maker_of, mask_of, read, shapes


@pytest.fixture
def masked(tmp_path, picture):
    return maker_of(tmp_path / "set", picture)


# ---- what values mean

@pytest.mark.parametrize("high", [1, 255])
def test_a_mask_of_0_and_255_has_two_classes_as_one_of_0_and_1_has(masked, high):
    found = read(masked(lambda k: shapes(k) * high))
    assert found.classes == ("background", "foreground")
    assert found.task == "semantic"
    assert found.problems == []
    for k in range(4):
        assert np.array_equal(mask_of(found, f"s{k}"), shapes(k))


@pytest.mark.parametrize("mode", ["1", "RGB", "RGBA", "LA", "P"])
def test_a_binary_mask_may_come_in_any_colour_mode(masked, mode):
    found = read(masked(lambda k: Image.fromarray(shapes(k) * 255).convert(mode)))
    assert found.classes == ("background", "foreground")
    assert np.array_equal(mask_of(found, "s1"), shapes(1))


@pytest.mark.parametrize(("suffix", "mode"), [("tif", "L"), ("bmp", "L"), ("bmp", "1"), ("gif", "L"), ("gif", "P"), ("tif", "I;16"), ("tif", "F"),
                                              ("png", "I;16")])
def test_a_mask_may_come_in_any_file_format(masked, suffix, mode):
    def of(k):
        if mode == "F":
            return shapes(k).astype(np.float32)
        return shapes(k).astype(np.uint16) if mode == "I;16" else Image.fromarray(shapes(k) * 255).convert(mode)
    found = read(masked(of, suffix=suffix))
    assert found.classes == ("background", "foreground")
    assert np.array_equal(mask_of(found, "s2"), shapes(2))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_gray_of_few_bits_keeps_its_numbers(masked, bits):
    values = tuple(range(1, min(4, 1 << bits)))
    root = masked(lambda k: None)
    for k in range(4):
        write_gray_png(root / "masks" / f"s{k}.png", shapes(k, values), bits)
    found = read(root)
    assert found.classes[1:] == (("foreground",) if bits == 1 else ("class 1", "class 2", "class 3"))
    assert all(np.array_equal(mask_of(found, f"s{k}"), shapes(k, values)) for k in range(4))


def write_gray_png(path, mask, bits):
    """A PNG of 1, 2 or 4 bits a pixel, which Pillow does not write."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    rows = np.packbits(np.unpackbits(mask[..., None], axis=2)[:, :, 8 - bits:].reshape(SIZE[1], -1), axis=1)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *SIZE, bits, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b""))


def test_indices_become_classes_in_their_order(masked):
    found = read(masked(lambda k: shapes(k, (1, 2, 5))))
    assert found.classes == ("background", "class 1", "class 2", "class 5")
    assert np.array_equal(mask_of(found, "s0"), np.where(shapes(0, (1, 2, 5)) == 5, 3, shapes(0, (1, 2, 5))))


def test_values_far_apart_are_named_by_value(masked):
    found = read(masked(lambda k: shapes(k, (50, 100))))
    assert found.classes == ("background", "value 50", "value 100")
    assert sorted(np.unique(mask_of(found, "s0"))) == [0, 1, 2]


def test_values_without_0_have_no_background(masked):
    found = read(masked(lambda k: shapes(k, (1, 2)) + 1))
    assert found.classes == ("class 1", "class 2", "class 3")


def test_255_beside_small_indices_is_void(masked):
    found = read(masked(lambda k: shapes(k, (1, 2, 255))))
    assert found.classes == ("background", "class 1", "class 2")
    assert (mask_of(found, "s0") == IGNORE).sum() == (shapes(0, (1, 2, 255)) == 255).sum()
    assert codes(found) == ["mask_no_names", "mask_void"]
    assert found.problems[0].values == {"count": 2}


def test_255_beside_0_and_1_is_void_too(masked):
    found = read(masked(lambda k: shapes(k, (1, 255))))
    assert found.classes == ("background", "foreground")
    assert (mask_of(found, "s0") == IGNORE).any()


def test_0_128_255_are_three_classes(masked):
    found = read(masked(lambda k: shapes(k, (128, 255))))
    assert found.classes == ("background", "value 128", "value 255")


def test_a_thin_class_between_two_others_is_no_soft_edge(masked):
    def of(k):
        mask = shapes(k, (255,))
        mask[cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3))) > 0] = 128
        return mask
    assert read(masked(of)).classes == ("background", "value 128", "value 255")


def test_what_covers_the_most_is_no_foreground(masked):
    """The membrane set: 0 is the membrane, 255 the cell."""
    found = read(masked(lambda k: 255 - shapes(k) * 255))
    assert found.classes == ("value 0", "value 255")
    problem = found.problems[0]
    assert (problem.code, problem.severity) == ("mask_polarity_unclear", "warning")
    assert problem.values["low"] in problem.message()
    assert "background" in problem.remedy()


def test_an_empty_mask_is_a_negative_sample(masked):
    found = read(masked(lambda k: shapes(k) * 255 * (k != 2)))
    assert found.classes == ("background", "foreground")
    assert not mask_of(found, "s2").any()
    assert found.problems == []


# ---- soft edges and compression

def soft(k, blur=1.2, high=255):
    return cv2.GaussianBlur(shapes(k) * np.uint8(high), (0, 0), blur)


@pytest.mark.parametrize("blur", [0.5, 1.2, 2.0])
def test_soft_edges_are_cut_at_half_and_that_is_said(masked, blur):
    found = read(masked(lambda k: soft(k, blur)))
    assert found.classes == ("background", "foreground")
    assert codes(found) == ["mask_thresholded"]
    assert int(found.problems[0].values["levels"]) > 4
    for k in range(4):
        assert np.array_equal(mask_of(found, f"s{k}"), soft(k, blur) > 127)


def test_edges_of_a_resized_mask_are_no_classes(masked):
    def of(k):
        return Image.fromarray(shapes(k) * 255).resize((32, 24), Image.Resampling.BILINEAR).resize(SIZE, Image.Resampling.BICUBIC)
    found = read(masked(of))
    assert found.classes == ("background", "foreground")
    assert "mask_thresholded" in codes(found)


def test_soft_edges_between_three_colours_make_no_new_class(masked):
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)
    def of(k):
        large = cv2.resize(colours[shapes(k, (1, 2))], (256, 192), interpolation=cv2.INTER_NEAREST)
        return cv2.resize(cv2.GaussianBlur(large, (0, 0), 1), SIZE, interpolation=cv2.INTER_AREA)
    found = read(masked(of))
    assert found.classes == ("background", "colour #0000ff", "colour #ff0000")
    assert "mask_thresholded" in codes(found)
    assert (mask_of(found, "s1") != np.array([0, 2, 1])[shapes(1, (1, 2))]).mean() < 0.01


def test_a_binary_jpeg_mask_is_cut_at_half_and_that_is_said(masked):
    found = read(masked(lambda k: shapes(k) * 255, suffix="jpg", quality=75))
    assert found.classes == ("background", "foreground")
    assert codes(found) == ["mask_lossy_thresholded"]
    assert (mask_of(found, "s1") != shapes(1)).mean() < 0.01


def test_a_jpeg_mask_of_many_classes_is_refused(masked):
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    root = masked(lambda k: colours[shapes(k, (1, 2, 3))], suffix="jpg", quality=75)
    assert mask_png.detects(root)
    with pytest.raises(UserError, match="JPEG"):
        read(root)


def test_photos_in_a_folder_called_masks_are_no_masks(masked):
    rng = np.random.default_rng(0)
    root = masked(lambda k: rng.integers(0, 255, (*SIZE[::-1], 3), dtype=np.uint8))
    with pytest.raises(UserError, match="different values"):
        read(root)


def test_a_thousand_numbers_are_no_classes(masked):
    root = masked(lambda k: np.kron(np.arange(768).reshape(24, 32) + 300 * k, np.ones((2, 2), int)).astype(np.uint16))
    with pytest.raises(UserError):
        read(root)


def test_one_photo_among_the_masks_is_left_out_and_named(masked, picture):
    root = masked(lambda k: shapes(k) * 255, count=8)
    picture(root / "masks" / "s3.png", *SIZE, seed=9)
    found = read(root)
    assert [(problem.code, problem.where) for problem in found.problems] == [("mask_not_a_mask", "masks/s3.png")]
    assert found.classes == ("background", "foreground")
    assert [sample.labels is None for sample in found.samples].count(True) == 1


# ---- colours and palettes

def test_each_colour_is_a_class_and_red_is_not_green(masked):
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0]], np.uint8)
    found = read(masked(lambda k: colours[shapes(k, (1, 2))]))
    assert found.classes == ("background", "colour #00ff00", "colour #ff0000")
    assert np.array_equal(mask_of(found, "s0"), np.array([0, 2, 1])[shapes(0, (1, 2))])


def test_transparent_pixels_are_background(masked):
    def of(k):
        layers = np.full((*SIZE[::-1], 4), 255, np.uint8)
        layers[..., :3] = (10, 200, 30)
        layers[..., 3] = shapes(k) * 255
        return layers
    found = read(masked(of))
    assert found.classes == ("background", "colour #0ac81e")
    assert np.array_equal(mask_of(found, "s0"), shapes(0))


def test_black_on_transparent_ground_is_the_object(masked):
    def of(k):
        return np.dstack([np.zeros((*SIZE[::-1], 3), np.uint8), shapes(k) * np.uint8(255)])
    found = read(masked(of))
    assert found.classes == ("background", "colour #000000")
    assert np.array_equal(mask_of(found, "s3"), shapes(3))


def palette_picture(mask, colours):
    picture = Image.fromarray(mask)
    picture.putpalette(np.array(colours, np.uint8).ravel().tolist())
    return picture


def test_indices_of_a_palette_are_the_classes(masked):
    colours = [[value >> 16, value >> 8 & 255, value & 255] for value in map(voc_colour, range(256))]
    found = read(masked(lambda k: palette_picture(shapes(k, (1, 15, 255)), colours)))
    assert found.classes == ("background", "class 1", "class 15")
    assert (mask_of(found, "s0") == IGNORE).sum() == (shapes(0, (255,)) == 255).sum()


def test_palettes_that_disagree_are_read_by_colour(masked):
    def of(k):
        colours = [[0, 0, 0], [255, 0, 0], [0, 255, 0]] if k % 2 else [[0, 0, 0], [0, 255, 0], [255, 0, 0]]
        return palette_picture(shapes(k, (1, 2) if k % 2 else (2, 1)), colours)
    found = read(masked(of))
    assert found.classes == ("background", "colour #00ff00", "colour #ff0000")
    assert all(np.array_equal(mask_of(found, f"s{k}"), np.array([0, 2, 1])[shapes(k, (1, 2))]) for k in range(4))


def test_the_colour_of_void_in_pascal_voc_is_void(masked):
    colours = np.array([[0, 0, 0], [128, 0, 0], [224, 224, 192]], np.uint8)
    found = read(masked(lambda k: colours[shapes(k, (1, 2))]))
    assert found.classes == ("background", "colour #800000")
    assert (mask_of(found, "s0") == IGNORE).any()
