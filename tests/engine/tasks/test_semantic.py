"""Areas: the mode that the data ask for, rasters against pycocotools, targets, the meter and sampling."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from engine.config import TrainConfig
from engine.datasets.outlines import rle_of_mask
from engine.tasks.rasters import UNKNOWN, raster
from engine.tasks.semantic import Semantic
from engine.types import IGNORE, NOTHING, Instances, Polygons, Sample, SemanticMask, UserError

SIDE = 64
CONFIG = TrainConfig(model="unet", task="semantic", augment="none", image_size=SIDE)
SQUARE = np.array([[8, 8], [40, 8], [40, 40], [8, 40]], float)
HOLE = np.array([[16, 16], [24, 16], [24, 24], [16, 24]], float)


def sample(labels, size=(64, 48), **more):
    return Sample(Path("x.png"), size, labels, **more)


def masks(*arrays, size=(64, 48)):
    return [sample(SemanticMask(classes=np.asarray(each, np.uint16)), size) for each in arrays]


def filled(value, width=64, height=48):
    return np.full((height, width), value, np.uint16)


def objects(*shapes, classes=None, crowd=None):
    boxes = np.tile([0.0, 0.0, 64.0, 48.0], (len(shapes), 1))
    return Instances(boxes, np.zeros(len(shapes)) if classes is None else classes, shapes=tuple(shapes), crowd=crowd)


def bound(mode, classes):
    return Semantic({"mode": mode, "num_classes": classes})


# ---- the mode, and the classes


def test_one_class_beside_the_background_is_binary():
    fitted = Semantic().fit(("background", "tumour"), masks(np.eye(48, 64)), CONFIG)
    assert fitted.options == {"mode": "binary"} and fitted.classes == ("tumour",)
    assert np.array_equal(fitted.samples[0].labels.classes, np.where(np.eye(48, 64) > 0, 0, NOTHING))


def test_masks_of_several_classes_are_multiclass_and_keep_their_background():
    fitted = Semantic().fit(("background", "a", "b"), masks(filled(2)), CONFIG)
    assert fitted.options == {"mode": "multiclass"} and fitted.classes == ("background", "a", "b")


def test_outlines_of_several_classes_may_overlap_and_are_multilabel():
    fitted = Semantic().fit(("a", "b"), [sample(objects(Polygons((SQUARE,))))], CONFIG)
    assert fitted.options == {"mode": "multilabel"} and fitted.classes == ("a", "b")


def test_layers_are_multilabel():
    assert Semantic().fit(("a", "b"), [sample(SemanticMask(layers=np.zeros((2, 48, 64), bool)))], CONFIG).options == {"mode": "multilabel"}


def test_the_mode_that_a_person_chose_is_kept():
    config = CONFIG.replace(options={"mode": "multiclass"})
    fitted = Semantic().fit(("a", "b"), [sample(objects(Polygons((SQUARE,)), classes=[1]))], config)
    assert fitted.options == {"mode": "multiclass"} and fitted.classes == ("background", "a", "b")
    assert fitted.samples[0].labels.classes.tolist() == [2]


def test_pixels_of_no_class_become_the_background_that_is_added_for_them():
    plain = filled(0)
    plain[:10], plain[10:20] = NOTHING, 1
    fitted = Semantic().fit(("a", "b"), masks(plain), CONFIG)
    assert fitted.classes == ("background", "a", "b")
    known = raster(fitted.samples[0], (64, 48), 3, "multiclass").mask
    assert (known[:10] == 0).all() and (known[10:20] == 2).all() and (known[20:] == 1).all()


def test_pixels_of_no_class_are_the_background_that_the_data_name():
    plain = filled(0)
    plain[:10], plain[10:20] = NOTHING, 1
    fitted = Semantic().fit(("a", "background", "b"), masks(plain), CONFIG)
    known = raster(fitted.samples[0], (64, 48), len(fitted.classes), "multiclass").mask
    assert (known[:20] == fitted.classes.index("background")).all() and (known[20:] == fitted.classes.index("a")).all()


def test_where_no_outline_lies_is_the_background_wherever_the_data_list_it():
    config = CONFIG.replace(options={"mode": "multiclass"})
    fitted = Semantic().fit(("a", "background"), [sample(objects(Polygons((SQUARE,))))], config)
    known = raster(fitted.samples[0], (64, 48), len(fitted.classes), "multiclass").mask
    assert known[0, 0] == fitted.classes.index("background") and known[20, 20] == fitted.classes.index("a")


def test_binary_with_two_classes_is_refused():
    with pytest.raises(UserError) as caught:
        Semantic().fit(("a", "b"), masks(filled(1)), CONFIG.replace(options={"mode": "binary"}))
    assert caught.value.key == "unet_mode_classes"


def test_boxes_without_outlines_do_not_train_but_images_without_objects_do():
    bare = Instances(np.array([[1, 1, 9, 9]]), np.zeros(1))
    kept = Semantic().trainable([sample(bare), sample(Instances.empty()), sample(objects(Polygons((SQUARE,)))), sample(None)])
    assert [len(each.labels) for each in kept] == [0, 1]


def test_align_orders_by_name():
    aligned = Semantic().align(masks([[0, 1, 2, IGNORE, NOTHING]]), ("c", "a", "b"), ("a", "b", "c"))
    assert aligned[0].labels.classes.tolist() == [[2, 0, 1, IGNORE, NOTHING]]
    layers = np.zeros((2, 1, 3), bool)
    layers[0, 0, 1] = layers[1, 0, 2] = True
    moved = Semantic().align([sample(SemanticMask(layers=layers))], ("y", "x"), ("x", "y", "z"))[0].labels.layers
    assert moved[:, 0].argmax(0).tolist()[1:] == [1, 0]


def test_align_brings_the_background_of_the_data_to_where_the_model_has_it():
    aligned = Semantic().align(masks([[0, 1, NOTHING]]), ("Background", "a"), ("a", "background"))
    assert aligned[0].labels.classes.tolist() == [[1, 0, 1]]


def test_align_turns_a_background_that_the_model_has_not_into_nothing():
    aligned = Semantic().align(masks([[0, 1]]), ("background", "a"), ("a",))
    assert aligned[0].labels.classes.tolist() == [[NOTHING, 0]]
    with pytest.raises(UserError, match="ship"):
        Semantic().align(masks([[0, 1]]), ("a", "ship"), ("a",))


# ---- rasters


def by_coco(rings, width, height, scale):
    packed = coco_mask.frPyObjects([(ring * scale).ravel().tolist() for ring in rings], height, width)
    return coco_mask.decode(coco_mask.merge(packed)).astype(bool)


@pytest.mark.parametrize("size", [(64, 48), (128, 96), (32, 24), (51, 77)])
def test_a_raster_of_polygons_is_that_of_pycocotools_at_any_scale(size):
    random = np.random.default_rng(0)
    rings = [random.uniform(0, 1, (7, 2)) * (64, 48) for _ in range(3)]
    found = raster(sample(objects(Polygons(tuple(rings)))), size, 1, "binary").mask
    assert np.array_equal(found, by_coco(rings, *size, np.array(size) / (64, 48)))


def test_a_hole_is_not_part_of_an_object():
    found = raster(sample(objects(Polygons((SQUARE,), (HOLE,)))), (64, 48), 1, "binary").mask
    one = np.ones(2)
    assert np.array_equal(found > 0, by_coco([SQUARE], 64, 48, one) & ~by_coco([HOLE], 64, 48, one)) and found[20, 20] == 0


def test_run_lengths_are_the_mask_they_encode_and_halve_with_the_image():
    mask = np.zeros((48, 64), bool)
    mask[10:30, 12:40] = True
    made = sample(objects(rle_of_mask(mask)))
    assert np.array_equal(raster(made, (64, 48), 1, "binary").mask, mask)
    assert np.array_equal(raster(made, (32, 24), 1, "binary").mask, mask[::2, ::2])


def test_a_crowd_and_a_box_without_outline_are_not_judged_but_objects_on_them_are():
    crowd = np.zeros((48, 64), bool)
    crowd[:, 32:] = True
    inside = Polygons((np.array([[40, 10], [50, 10], [50, 20], [40, 20]], float),))
    found = raster(sample(objects(rle_of_mask(crowd), inside, crowd=np.array([True, False]))), (64, 48), 1, "binary").mask
    assert (found[:, :32] == 0).all() and found[15, 45] == 1 and found[0, 63] == UNKNOWN
    bare = Instances(np.array([[10, 10, 20, 20], [0, 0, 64, 48]]), np.zeros(2), shapes=(None, Polygons((SQUARE + 20,))))
    mask = raster(sample(bare), (64, 48), 1, "binary").mask
    assert mask[12, 12] == UNKNOWN and mask[40, 40] == 1 and mask[0, 0] == 0


def test_small_areas_lie_on_large_ones_in_multiclass():
    found = raster(sample(objects(Polygons((HOLE,)), Polygons((SQUARE,)), classes=[1, 2])), (64, 48), 3, "multiclass").mask
    assert found[20, 20] == 1 and found[35, 35] == 2 and found[0, 0] == 0


@pytest.mark.parametrize("mode, classes", [("binary", 1), ("multiclass", 2), ("multilabel", 2)])
def test_pixels_that_nobody_may_judge_are_unknown_in_every_mode(mode, classes):
    plain = filled(0)
    plain[:, :8] = IGNORE
    found = raster(masks(plain)[0], (64, 48), classes, mode)
    assert not found.known[:, :8].any() and found.known[:, 8:].all()
    target = found.target(found.planes())
    judged = target["known"] if mode == "multilabel" else target["mask"] != UNKNOWN
    assert not judged[:, :8].any() and judged[:, 8:].all()


@pytest.mark.parametrize("mode, classes", [("binary", 1), ("multiclass", 3), ("multilabel", 3)])
@pytest.mark.parametrize("preset", ["none", "flip", "standard", "tutorial"])
def test_a_target_moves_with_its_image(mode, classes, preset):
    config = CONFIG.replace(augment=preset)
    plain = filled(NOTHING if mode != "multiclass" else 0, 120, 90)
    plain[30:60, 20:50] = classes - 1
    image = np.where(plain == classes - 1, 255, 40).astype(np.uint8)[..., None].repeat(3, 2)
    for seed in range(4):
        pixels, target = bound(mode, classes).encode(config, masks(plain, size=(120, 90))[0], image, seed, True)
        assert pixels.shape == (SIDE, SIDE, 3) and pixels.dtype == np.uint8
        if mode == "multilabel":
            marked, known = target["layers"][classes - 1].numpy() > 0, target["known"].numpy() > 0
        else:
            marked, known = target["mask"].numpy() == (1 if mode == "binary" else classes - 1), target["mask"].numpy() != UNKNOWN
        inner = np.abs(cv2.blur(marked.astype(float), (9, 9)) - 0.5) > 0.49  # noise and distortion blur the outline
        light = cv2.blur(pixels.astype(float).mean(2), (9, 9))
        assert light[known & marked & inner].mean() > light[known & ~marked & inner].mean() + 60


def test_the_same_seed_gives_the_same_sample():
    config, one = CONFIG.replace(augment="tutorial"), masks(np.eye(48, 64))[0]
    image = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    first, second, other = (bound("multiclass", 2).encode(config, one, image, seed, True) for seed in (5, 5, 6))
    assert np.array_equal(first[0], second[0]) and torch.equal(first[1]["mask"], second[1]["mask"])
    assert not np.array_equal(first[0], other[0])


# ---- metrics and sampling


def test_the_meter_tells_what_counting_by_hand_tells():
    task = bound("multiclass", 2)
    meter = task.meter(("background", "a"), final=True)
    truth, found = filled(0, 4, 4), filled(0, 4, 4)
    truth[:2], found[:3] = 1, 1  # TP 8, FP 4, FN 0
    truth[3, 3] = IGNORE
    meter.add(sample(SemanticMask(classes=truth), (4, 4)), SemanticMask(classes=found))
    meter.add(sample(SemanticMask(classes=filled(0, 4, 4)), (4, 4)), SemanticMask(classes=filled(0, 4, 4)))
    meter.add(sample(SemanticMask(classes=filled(0, 4, 4)), (4, 4)), SemanticMask(classes=truth % 2))  # 8 + IGNORE % 2 false alarms
    metrics = meter.result()["metrics"]
    assert metrics["dice"] == pytest.approx(16 / 20) and metrics["iou"] == pytest.approx(8 / 12)
    assert metrics["dice_with_empty"] == pytest.approx((0.8 + 1 + 0) / 3)
    assert metrics["dice_global"] == pytest.approx(2 * 8 / (2 * 8 + 4 + 9)) and metrics["empty_images"] == 2
    assert metrics["pixel_accuracy"] == pytest.approx((15 - 4 + 16 + 16 - 9) / (15 + 32)) and "hausdorff95" in metrics


def test_outlines_are_measured_at_the_size_of_the_original():
    one = sample(objects(Polygons((SQUARE,))))
    meter = bound("binary", 1).meter(("a",))
    meter.add(one, SemanticMask(layers=by_coco([SQUARE], 64, 48, np.ones(2))[None]))
    assert meter.result()["metrics"]["dice"] == 1


def test_what_no_outline_covers_counts_as_the_background_of_the_model():
    meter = bound("multiclass", 2).meter(("a", "background"))
    found = np.where(by_coco([SQUARE], 64, 48, np.ones(2)), 0, 1).astype(np.uint16)
    meter.add(sample(objects(Polygons((SQUARE,)))), SemanticMask(classes=found))
    assert meter.result()["metrics"]["pixel_accuracy"] == 1


def test_rare_classes_are_drawn_more_often():
    common, rare = filled(0), filled(0)
    rare[0, 0] = 1
    weights = bound("multiclass", 2).weights(masks(common, common, common, rare))
    assert weights[3] == pytest.approx(4 * weights[0]) and len(set(weights[:3])) == 1
    shown = bound("multilabel", 2).weights([sample(objects(Polygons((SQUARE,)), classes=[1])), sample(Instances.empty())])
    assert (shown > 0).all()


def test_the_balance_counts_the_pixels_of_the_training_part():
    plain = filled(0)
    plain[:12], plain[12:24] = 1, IGNORE
    balance = bound("multiclass", 2).balance(("background", "a"), masks(plain), CONFIG.replace(class_weights="balanced"))
    assert balance.positives.tolist() == [24 * 64, 12 * 64] and balance.negatives.tolist() == [12 * 64, 24 * 64]
    assert bound("multiclass", 2).balance(("background", "a"), masks(plain), CONFIG) is None
