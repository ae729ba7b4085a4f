"""Masks of a data set take little memory, and say the same packed and unpacked."""

import copy
import pickle
import tracemalloc

import cv2
import numpy as np
import pytest

from engine.config import TrainConfig
from engine.datasets import packed
from engine.datasets.collection import load, present
from engine.datasets.packed import PackedClasses, ids, pack
from engine.opening import open_data
from engine.tasks.semantic import Semantic
from engine.types import IGNORE, NOTHING, SemanticMask, Tags


def mask(seed=0, side=40):
    return np.random.default_rng(seed).choice(np.array([0, 1, 3, NOTHING, IGNORE], np.uint16), (side, side))


def test_classes_and_layers_are_the_same_after_packing():
    for labels in (SemanticMask(classes=mask()), SemanticMask(layers=mask(side=9)[None] == np.arange(4)[:, None, None])):
        for found in (pack(labels), pickle.loads(pickle.dumps(pack(labels))), copy.deepcopy(pack(labels)), pack(pack(labels))):
            for name in ("classes", "layers"):
                wanted, own = getattr(labels, name), getattr(found, name)
                assert (own is None) == (wanted is None) and (wanted is None or (np.array_equal(own, wanted) and own.dtype == wanted.dtype))
            assert np.array_equal(present(found, 5), present(labels, 5)) and np.array_equal(ids(found), ids(labels))


def test_what_is_no_mask_of_truth_stays_as_it_is():
    for labels in (None, Tags([1]), SemanticMask(), SemanticMask(classes=mask(), probabilities=np.zeros((1, 40, 40), np.float16))):
        assert pack(labels) is labels


def test_other_ids_are_given_without_unpacking():
    table = np.arange(1 << 16, dtype=np.uint16)
    table[[0, 1, 3]] = 2, 0, 2
    found = pack(SemanticMask(classes=mask())).mapped(table).mapped(table)
    assert np.array_equal(found.classes, table[table[mask()]]) and np.array_equal(found.values(), np.unique(found.classes))


def test_only_the_last_few_stay_open(monkeypatch):
    monkeypatch.setattr(packed, "OPEN_BYTES", 3 * 2 * 40 * 40)
    monkeypatch.setattr(packed, "_open", packed._Open())
    masks = [pack(SemanticMask(classes=mask(seed))) for seed in range(8)]
    assert masks[0].classes is masks[0].classes
    for seed, each in enumerate(masks):
        assert np.array_equal(each.classes, mask(seed))
    assert len(packed._open._kept) == 3


def test_a_damaged_mask_is_an_error_and_not_an_empty_one():
    with pytest.raises(ValueError, match="damaged"):
        _ = PackedClasses(b"no png").classes


def test_opening_many_masks_for_training_takes_a_fraction_of_their_pixels(tmp_path):
    side, count = 512, 40
    for split in ("train", "valid"):
        for kind in ("images", "masks"):
            (tmp_path / split / kind).mkdir(parents=True)
    for number in range(count):
        area = np.zeros((side, side), np.uint8)
        cv2.circle(area, (100 + number, 200), 60, 1 + number % 2, -1)
        split = "valid" if number % 5 == 0 else "train"
        cv2.imwrite(str(tmp_path / split / "masks" / f"{number}.png"), area)
        cv2.imwrite(str(tmp_path / split / "images" / f"{number}.png"), np.zeros((side, side, 3), np.uint8))
    (tmp_path / "classes.txt").write_text("background\na\nb\n")
    whole = count * side * side * 2
    tracemalloc.start()
    packed._open._kept.clear()
    packed._open._bytes = packed.OPEN_BYTES - 4 * 2 * side * side
    try:
        data = open_data(TrainConfig(data=str(tmp_path), model="unet", task="semantic"), Semantic(), tmp_path / "scratch")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        packed._open._kept.clear()
        packed._open._bytes = 0
    assert len(data.train) + len(data.valid) == count and peak < whole / 3
    assert load(tmp_path, tmp_path / "s").samples[0].labels.classes.max() in (1, 2)


def test_the_store_hands_out_its_masks_packed_and_unchanged(tmp_path, picture):
    from engine.workspace import Workspace

    for number in range(3):
        picture(tmp_path / "set" / "images" / f"{number}.png")
        (tmp_path / "set" / "masks").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "set" / "masks" / f"{number}.png"), np.full((48, 64), number, np.uint8))
    (tmp_path / "set" / "classes.txt").write_text("background\na\nb\n")
    dataset, _ = Workspace(tmp_path / "w").import_dataset(tmp_path / "set", "s")
    found = dataset.collection().samples
    assert [type(each.labels) for each in found] == [PackedClasses] * 3
    for each, row in zip(found, dataset.page(0, 3), strict=True):
        assert np.array_equal(each.labels.classes, row.labels.classes) and type(row.labels) is SemanticMask
