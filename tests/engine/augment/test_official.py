"""The published augmentation: boxes follow the pixels, checked against pictures in which each object is one flat colour."""

import numpy as np
import pytest

from engine.augment import framing, mixing, official, photometric
from engine.augment.boxed import Boxed
from engine.augment.framing import Frame
from engine.augment.mosaic import mosaic
from engine.augment.official import Chances, Taken, prepared
from engine.augment.photometric import distorted

ALL = Chances(strong=True, mosaic=0.5, mixup=0.5, copy_blend=0.5)
FRAMES = Chances(strong=True)
COLOURS = np.array([[250, 0, 0], [0, 250, 0], [0, 0, 250], [250, 250, 0]], np.uint8)
BOXES = np.array([[20, 30, 80, 70], [110, 60, 180, 140], [90, 5, 130, 40]], np.float32)


def picture(boxes=BOXES, width=200, height=150, first=0):
    """Object i has colour `first` + i, which is its class as well; the ground is gray."""
    image = np.full((height, width, 3), 90, np.uint8)
    classes = (first + np.arange(len(boxes))) % len(COLOURS)
    for class_id, (x1, y1, x2, y2) in zip(classes, boxes.astype(int), strict=True):
        image[y1:y2, x1:x2] = COLOURS[class_id]
    return Boxed(image, boxes, classes.astype(np.int64))


def seen_box(image, class_id, tolerance=60):
    """Bounds of the pixels that have the colour of a class."""
    rows, columns = np.nonzero(np.abs(image.astype(int) - COLOURS[class_id]).max(-1) <= tolerance)
    return None if not len(rows) else np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


def check(made, atol=2.0):
    """Every box lies where the pixels of its colour are. For images in which each class shows once."""
    for box, class_id in zip(made.boxes, made.classes, strict=True):
        found = seen_box(made.image, class_id)
        if (box[2:] - box[:2]).min() >= 6:
            np.testing.assert_allclose(box, found, atol=atol)


@pytest.fixture
def plain_light(monkeypatch):
    """Colours stay, so that objects can be found by them."""
    monkeypatch.setattr(official, "distorted", lambda image, random: image)


@pytest.mark.parametrize("seed", range(40))
def test_zoom_out_crop_and_flip_move_boxes_as_they_move_pixels(seed, plain_light):
    made = prepared(Taken(picture()), lambda _: None, FRAMES, side=160, seed=seed)
    assert made.image.shape == (160, 160, 3)
    check(made)


@pytest.mark.parametrize("seed", range(40))
def test_the_boxes_of_a_mosaic_bound_what_is_left_of_each_turned_object(seed):
    each = [picture(BOXES[:1] + 10 * number, 200 + 20 * number, 150, first=number) for number in range(4)]
    made = mosaic(each, 256, np.random.default_rng(seed))
    assert made.image.shape == (256, 256, 3) and set(made.classes) <= {0, 1, 2, 3}
    check(made)
    for class_id in range(4):
        seen = seen_box(made.image, class_id, 5)
        if seen is not None and (seen[2:] - seen[:2]).min() > 4:
            assert class_id in made.classes, "what is seen is learnt"


def test_mixup_shows_both_images_with_the_boxes_of_both():
    first, second = picture(BOXES[:1]), picture(BOXES[1:2], first=1)
    made = mixing.mixup(first, second, np.random.default_rng(0))
    np.testing.assert_array_equal(made.boxes, BOXES[:2])
    assert list(made.classes) == [0, 1]
    alone = made.image[40, 50].astype(int) - made.image[0, 0]
    assert 0.45 * (250 - 90) - 2 <= alone[0] <= 0.55 * (250 - 90) + 2
    ratios = {int(mixing.mixup(first, second, np.random.default_rng(seed)).image[40, 50, 0]) for seed in range(20)}
    assert len(ratios) > 5


@pytest.mark.parametrize("seed", range(40))
def test_objects_that_are_laid_on_lie_where_their_boxes_say(seed):
    base, donor = picture(np.zeros((0, 4), np.float32)), picture(BOXES)
    made = mixing.copy_blend(base, donor, np.random.default_rng(seed))
    if len(made) == 3 and all(mixing._hidden(box, np.delete(made.boxes, i, 0)) == 0 for i, box in enumerate(made.boxes)):
        check(made)
    assert 1 <= len(made) <= 3 and base.image.shape == made.image.shape


