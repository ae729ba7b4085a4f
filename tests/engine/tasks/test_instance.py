"""Instance segmentation's targets and decoding, there and back, and against the official post-processing."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from engine import weights
from engine.config import TrainConfig
from engine.datasets.outlines import mask_of, rle_of_mask
from engine.models import create
from engine.tasks import instance
from engine.tasks.instance import Instance
from engine.tasks.mask_decoding import Frame, decoded
from engine.tasks.task import tasks
from engine.types import Instances, Polygons, Sample, UserError

CONFIG = TrainConfig(model="deimv2_atto", task="instance", augment="none", image_size=128)
SIZE = (256, 192)


def bar(x, y, length, width, angle):
    """A thin rectangle around a centre."""
    along, across = np.array([np.cos(angle), np.sin(angle)]) * length / 2, np.array([-np.sin(angle), np.cos(angle)]) * width / 2
    centre = np.array([x, y], np.float64)
    return Polygons((np.stack([centre - along - across, centre + along - across, centre + along + across, centre - along + across]),))


def labelled(shapes, classes, size=SIZE, **more):
    boxes = np.array([[*shape.rings[0].min(0), *shape.rings[0].max(0)] for shape in shapes]).reshape(-1, 4)
    return Sample(Path("x.jpg"), size, Instances(boxes, np.array(classes), shapes=tuple(shapes), **more))


def tray(seed=0, count=30, size=SIZE, classes=500):
    random = np.random.default_rng(seed)
    scale = size[0] / 256
    shapes = [bar(*random.uniform((30, 30), (226, 162)) * scale, random.uniform(40, 110) * scale, 6 * scale, random.uniform(0, np.pi))
              for _ in range(count)]
    return labelled(shapes, random.integers(0, classes, count), size)


def picture_of(sample, seed=0):
    image = np.random.default_rng(seed).integers(0, 60, (sample.size[1], sample.size[0], 3), np.uint8)
    for shape in sample.labels.shapes or ():
        image[mask_of(shape, sample.size)] = 220
    return image


def outputs_of(target, classes, sure=4.0, extra=5):
    """What a perfect network would say of a target: logits, boxes, masks at stride 4."""
    count = len(target["labels"])
    logits = torch.full((1, count + extra, classes), -9.0)
    logits[0, torch.arange(count), target["labels"]] = sure
    plain = torch.from_numpy(np.unpackbits(target["masks"].numpy(), axis=-1).astype(np.float32))
    masks = torch.full((1, count + extra, *(length // 4 for length in plain.shape[-2:])), -8.0)
    masks[0, :count] = functional.avg_pool2d(plain, 4) * 16 - 8
    boxes = torch.full((1, count + extra, 4), 0.5)
    boxes[0, :count] = target["boxes"]
    return {"logits": logits, "boxes": boxes, "masks": masks}


def iou(one, two, size=SIZE):
    one, two = mask_of(one, size), mask_of(two, size)
    return (one & two).sum() / max(1, (one | two).sum())


def test_a_target_decodes_to_the_objects_it_came_from():
    sample = labelled([bar(60, 60, 80, 30, 0.3), bar(180, 120, 90, 40, 2.0)], [2, 0])
    pixels, target = Instance().encode(CONFIG, sample, np.zeros((192, 256, 3), np.uint8), 0, False)
    assert pixels.shape == (128, 128, 3) and target["labels"].tolist() == [2, 0]
    assert (target["masks"].dtype, tuple(target["masks"].shape), target["boxes"].dtype) == (torch.uint8, (2, 128, 16), torch.float32)
    found = Instance().decode(outputs_of(target, 3), [SIZE])[0]
    assert sorted(found.classes.tolist()) == [0, 2] and len(found) == 2, "empty masks are nothing"
    for i, box in enumerate(sample.labels.boxes):
        match = int(np.flatnonzero(found.classes == sample.labels.classes[i])[0])
        assert iou(found.shapes[match], sample.labels.shapes[i]) > 0.85
        np.testing.assert_allclose(found.boxes[match], box, atol=2.5)


def test_labels_belong_to_the_original_of_an_image_that_was_shrunk_on_loading():
    sample = labelled([bar(60, 60, 80, 30, 0.3)], [1])
    whole, small = (Instance().encode(CONFIG, sample, np.zeros((h, w, 3), np.uint8), 0, False)[1] for h, w in ((192, 256), (96, 128)))
    assert all(torch.equal(whole[name], small[name]) for name in whole)


def test_crowds_are_not_learnt_and_an_image_without_objects_is_a_lesson_too():
    sample = labelled([bar(60, 60, 80, 30, 0.3), bar(180, 120, 90, 40, 2.0)], [2, 0], crowd=np.array([True, False]))
    _, target = Instance().encode(CONFIG, sample, np.zeros((192, 256, 3), np.uint8), 0, False)
    assert target["labels"].tolist() == [0]
    for labels in (Instances.empty(), Instances(np.zeros((0, 4)), np.zeros(0), shapes=())):
        _, target = Instance().encode(CONFIG, Sample(Path("x"), SIZE, labels), np.zeros((192, 256, 3), np.uint8), 0, False)
        assert [tuple(target[name].shape) for name in ("labels", "boxes", "masks")] == [(0,), (0, 4), (0, 128, 16)]


@pytest.mark.parametrize("augment", ["none", "flip", "standard", "large_scale"])
def test_thirty_thin_objects_of_five_hundred_classes_are_encoded(augment):
    sample = tray()
    image = picture_of(sample)
    for seed in range(4):
        _, target = Instance().encode(CONFIG.replace(augment=augment), sample, image, seed, True)
        plain = np.unpackbits(target["masks"].numpy(), axis=-1)
        assert len(plain) == 30 or augment in ("standard", "large_scale")
        assert set(target["labels"].tolist()) <= set(sample.labels.classes.tolist())
        for mask, box in zip(plain, target["boxes"].numpy() * 128, strict=True):
            rows, columns = np.nonzero(mask)
            edges = [box[0] - box[2] / 2, box[1] - box[3] / 2, box[0] + box[2] / 2, box[1] + box[3] / 2]
            assert len(rows) >= 10
            np.testing.assert_allclose(edges, [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], atol=1e-3)


# ---- copy-paste


def test_copy_paste_mixes_two_images_and_repeats_itself():
    base, donor = tray(1, 6), tray(2, 8)
    config, images = CONFIG.replace(copy_paste=1.0, augment="standard"), (picture_of(base, 1), picture_of(donor, 2))

    def mixed(seed, other=(donor, images[1])):
        return Instance().encode_mixed(config, base, images[0], seed, True, lambda _: other)

    first, again = mixed(3), mixed(3)
    assert np.array_equal(first[0], again[0]) and all(torch.equal(first[1][name], again[1][name]) for name in first[1])
    known = set(base.labels.classes.tolist()) | set(donor.labels.classes.tolist())
    foreign = set(donor.labels.classes.tolist()) - set(base.labels.classes.tolist())
    labels = [set(mixed(seed)[1]["labels"].tolist()) for seed in range(10)]
    assert all(each <= known for each in labels) and sum(bool(each & foreign) for each in labels) >= 7
    plain = Instance().encode(config, base, images[0], 3, True)
    empty = Sample(Path("y"), SIZE, Instances.empty())
    for other in (None, (empty, images[1])):
        result = mixed(3, other)
        assert np.array_equal(result[0], plain[0]) and torch.equal(result[1]["masks"], plain[1]["masks"])


def test_copy_paste_keeps_to_its_share_and_out_of_the_plain_epochs():
    base, donor = tray(1, 6), tray(2, 8)
    asked = []

    def pick(seed):
        asked.append(seed)
        return donor, picture_of(donor, 2)

    image = picture_of(base)
    for share, strong, low, high in ((0.3, True, 6, 28), (0.0, True, 0, 0), (1.0, False, 0, 0), (1.0, True, 50, 50)):
        asked.clear()
        for seed in range(50):
            Instance().encode_mixed(CONFIG.replace(copy_paste=share), base, image, seed, strong, pick)
        assert low <= len(asked) <= high


# ---- what can be learnt from


def test_boxes_alone_are_refused_and_a_box_among_outlines_stands_for_itself():
    boxes = Sample(Path("x"), SIZE, Instances(np.array([[10, 10, 60, 60]]), np.array([0])))
    with pytest.raises(UserError) as caught:
        Instance().fit(("a",), [boxes, boxes], CONFIG)
    assert caught.value.key == "instance_without_outlines" and "2" in str(caught.value) and caught.value.remedy()
    outlined = labelled([bar(60, 60, 80, 30, 0.3)], [0])
    fitted = Instance().fit(("a",), [boxes, outlined], CONFIG)
    assert fitted.samples == [boxes, outlined]
    assert [(each.code, each.where, each.values) for each in fitted.problems] == [("boxes_as_masks", "x", {"count": 1, "images": 1})]
    assert "whole box" in fitted.problems[0].message("en")
    assert Instance().fit(("a",), [outlined], CONFIG).problems == ()
    _, target = Instance().encode(CONFIG, boxes, np.zeros((192, 256, 3), np.uint8), 0, False)
    assert abs(int(np.unpackbits(target["masks"].numpy()).sum()) - 25 * 33) < 60


def test_classes_are_matched_by_name():
    sample = labelled([bar(60, 60, 80, 30, 0.3), bar(180, 120, 90, 40, 2.0)], [0, 1])
    assert Instance().align([sample], ["a", "b"], ["b", "x", "a"])[0].labels.classes.tolist() == [2, 0]
    with pytest.raises(UserError):
        Instance().align([sample], ["a", "b"], ["b"])


def test_images_with_rare_classes_are_shown_more_often():
    shape = bar(60, 60, 80, 30, 0.3)
    samples = [labelled([shape] * 2, [0, 1]) for _ in range(80)] + [labelled([shape], [2])] * 40 + [labelled([shape] * 2, [0, 3])] * 5
    factors = Instance().weights([*samples, Sample(Path("x"), SIZE, Instances.empty())])
    share = np.array([85, 80, 40, 5]) / 126
    expected = np.sqrt(np.median(share) / share[3])
    assert factors[:80].tolist() == [1] * 80 and factors[-1] == 1 and factors[80] == pytest.approx(np.sqrt(np.median(share) / share[2]))
    assert factors[120] == pytest.approx(expected) and expected > 3
    assert Instance().weights([Sample(Path("x"), SIZE, Instances.empty())]).tolist() == [1]


# ---- decoding


def test_each_query_has_its_best_class_and_the_lesser_of_two_equal_masks_goes():
    sample = labelled([bar(60, 60, 80, 30, 0.3), bar(180, 120, 90, 40, 2.0)], [2, 0])
    _, target = Instance().encode(CONFIG, sample, np.zeros((192, 256, 3), np.uint8), 0, False)
    outputs = outputs_of(target, 3)
    outputs["logits"][0, 0, 1] = 3.9  # nearly as sure as class 2
    outputs["masks"][0, 2], outputs["logits"][0, 2, 1] = outputs["masks"][0, 0], 2.0  # a second query sees the same
    found = Instance().decode(outputs, [SIZE])[0]
    assert sorted(found.classes.tolist()) == [0, 2] and (np.diff(found.scores) <= 0).all()
    assert len(Instance(thresholds={"nms": 1.0}).decode(outputs, [SIZE])[0]) == 3
    frame = Frame.stretched((128, 128), SIZE)
    every = decoded({name: value[0] for name, value in outputs.items()}, frame, limit=4, every_class=True)
    assert every.classes.tolist()[:2].count(2) == 1 and len(every) == 4
    told = Instance(thresholds={"every_class": True, "detections": 4}).decode(outputs, [SIZE])[0]
    assert sorted(told.classes.tolist()) == [0, 1, 2], "the third is the same class of the same object once more"
    assert len(Instance(thresholds={"detections": 1}).decode(outputs, [SIZE])[0]) == 1


def test_boxes_stay_inside_and_broken_numbers_never_reach_a_label():
    outputs = {"logits": torch.randn(2, 5, 3), "boxes": torch.tensor([[[0.9, 0.9, 0.8, 0.8]] * 5] * 2), "masks": torch.randn(2, 5, 32, 32)}
    outputs["boxes"][1], outputs["masks"][1, :2], outputs["logits"][1, 0] = float("nan"), float("inf"), float("nan")
    for found, (width, height) in zip(Instance().decode(outputs, [SIZE, (31, 17)]), [SIZE, (31, 17)], strict=True):
        assert np.isfinite(found.boxes).all() and np.isfinite(found.scores).all()
        assert (found.boxes >= 0).all() and (found.boxes <= [width, height, width, height]).all()
        assert all(shape.size == (height, width) for shape in found.shapes)


@pytest.mark.parametrize("size", [(256, 192), (37, 300), (640, 480)])
def test_masks_are_those_of_two_interpolations_of_the_whole(size):
    torch.manual_seed(0)
    masks = functional.interpolate(torch.randn(1, 6, 5, 5), (32, 32), mode="bicubic") * 3 - 2
    outputs = {"logits": torch.randn(6, 2), "boxes": torch.rand(6, 4), "masks": masks[0]}
    found = decoded(outputs, Frame((128, 128), (128, 128), size))
    scores, order = outputs["logits"].sigmoid().max(1).values, None
    full = functional.interpolate(functional.interpolate(masks, (128, 128), mode="bilinear"), size[::-1], mode="bilinear")[0]
    certain = torch.stack([each.sigmoid()[each > 0].mean() if (each > 0).any() else torch.tensor(0.0) for each in full])
    order = (scores * certain).argsort(descending=True)
    np.testing.assert_allclose(found.scores, (scores * certain)[order], atol=1e-5)
    for shape, number in zip(found.shapes, order, strict=True):
        assert (mask_of(shape, size) != (full[number] > 0).numpy()).sum() <= 2


# ---- against the official post-processing


@pytest.fixture(scope="module")
def pack(reference):
    folder = reference / "parity" / "di_maskdino"
    return folder, torch.load(folder / "instances.pt", weights_only=True)


def compare(outputs, expected, frame):
    found = decoded(outputs, frame, limit=30, every_class=True)
    height, width = expected["shape"][1:]
    masks = np.unpackbits(expected["masks"].numpy())[: 30 * height * width].reshape(30, height, width).astype(bool)
    order = np.argsort(-expected["scores"].numpy(), kind="stable")
    np.testing.assert_allclose(found.scores, expected["scores"].numpy()[order], atol=1e-4)
    assert len(found) == 30
    for i in range(30):  # equal scores may come in another order
        same = [j for j in range(30) if expected["classes"][j] == found.classes[i] and abs(float(expected["scores"][j]) - found.scores[i]) < 1e-4
                and np.abs(expected["boxes"][j].numpy() - found.boxes[i]).max() < 0.02]
        assert same and min((mask_of(found.shapes[i], (width, height)) != masks[j]).sum() for j in same) <= 0.001 * height * width


def test_the_official_objects_follow_from_the_official_outputs(pack):
    folder, instances = pack
    forward = torch.load(folder / "forward.pt", weights_only=True)
    outputs = {name: forward[f"pred_{name}"][0] for name in ("logits", "boxes", "masks")}
    compare(outputs, instances["instances"][0], Frame((256, 192), (256, 192), (320, 240)))


def test_the_official_objects_follow_from_the_network_padded_or_not(pack):
    folder, instances = pack
    network = create("di_maskdino", 7, backbone={"depths": [1, 1, 2, 1], "dims": [16, 32, 64, 128]}, encoder_layers=2, encoder_ffn=192,
                     decoder_layers=3, decoder_ffn=160, di_layers=2, first_selected=80, queries=40, guiding_tokens=10).eval()
    assert not weights.load_into(network, folder / "state_dict.pth").missing
    forward = torch.load(folder / "forward.pt", weights_only=True)
    mean, std = (forward[f"pixel_{name}"].reshape(3, 1, 1) for name in ("mean", "std"))
    for given, expected in zip(instances["inputs"], instances["instances"], strict=True):
        height, width = given["image"].shape[1:]
        image = functional.pad((given["image"] - mean) / std, (0, 256 - width, 0, 192 - height))
        with torch.inference_mode():
            outputs = network(image[None])
        frame = Frame((256, 192), (width, height), (given["width"], given["height"]))
        compare({name: outputs[name][0] for name in ("logits", "boxes", "masks")}, expected, frame)


# ---- several views, and the meter


def test_a_network_that_follows_the_image_sees_the_same_in_every_view():
    sample = labelled([bar(70, 60, 80, 40, 0.3), bar(180, 120, 90, 50, 2.0)], [1, 0])
    _, target = Instance().encode(CONFIG, sample, np.zeros((192, 256, 3), np.uint8), 0, False)
    plain, seen = outputs_of(target, 2, extra=0), []

    def forward(pixels):
        side = pixels.shape[-1]
        seen.append(side)
        masks = functional.interpolate(plain["masks"], (side // 4, side // 4), mode="bilinear")
        mirrored = bool(pixels[0, 0, 0, 0] > pixels[0, 0, 0, -1])
        boxes = plain["boxes"].clone()
        if mirrored:
            masks, boxes[..., 0] = masks.flip(-1), 1 - boxes[..., 0]
        return {"logits": plain["logits"], "boxes": boxes, "masks": masks}

    ramp = torch.linspace(0, 1, 128).expand(1, 3, 128, 128)
    one, four = Instance().decode(forward(ramp), [SIZE])[0], Instance().from_views(forward, ramp, [SIZE])[0]
    assert seen[1:] == [128, 128, 96, 160] and four.classes.tolist() == one.classes.tolist()
    np.testing.assert_allclose(four.boxes, one.boxes, atol=0.5)
    assert all(iou(a, b) > 0.95 for a, b in zip(one.shapes, four.shapes, strict=True))


def test_an_object_of_one_view_is_only_lost_when_it_is_hardly_believed():
    sample = labelled([bar(70, 60, 80, 40, 0.3)], [0])
    _, target = Instance().encode(CONFIG, sample, np.zeros((192, 256, 3), np.uint8), 0, False)
    full, calls = outputs_of(target, 2, extra=1), []

    def forward(pixels):
        calls.append(0)
        masks = full["masks"] if len(calls) == 1 else torch.full_like(full["masks"], -8)
        return {**full, "masks": masks}

    found = Instance().from_views(forward, torch.zeros(1, 3, 128, 128), [SIZE])[0]
    assert found.classes.tolist() == [0] and found.scores[0] > 0.6


def test_the_meter_tells_boxes_masks_and_in_the_end_or_of_few_images_boundaries(monkeypatch):
    samples, task = [tray(seed, 12, classes=3) for seed in range(3)], Instance()
    for final, few in ((False, 2), (True, 2), (False, 3)):
        monkeypatch.setattr(instance, "FEW_IMAGES", few)
        meter = task.meter(["a", "b", "c"], final=final)
        for sample in samples:
            _, target = task.encode(CONFIG.replace(image_size=256), sample, np.zeros((192, 256, 3), np.uint8), 0, False)
            meter.add(sample, task.decode(outputs_of(target, 3), [SIZE])[0])
        told = meter.result()
        assert told["metrics"]["mask_AP50"] > 0.7 and told["metrics"]["AP50"] > 0.8 and 0 < told["thresholds"]["score"] < 1
        assert ("boundary_AP" in told["metrics"]) == (final or few == 3)
        assert {"AP", "mask_AP", "mask_AP50", "objects", "name"} <= told["per_class"][0].keys()
        assert task.headline in told["metrics"] and task.rank(told["metrics"])[0] == told["metrics"]["mask_AP"]


def test_where_the_truth_has_boxes_only_nothing_is_said_of_masks():
    meter = Instance().meter(["a"])
    meter.add(Sample(Path("x"), SIZE, Instances(np.array([[10, 10, 60, 60]]), np.array([0]))),
              Instances(np.array([[10, 10, 60, 60]]), np.array([0]), np.array([0.9]), (rle_of_mask(np.ones(SIZE[::-1], bool)),)))
    told = meter.result()
    assert told["metrics"]["AP50"] == pytest.approx(1) and "mask_AP" not in told["metrics"]


def test_the_task_is_registered():
    assert isinstance(tasks.get("instance"), Instance)
