"""The overlay: what is drawn can be read, in any script, on any picture, and never spoils what it is given."""

import itertools

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from engine import overlay, text
from engine.types import RLE, Instances, Polygons, SemanticMask

# Machado, Oliveira & Fernandes 2009, severity 1.0, on linear RGB
VISIONS = {
    "usual": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def picture(width=320, height=240, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def grey(width=320, height=240):
    return np.full((height, width, 3), 128, np.uint8)


def linear(color):
    channels = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def changed(before, after):
    return (before != after).any(axis=2)


# -- colours --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vision", VISIONS)
def test_any_two_class_colours_stay_apart_in_every_colour_vision(vision):
    seen = [lab(np.clip(np.asarray(VISIONS[vision]) @ linear(c), 0, 1)) for c in overlay.PALETTE]
    assert len(seen) == 12
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 15


def test_every_class_colour_keeps_three_to_one_against_the_image_well():
    def luminance(color):
        return linear(color) @ [0.2126, 0.7152, 0.0722]

    assert min((luminance(c) + 0.05) / (luminance("#0A0E12") + 0.05) for c in overlay.PALETTE) > 3


def test_the_first_twelve_classes_are_solid_and_later_ones_reuse_the_colours_with_dashes():
    assert [overlay.dashed(i) for i in (0, 11, 12, 23, 24, 35, 36)] == [False, False, True, True, True, True, True]
    assert overlay.color_of(0) == overlay.color_of(12) == overlay.color_of(24) == "#E69F00"
    assert len({(overlay.color_of(i), overlay.dash_of(i)) for i in range(48)}) == 48


@pytest.mark.parametrize("shape", [None, Polygons((np.array([[60.0, 60], [200, 60], [200, 160], [60, 160]]),))])
def test_boxes_of_25_classes_all_look_different(shape):
    pictures = set()
    for class_id in range(25):
        labels = Instances([[60, 60, 200, 160]], [class_id], None, None if shape is None else (shape,))
        pictures.add(overlay.draw(grey(), labels, ["same name"] * 25).tobytes())
    assert len(pictures) == 25


@pytest.mark.parametrize("ground", [0, 255], ids=["dark", "light"])
def test_fine_lines_of_small_pictures_show_their_colour_and_stand_out_on_dark_and_light(ground):
    for class_id in range(12):
        box = Instances([[20, 20, 100, 80]], [class_id])
        drawn = overlay.draw(np.full((96, 128, 3), ground, np.uint8), box, ["x"], names=False, pen=overlay.FINE)
        across = drawn[48, 15:26].astype(int)
        colour, casing = (across == overlay._rgb(class_id)).all(axis=1), (across == overlay._ink(overlay._rgb(class_id))).all(axis=1)
        assert colour.sum() == 3
        darkest = min(abs(int(row.mean()) - ground) for row in across[colour])
        assert max(darkest, *(abs(int(row.mean()) - ground) for row in across[casing])) > 60


def test_the_thirteenth_class_of_a_mask_has_gaps_in_its_rim():
    values = np.zeros((80, 100), np.uint16)
    values[20:60, 20:80] = 12
    names = ["background", *map(str, range(1, 13))]
    plain = overlay.draw_mask(grey(100, 80), SemanticMask(np.where(values, 1, 0).astype(np.uint16)), names, opacity=0)
    dashes = overlay.draw_mask(grey(100, 80), SemanticMask(values), names, opacity=0)
    assert 0.2 < changed(grey(100, 80), dashes).sum() / changed(grey(100, 80), plain).sum() < 0.8


# -- chips ----------------------------------------------------------------------------------------------------------------------------


def test_the_class_id_stands_for_a_name_that_no_font_can_draw(monkeypatch):
    drawn = text.render
    monkeypatch.setattr(text, "render", lambda words, size: None if "\u0e44" in words else drawn(words, size))
    overlay._chip.cache_clear()
    unknown, number = (overlay._chip(name, 3, "0.87", 20, 500) for name in ("\u0e44\u0e17\u0e22 cat", "#3"))
    overlay._chip.cache_clear()
    assert np.array_equal(unknown, number)


@pytest.mark.parametrize("name", ["", "\n", "\x00"])
def test_an_empty_name_shows_the_class_id(name):
    assert np.array_equal(overlay._chip(name, 7, "", 20, 500), overlay._chip("#7", 7, "", 20, 500))


def test_a_class_without_a_name_shows_its_id():
    labels = Instances([[60, 60, 200, 160]], [5])
    assert np.array_equal(overlay.draw(grey(), labels, ["a"]), overlay.draw(grey(), labels, ["", "", "", "", "", "#5"]))


def test_the_text_on_a_chip_reads_at_four_and_a_half_to_one():
    for class_id in range(12):
        colour = overlay._rgb(class_id)
        dark, light = sorted(linear("#" + bytes(c).hex()) @ [0.2126, 0.7152, 0.0722] for c in (colour, overlay._ink(colour)))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, class_id


# -- pictures -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("image", [picture(), picture()[::-1, ::-1]], ids=["plain", "flipped view"])
def test_the_given_picture_is_not_modified(image):
    image.flags.writeable = False
    kept = image.copy()
    result = overlay.draw(image, Instances([[10, 10, 200, 200]], [0], [0.5]), ["a"])
    assert np.array_equal(image, kept)
    assert result.shape == image.shape and result.dtype == np.uint8 and not np.shares_memory(result, image)


def test_no_objects_give_an_equal_new_picture():
    image = picture()
    result = overlay.draw(image, Instances.empty(), [])
    assert np.array_equal(result, image) and not np.shares_memory(result, image)


@pytest.mark.parametrize("size", [(1, 1), (2, 30), (30, 2), (7, 7), (0, 5)])
def test_tiny_pictures_work(size):
    image = np.zeros((*size, 3), np.uint8)
    labels = Instances([[0, 0, 1, 1], [-5, -5, 50, 50]], [0, 1], [0.5, 0.9])
    assert overlay.draw(image, labels, ["镊子", "b"], highlight=1).shape == image.shape


def test_a_picture_that_is_not_rgb_bytes_is_refused():
    with pytest.raises(ValueError, match=r"float32\[4, 4, 3\]"):
        overlay.draw(np.zeros((4, 4, 3), np.float32), Instances.empty(), [])
    with pytest.raises(ValueError, match=r"uint8\[4, 4\]"):
        overlay.draw(np.zeros((4, 4), np.uint8), Instances.empty(), [])


def test_boxes_outside_the_picture_change_nothing_and_absurd_ones_do_no_harm():
    outside = Instances([[400, 10, 500, 60], [-90, -90, -20, -20]], [0, 1], [0.9, 0.8])
    assert np.array_equal(overlay.draw(grey(), outside, ["a", "b"]), grey())
    absurd = Instances([[-1e20, -1e20, 1e20, 1e20], [50, 50, 50, 50], [200, 200, 100, 100]], [0, 1, 2], [0.9, 0.8, 0.7])
    assert overlay.draw(grey(), absurd, ["a", "b", "c"]).shape == (240, 320, 3)


def test_a_box_line_runs_along_the_box_and_leaves_its_inside_alone():
    image = grey()
    marks = changed(image, overlay.draw(image, Instances([[100, 80, 220, 180]], [0]), ["a"]))
    assert marks[80, 100:220].all() and marks[179, 100:220].all() and marks[80:180, 100].all() and marks[80:180, 219].all()
    assert not marks[90:170, 110:210].any() and not marks[190:].any()


def test_chips_stay_inside_the_picture_wherever_the_box_is():
    for left, top in itertools.product((-30, 0, 150, 280, 310), (-30, 0, 5, 100, 230)):
        chip = overlay._chip("some name", 0, "0.87", 12, 320)
        x, y = overlay._place(np.array([left, top, left + 40, top + 40.0]), chip.shape[1], chip.shape[0], (320, 240),
                              np.zeros((0, 4)), overlay.Pen.for_image(320, 240))
        assert 0 <= x <= 320 - chip.shape[1] and 0 <= y <= 240 - chip.shape[0]


def test_a_chip_goes_inside_the_box_when_there_is_no_room_above():
    marks = changed(grey(), overlay.draw(grey(), Instances([[100, 0, 300, 200]], [0], [0.87]), ["aircraft"]))
    assert marks[4:12, 104:150].all()


def test_chips_of_neighbours_do_not_cover_one_another():
    taken = np.zeros((0, 4))
    pen = overlay.Pen.for_image(320, 240)
    for shift in range(5):
        box = np.array([100.0 + 3 * shift, 100, 180, 160])
        x, y = overlay._place(box, 60, 15, (320, 240), taken, pen)
        overlap = np.minimum([x + 60, y + 15], taken[:, 2:]) - np.maximum([x, y], taken[:, :2])
        assert not (overlap > 0).all(axis=1).any()
        taken = np.vstack([taken, [x, y, x + 60, y + 15]])


@pytest.mark.parametrize("width", [30, 40, 80, 150])
def test_a_long_name_is_shortened_until_the_chip_fits(width):
    chip = overlay._chip("a name of sixty characters that goes on and on and on and on", 0, "", 12, width)
    assert chip is not None and chip.shape[1] <= width


def test_truth_shows_no_number_and_scores_can_be_left_out():
    box, names = [[60, 60, 200, 160]], ["a"]
    truth = overlay.draw(grey(), Instances(box, [0]), names)
    scored = overlay.draw(grey(), Instances(box, [0], [0.87]), names)
    assert not np.array_equal(truth, scored)
    assert np.array_equal(truth, overlay.draw(grey(), Instances(box, [0], [0.87]), names, scores=False))
    assert np.array_equal(scored, overlay.draw(grey(), Instances(box, [0], [0.8712]), names))


def test_the_highlighted_object_is_the_one_that_changes_most():
    labels = Instances([[20, 40, 120, 200], [180, 40, 300, 200]], [0, 1], [0.9, 0.8])
    plain, marked = (overlay.draw(grey(), labels, ["a", "b"], highlight=h) for h in (None, 1))
    assert changed(plain, marked)[:, 160:].sum() > 200 and not changed(plain, marked)[:, :160].any()
    assert np.array_equal(plain, overlay.draw(grey(), labels, ["a", "b"], highlight=9))


def test_a_huge_picture_gets_thicker_lines_and_larger_text():
    small, large = overlay.Pen.for_image(640, 480), overlay.Pen.for_image(8000, 6000)
    assert large.width > 4 * small.width and large.font > 4 * small.font
    result = overlay.draw(grey(6000, 4000), Instances([[100, 300, 2000, 3000]], [0], [0.5]), ["a"])
    assert changed(grey(6000, 4000), result)[300:320, 100:2000].any(axis=0).all()


# -- shapes ---------------------------------------------------------------------------------------------------------------------------


def square(left, top, right, bottom):
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)


def test_polygons_and_their_run_lengths_are_filled_alike():
    """Integer squares: pycocotools rasterises the same pixels."""
    polygons = Polygons((square(40, 50, 160, 150),), (square(80, 80, 120, 120),))
    bits = np.zeros((240, 320), np.uint8)
    bits[50:150, 40:160] = 1
    bits[80:120, 80:120] = 0
    rle = RLE(coco_mask.encode(np.asfortranarray(bits))["counts"], (240, 320))
    for shape in (polygons, rle):
        mask, x, y = overlay.shape_mask(shape, 320, 240)
        whole = np.zeros((240, 320), np.uint8)
        whole[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
        assert (whole != bits).sum() <= (0 if shape is rle else 160)  # a hole's own rim may be cut with it


def test_polygons_agree_with_pycocotools():
    angle = np.linspace(0, 2 * np.pi, 50)[:-1]
    radius = 70 + 25 * np.sin(5 * angle)
    ring = np.stack([150.3 + radius * np.cos(angle), 120.7 + radius * np.sin(angle)], axis=1)
    theirs = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects([ring.ravel().tolist()], 240, 320)))
    mask, x, y = overlay.shape_mask(Polygons((ring,)), 320, 240)
    ours = np.zeros((240, 320), np.uint8)
    ours[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.97


@pytest.mark.parametrize("opacity", [0.0, 0.35, 1.0])
def test_the_fill_is_the_class_colour_mixed_by_opacity_and_a_hole_stays_clear(opacity):
    polygons = Polygons((square(40, 50, 280, 200),), (square(120, 90, 200, 160),))
    result = overlay.draw(grey(), Instances([[40, 50, 280, 200]], [0], None, (polygons,)), ["a"], opacity=opacity)
    wanted = np.array([0xE6, 0x9F, 0x00]) * opacity + 128 * (1 - opacity)
    assert np.abs(result[120, 80].astype(float) - wanted).max() <= 1
    assert (result[125, 160] == 128).all()


def test_shapes_that_are_empty_or_outside_work():
    shapes = (Polygons(()), Polygons((np.zeros((0, 2)),)), Polygons((square(900, 900, 950, 950),)), Polygons((square(-1e12, 0, 1e12, 9),)))
    labels = Instances([[0, 0, 9, 9]] * 4, [0, 1, 2, 3], None, shapes)
    assert overlay.draw(grey(), labels, []).shape == (240, 320, 3)


def test_a_mask_of_another_image_size_is_refused():
    rle = RLE(coco_mask.encode(np.asfortranarray(np.ones((10, 10), np.uint8)))["counts"], (10, 10))
    with pytest.raises(ValueError, match="10x10"):
        overlay.draw(grey(), Instances([[0, 0, 9, 9]], [0], None, (rle,)), ["a"])