def test_an_object_laid_on_keeps_its_size_and_its_edge_is_soft():
    base, donor = picture(np.zeros((0, 4), np.float32), 400, 400), picture(BOXES[:1], 400, 400)
    donor.image[donor.image.max(-1) == 90] = 200
    made = mixing.copy_blend(base, donor, np.random.default_rng(1))
    np.testing.assert_allclose(made.sides, donor.sides)
    left, top, right, bottom = made.boxes[0].astype(int)
    before = made.image[(top + bottom) // 2, left - 4 : left, 1].astype(int)
    assert (made.image[top:bottom, left:right] == COLOURS[0]).all()
    assert (np.diff(before) >= 0).all() and before[-1] > 95, "the surroundings fade in towards the object"


def test_small_objects_are_not_laid_on_and_hidden_ones_are_no_longer_learnt():
    small = picture(np.array([[5, 5, 14, 14]], np.float32))
    base = picture(BOXES)
    assert mixing.copy_blend(base, small, np.random.default_rng(0)) is base
    tiny = picture(np.array([[90, 70, 96, 76]], np.float32))
    large = picture(np.array([[10, 10, 190, 140]], np.float32), first=1)
    gone = mixing.copy_blend(tiny, large, np.random.default_rng(0))
    assert list(gone.classes) == [1]


def together(seed, unpainted=None):
    """One image after everything. Each picture that is asked for shows one object, of a class of its own; one of them is left unpainted."""
    calls = []

    def picture_of(number):
        box = np.array([[20 + 7 * number, 30, 80 + 9 * number, 95]], np.float32)
        image = np.full((150, 200, 3), 60, np.uint8)
        if number != unpainted:
            x1, y1, x2, y2 = box[0].astype(int)
            image[y1:y2, x1:x2] = 220
        return Taken(Boxed(image, box, np.array([number])))

    def pick(_):
        calls.append(len(calls) + 1)
        return picture_of(calls[-1])

    return prepared(picture_of(0), pick, ALL, side=192, seed=seed)


def near(box, other, room):
    return (np.minimum(box[2:], other[2:]) + room > np.maximum(box[:2], other[:2])).all()


def test_everything_together_keeps_boxes_on_their_pixels(plain_light):
    """What changes when an object is not painted are its pixels: they lie where its box says, mixed, moved or laid on."""
    judged = 0
    for seed in range(60):
        made = together(seed)
        assert made.boxes.dtype == np.float32 and made.classes.dtype == np.int64 and (made.boxes >= 0).all() and (made.boxes <= 192).all()
        for index, class_id in enumerate(made.classes):
            box = made.boxes[index]
            if any(near(box, other, 20) for other in np.delete(made.boxes, index, 0)) or (box[2:] - box[:2]).min() < 6:
                continue
            changed = np.abs(together(seed, int(class_id)).image.astype(int) - made.image).max(-1) > 25
            rows, columns = np.nonzero(changed[max(0, int(box[1]) - 12) : int(box[3]) + 12, max(0, int(box[0]) - 12) : int(box[2]) + 12])
            corner = np.array([max(0, int(box[0]) - 12), max(0, int(box[1]) - 12)])
            found = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) + np.tile(corner, 2)
            np.testing.assert_allclose(box, found, atol=2)
            judged += 1
    assert judged > 80


def test_a_mosaic_is_neither_zoomed_out_nor_cropped(monkeypatch):
    def never(*_):
        raise AssertionError("a mosaic is one already")

    monkeypatch.setattr(framing, "zoomed_out", never)
    monkeypatch.setattr(framing, "cropped", never)
    for seed in range(10):
        prepared(Taken(picture()), lambda _: Taken(picture()), Chances(strong=True, mosaic=1.0), side=96, seed=seed)


def test_mixup_and_copy_blend_exclude_each_other(monkeypatch):
    done = []
    monkeypatch.setattr(official, "mixup", lambda first, second, random: (done.append("mixup"), first)[1])
    monkeypatch.setattr(official, "copy_blend", lambda first, second, random: (done.append("blend"), first)[1])
    for seed in range(60):
        before = len(done)
        prepared(Taken(picture()), lambda _: Taken(picture()), Chances(strong=True, mixup=0.5, copy_blend=0.5), side=64, seed=seed)
        assert len(done) - before <= 1
    assert 18 <= done.count("mixup") <= 42 and 6 <= done.count("blend") <= 26


def test_the_same_seed_gives_the_same_picture_and_chances_come_true():
    def pick(seed):
        return Taken(picture(BOXES[:2], first=seed % 4))

    twice = [prepared(Taken(picture()), pick, ALL, side=96, seed=5) for _ in range(2)]
    assert np.array_equal(twice[0].image, twice[1].image) and np.array_equal(twice[0].boxes, twice[1].boxes)
    seen = {prepared(Taken(picture()), pick, ALL, side=96, seed=seed).image.tobytes() for seed in range(30)}
    assert len(seen) == 30


def test_plain_stages_stretch_and_flip_and_do_nothing_else():
    straight = framing.framed(picture(), framing.whole((200, 150)), 160)
    for seed in range(8):
        made = prepared(Taken(picture()), lambda _: Taken(picture()), Chances(mosaic=1.0, mixup=1.0, copy_blend=1.0), side=160, seed=seed)
        assert any(np.array_equal(made.image, each.image) for each in (straight, straight.mirrored()))
        check(made)


@pytest.mark.parametrize("boxes", [np.zeros((0, 4), np.float32), np.array([[-40, -40, -5, -5], [5, 5, 5, 9], [190, 140, 400, 400]], np.float32)])
def test_images_without_objects_boxes_outside_and_single_images_are_accepted(boxes):
    for seed in range(25):
        for pick in (lambda _: None, lambda _: Taken(picture(boxes))):
            made = prepared(Taken(picture(boxes)), pick, ALL, side=96, seed=seed)
            assert made.image.shape == (96, 96, 3) and len(made.boxes) == len(made.classes)
            assert (made.sides > 0).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (640, 3)])
def test_images_of_odd_sizes_are_accepted(size):
    for seed in range(10):
        one = Taken(picture(np.array([[0, 0, *size]], np.float32), *size))
        assert prepared(one, lambda _: one, ALL, side=64, seed=seed).image.shape == (64, 64, 3)  # noqa: B023


def test_the_smallest_side_counts_in_pixels_of_the_image_as_it_was_taken():
    boxes = np.array([[10, 10, 21, 60], [50, 50, 63, 90]], np.float32)
    limited = Chances(least=12)
    assert list(prepared(Taken(picture(boxes)), lambda _: None, limited, side=64, seed=0).classes) == [1]
    assert len(prepared(Taken(picture(boxes), scale=2.0), lambda _: None, limited, side=64, seed=0)) == 2


def test_a_crop_keeps_objects_by_their_centre_and_overlaps_some_box():
    for seed in range(40):
        whole = framing.whole((200, 150))
        part = framing.cropped(whole, BOXES, np.random.default_rng(seed))
        assert part == whole or framing.centred(BOXES, part).any()
        assert part.width >= 60 and part.height >= 45 and part.left >= 0 and part.left + part.width <= 200
    made = framing.framed(picture(), Frame(50, 0, 150, 150), 150)
    assert 0 in made.classes or made.classes.tolist() == [1, 2]
    assert framing.centred(BOXES, Frame(51, 0, 149, 150)).tolist() == [False, True, True]


def test_light_changes_colours_within_bytes_and_follows_the_seed():
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    made = [distorted(image, np.random.default_rng(seed)) for seed in range(40)]
    assert all(each.shape == image.shape and each.dtype == np.uint8 for each in made)
    assert np.array_equal(made[3], distorted(image, np.random.default_rng(3)))
    untouched = sum(np.array_equal(each, image) for each in made)
    assert untouched <= 6, "each of five steps happens half of the time"
    assert np.abs(np.mean([each.mean() for each in made]) - image.mean()) < 12


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.5])
def test_contrast_and_hue_change_as_spelled_out(factor):
    image = np.random.default_rng(1).integers(0, 256, (24, 31, 3), np.uint8)
    mean = (image @ photometric.GRAY).mean()
    np.testing.assert_allclose(photometric._contrast(image, factor), np.clip((image - mean) * factor + mean, 0, 255), atol=0.51)
    red, yellow, purple = (np.full((4, 4, 3), colour, np.uint8) for colour in ((255, 0, 0), (255, 255, 0), (255, 0, 255)))
    np.testing.assert_allclose(photometric._turned(red, 30).astype(int), yellow, atol=3)
    np.testing.assert_allclose(photometric._turned(red, -30).astype(int), purple, atol=3)
    np.testing.assert_allclose(photometric._turned(purple, 60).astype(int), yellow, atol=3)


def test_the_first_crop_that_overlaps_enough_is_taken():
    frames = [framing.cropped(Frame(-20, 10, 240, 130), BOXES, np.random.default_rng(seed)) for seed in range(60)]
    assert len({(each.width, each.height) for each in frames}) > 25
    for each in frames:
        assert each.left >= -20 and each.left + each.width <= 220 and each.top >= 10 and each.top + each.height <= 140
        shares = each.width / 240, each.height / 130
        assert min(shares) >= 0.29 and 0.48 <= shares[0] / shares[1] <= 2.05 and all(isinstance(side, int) for side in (each.left, each.height))
