"""Repairs of stored sets: each mends the problem that it names, and one undo brings everything back."""

import shutil

import cv2
import numpy as np
import pytest

from engine import messages
from engine.datasets import editing, repairs
from engine.datasets.collection import Collection
from engine.datasets.health import examine
from engine.datasets.outlines import mask_of
from engine.datasets.repairs_labels import clipped, clipped_polygons, without_doubles
from engine.datasets.store import Dataset
from engine.types import RLE, Instances, Polygons, Sample, SemanticMask, Tags

ONE = Instances([[4, 4, 24, 24]], [0])


@pytest.fixture
def build(tmp_path, picture):
    """Makes a stored set from tuples (labels, split, group, number of the image whose bytes it shares)."""
    def make(*images, classes=("a", "b"), task="detect", size=(64, 48)):
        samples = []
        for number, (labels, split, group, same_as) in enumerate(images):
            path = tmp_path / "in" / f"{number}.png"
            picture(path, *size, seed=number)
            if same_as is not None:
                shutil.copy(samples[same_as].image, path)
            samples.append(Sample(path, size, labels, split, group, f"{number}.png"))
        return Dataset.create(tmp_path / "stored", "set", Collection(tuple(classes), samples, task=task))
    return make


def state_of(stored):
    """Everything that a repair may touch."""
    rows = [(row.id, row.split, row.state, None if row.labels is None else row.labels.boxes.tolist() if isinstance(row.labels, Instances) else 0)
            for row in stored.page(0, 1000)]
    return stored.classes, rows


def mended(stored, code):
    """Applies the proposal `code`, checks that its problem is gone and that undoing brings back what was; returns (proposal, state after)."""
    report, before = examine(stored), state_of(stored)
    proposals = {repair.code: repair for repair in repairs.proposed(stored, report)}
    assert code in proposals, sorted(proposals)
    chosen = proposals[code]
    assert state_of(stored) == before
    assert {row[0] for row in repairs.preview(stored, chosen)} <= {*chosen.images, 0}
    edit = repairs.apply(stored, [chosen])
    assert edit.action == "repaired"
    after = state_of(stored)
    assert after != before
    assert chosen.problem not in {problem.code for problem in examine(stored).problems}
    editing.undo(stored, edit.id)
    assert state_of(stored) == before
    repairs.apply(stored, [chosen])
    return chosen, after


def splits_of(stored):
    return {row.name: row.split for row in stored.page(0, 1000)}


def test_boxes_that_reach_outside_are_clipped(build):
    outline = Polygons((np.array([[50, 10], [80, 10], [80, 30], [50, 30.0]]),))
    wrong = Instances([[-5, 0, 10, 10], [50, 10, 80, 30], [70, 5, 90, 9], [4, 4, 9, 9]], [0, 1, 0, 1], shapes=(None, outline, None, None))
    stored = build((wrong, "train", None, None), (ONE, "train", None, None))
    repair, _ = mended(stored, "clip_boxes")
    assert (repair.values, repair.images) == ({"count": 3, "images": 1}, (1,))
    labels = stored.row(1).labels
    assert labels.boxes.tolist() == [[0, 0, 10, 10], [50, 10, 64, 30], [4, 4, 9, 9]]
    assert labels.shapes[1].rings[0].max(0).tolist() == [64, 30]


def test_objects_without_area_are_deleted(build):
    stored = build((Instances([[5, 5, 5, 9], [1, 1, 9, 9]], [0, 0]), "train", None, None), (Instances([[3, 3, 9, 3]], [1]), "train", None, None))
    repair, _ = mended(stored, "delete_flat")
    assert repair.values == {"count": 2, "images": 2}
    assert [row.objects for row in stored.page(0, 5)] == [1, 0]


def test_objects_that_are_there_twice_are_deleted(build):
    twice = Instances([[4, 4, 24, 24], [4, 4, 24.2, 24], [4, 4, 24, 24]], [0, 0, 1])
    stored = build((twice, "train", None, None))
    repair, _ = mended(stored, "delete_doubles")
    assert repairs.preview(stored, repair) == [(1, "0.png", "2 objects", "2 objects")]
    assert stored.row(1).labels.classes.tolist() == [0, 1]


def test_unreadable_images_go_to_the_trash(build):
    stored = build((ONE, "train", None, None), (ONE, "train", None, None), size=(400, 300))
    path = stored.row(2).path
    path.write_bytes(path.read_bytes()[:500])
    repair, _ = mended(stored, "trash_unreadable")
    assert repair.images == (2,)
    assert stored.total() == 1
    assert stored.total(trashed=True) == 1


def test_of_copies_the_best_labeled_stays(build):
    more = Instances([[4, 4, 24, 24], [30, 30, 40, 40]], [0, 1])
    stored = build((None, "train", None, None), (ONE, "train", None, 0), (more, "train", None, 0), (Instances.empty(), "train", None, 0),
                   (ONE, "train", None, None))
    repair, _ = mended(stored, "trash_copies")
    assert repair.images == (1, 2, 4)
    assert [row.name for row in stored.page(0, 5)] == ["2.png", "4.png"]


def test_copies_with_contrary_labels_are_left_alone(build):
    stored = build((ONE, "train", None, None), (Instances([[4, 4, 24, 24]], [1]), "train", None, 0))
    report = examine(stored)
    assert "copies_labeled_differently" in {problem.code for problem in report.problems}
    assert "trash_copies" not in {repair.code for repair in repairs.proposed(stored, report)}


@pytest.mark.parametrize("labels", [[Tags([1, 0]), Tags([1, 0])], [SemanticMask(classes=np.ones((48, 64), np.uint16))] * 2])
def test_equal_tags_and_masks_let_one_copy_go(build, labels):
    stored = build((labels[0], "train", None, None), (labels[1], "train", None, 0), (labels[0], "train", None, None), task="classify")
    assert mended(stored, "trash_copies")[0].images == (2,)


def test_copies_in_two_splits_go_to_train_with_their_groups(build):
    stored = build((ONE, "train", None, None), (ONE, "valid", "p1", 0), (ONE, "valid", "p1", None), (ONE, "test", None, None),
                   (ONE, "valid", None, None))
    repair, _ = mended(stored, "move_copies")
    assert repair.values == {"count": 2, "splits": "train"}
    assert splits_of(stored) == {"0.png": "train", "1.png": "train", "2.png": "train", "3.png": "test", "4.png": "valid"}


def test_look_alikes_in_two_splits_go_to_train(tmp_path, picture):
    paths = [picture(tmp_path / f"{n}.png", 320, 240, seed=n) for n in range(6)]
    samples = [Sample(path, (320, 240), ONE, "train" if n < 3 else "valid", None, path.name) for n, path in enumerate(paths)]
    for number, split in ((0, "valid"), (4, "test")):
        copy = tmp_path / f"like{number}.jpg"
        cv2.imwrite(str(copy), cv2.resize(cv2.imread(str(paths[number])), (200, 150), interpolation=cv2.INTER_AREA), [cv2.IMWRITE_JPEG_QUALITY, 50])
        samples.append(Sample(copy, (200, 150), ONE, split, None, copy.name))
    stored = Dataset.create(tmp_path / "stored", "set", Collection(("a",), samples))
    repair, _ = mended(stored, "move_look_alikes")
    assert repair.values["count"] == 3
    moved = splits_of(stored)
    assert (moved["like0.jpg"], moved["4.png"], moved["like4.jpg"], moved["3.png"]) == ("train", "train", "train", "valid")


def test_a_patient_goes_where_most_of_his_images_are(build):
    stored = build((ONE, "train", "p1", None), (ONE, "valid", "p1", None), (ONE, "valid", "p1", None), (ONE, "train", "p2", None),
                   (ONE, "test", "p2", None), (ONE, "valid", "p3", None))
    repair, _ = mended(stored, "move_groups")
    assert repair.values == {"count": 2, "splits": "train, valid"}
    assert splits_of(stored) == {"0.png": "valid", "1.png": "valid", "2.png": "valid", "3.png": "train", "4.png": "train", "5.png": "valid"}


def test_augmented_copies_of_a_picture_go_where_most_of_them_are(tmp_path, picture):
    names = {"train/images/cat_jpg.rf.0a1b.jpg": "train", "valid/images/cat_jpg.rf.2c3d.jpg": "valid", "valid/images/cat_jpg.rf.4e5f.jpg": "valid",
             "train/images/dog_jpg.rf.6a7b.jpg": "train", "test/images/dog_jpg.rf.8c9d.jpg": "test", "train/images/cow_jpg.rf.0e1f.jpg": "train"}
    samples = [Sample(picture(tmp_path / "in" / f"{number}.png", seed=number), (64, 48), ONE, split, None, name)
               for number, (name, split) in enumerate(names.items())]
    stored = Dataset.create(tmp_path / "stored", "set", Collection(("a",), samples, task="detect"))
    repair, _ = mended(stored, "move_sources")
    assert repair.problem == "source_in_splits"
    assert repair.values == {"count": 2, "splits": "train, valid"}
    assert list(splits_of(stored).values()) == ["valid", "valid", "valid", "train", "train", "train"]


def test_a_valid_split_is_made_of_whole_groups_with_all_classes(build):
    images = [(Instances([[4, 4, 24, 24]], [n % 2]), "train", f"g{n // 2}", None) for n in range(20)]
    stored = build(*images, (ONE, "test", None, None), (ONE, "train", None, 20))
    repair, _ = mended(stored, "make_valid")
    assert repair.values["count"] == 4
    splits = splits_of(stored)
    assert all(splits[f"{2 * n}.png"] == splits[f"{2 * n + 1}.png"] for n in range(10))
    assert splits["21.png"] == "train"  # a copy of it is in test
    assert stored.counts()["valid"]["classes"] == {"a": 2, "b": 2}


def test_most_images_of_a_class_that_train_lacks_go_to_train(build):
    rare = Instances([[4, 4, 24, 24]], [1])
    stored = build((ONE, "train", None, None), *((rare, "valid", None, None) for _ in range(5)), (rare, "test", "g", None), (ONE, "test", "g", None))
    repair, _ = mended(stored, "move_absent")
    assert stored.counts()["train"]["classes"] == {"a": 1, "b": 5}
    assert len(repair.images) == 5


def test_the_only_image_of_a_class_goes_to_train(build):
    stored = build((ONE, "train", None, None), (Instances([[4, 4, 24, 24]], [1]), "valid", None, None), (ONE, "valid", None, None))
    assert mended(stored, "move_absent")[0].images == (2,)


def test_unused_classes_are_deleted(build):
    stored = build((Instances([[4, 4, 24, 24]], [2]), "train", None, None), classes=("a", "b", "c"))
    repair, _ = mended(stored, "delete_unused")
    assert repairs.preview(stored, repair) == [(0, "a", "a", "deleted"), (0, "b", "b", "deleted")]
    assert stored.classes == ("c",)
    assert stored.row(1).labels.classes.tolist() == [0]


def test_classes_without_a_pixel_are_deleted(build):
    mask = np.zeros((48, 64), np.uint16)
    mask[4:9] = 2
    stored = build((SemanticMask(classes=mask), "train", None, None), classes=("background", "b", "c"), task="semantic")
    mended(stored, "delete_unused")
    assert stored.classes == ("background", "c")
    assert np.unique(stored.row(1).labels.classes).tolist() == [0, 1]


def test_classes_whose_names_mean_the_same_are_merged_into_the_commonest(build):
    stored = build((Instances([[4, 4, 24, 24], [1, 1, 5, 5], [8, 8, 40, 40], [2, 2, 30, 30]], [0, 2, 2, 1]), "train", None, None),
                   classes=("car", "bus", "Car"))
    repair, _ = mended(stored, "merge_alike")
    assert repair.values == {"names": "car", "into": "Car"}
    assert sorted(stored.classes) == ["Car", "bus"]
    assert stored.counts()["train"]["classes"] == {"Car": 3, "bus": 1}


def test_everything_at_once_is_one_edit_and_leaves_nothing_to_mend(build):
    wrong = Instances([[-5, 0, 10, 10], [4, 4, 24, 24], [4, 4, 24, 24], [7, 7, 7, 9]], [0, 0, 0, 0])
    stored = build((wrong, "train", "p1", None), (ONE, "train", "p1", 0), (ONE, "valid", "p1", None), (ONE, "valid", "p2", None),
                   (Instances([[4, 4, 24, 24]], [3]), "valid", "p4", None), *((ONE, "train", f"q{n}", None) for n in range(5)),
                   (ONE, "test", "p5", 3), classes=("car", "Car", "unused", "rare"))
    before, report = state_of(stored), examine(stored)
    proposals = repairs.proposed(stored, report)
    assert {repair.code for repair in proposals} >= {"clip_boxes", "delete_flat", "delete_doubles", "trash_copies", "move_copies", "move_groups",
                                                     "move_absent", "merge_alike", "delete_unused"}
    edit = repairs.apply(stored, proposals)
    assert [each.id for each in editing.edits(stored)] == [edit.id]
    again = examine(stored)
    assert not {repair.problem for repair in proposals} - {"same_images"} & {problem.code for problem in again.problems}
    assert stored.row(1).labels.boxes.tolist() == [[0, 0, 10, 10], [4, 4, 24, 24]]
    assert {repair.code for repair in repairs.proposed(stored, again)} <= {"trash_copies", "make_valid"}
    editing.undo(stored, edit.id)
    assert state_of(stored) == before


def test_where_repairs_contradict_each_other_nothing_leaks(build):
    stored = build(*((ONE, "train", f"q{n}", None) for n in range(10)), (ONE, "test", "q3", None), (ONE, "test", None, 5), (ONE, "test", "q6", None),
                   (ONE, "test", "q6", None))
    report = examine(stored)
    repairs.apply(stored, repairs.proposed(stored, report))
    codes = {problem.code for problem in examine(stored).problems}
    assert not {"group_in_splits", "same_image_in_splits", "no_valid_split"} & codes


def test_a_sound_set_needs_no_repair_and_nothing_to_do_is_no_edit(build):
    stored = build(*((Instances([[4, 4, 24, 24]], [n % 2]), "train" if n < 10 else "valid", None, None) for n in range(16)))
    assert repairs.proposed(stored, examine(stored)) == []
    assert repairs.apply(stored, []).images == 0
    assert editing.edits(stored) == []


def test_a_proposal_follows_the_set_as_it_is_now(build):
    stored = build((Instances([[-5, 0, 10, 10]], [0]), "train", None, None), (ONE, "train", None, None))
    report = examine(stored)
    stored.set_labels(1, ONE)
    assert "clip_boxes" not in {repair.code for repair in repairs.proposed(stored, report)}


def test_every_repair_has_texts_in_every_language(build):
    wrong = Instances([[-5, 0, 10, 10], [4, 4, 24, 24], [4, 4, 24, 24], [7, 7, 7, 9]], [0, 0, 0, 0])
    stored = build((wrong, "train", "p1", None), (ONE, "train", "p1", 0), (ONE, "test", "p1", None), (ONE, "train", "p6", None),
                   (Instances([[4, 4, 24, 24]], [3]), "test", "p4", None), classes=("car", "Car", "unused", "rare"))
    proposals = repairs.proposed(stored, examine(stored))
    assert len(proposals) >= 7
    for language in messages.LANGUAGES:
        for repair in proposals:
            for words in (repair.title(language), repair.why(language)):
                assert not words.startswith("repair.")
                assert "{" not in words


# ---- one image

def test_clipping_an_outline_keeps_exactly_the_pixels_inside():
    chance = np.random.default_rng(0)
    for _ in range(30):
        angles = np.sort(chance.uniform(0, 2 * np.pi, 12))
        ring = np.array([32, 24]) + (chance.uniform(8, 60, 12) * np.array([np.cos(angles), np.sin(angles)])).T
        cut = clipped_polygons(Polygons((ring,)), (64, 48))
        whole = mask_of(Polygons((ring + 100,)), (300, 300))[100:148, 100:164]
        mine = mask_of(cut, (64, 48)) if cut is not None else np.zeros((48, 64), bool)
        assert (mine != whole).sum() <= 0.02 * whole.sum() + 12  # pixels that the border crosses


def test_what_lies_outside_altogether_goes_and_holes_are_cut_too():
    ring, hole = np.array([[40, 10], [90, 10], [90, 40], [40, 40.0]]), np.array([[50, 20], [80, 20], [80, 30], [50, 30.0]])
    cut = clipped_polygons(Polygons((ring, ring + 100), (hole,)), (64, 48))
    assert len(cut.rings) == 1
    assert cut.holes[0].max(0).tolist() == [64, 30]
    assert clipped_polygons(Polygons((ring + 100,)), (64, 48)) is None
    gone = Instances([[140, 110, 190, 140], [0, 0, 9, 9]], [0, 1], shapes=(Polygons((ring + 100,)), None))
    assert clipped(gone, (64, 48)).classes.tolist() == [1]


def test_masks_scores_and_crowds_survive_clipping():
    rle = RLE(b"x", (48, 64))
    labels = Instances([[-4, 0, 10, 10], [70, 0, 80, 9]], [1, 0], scores=[0.5, 0.9], shapes=(rle, None), crowd=[True, False])
    after = clipped(labels, (64, 48))
    assert (after.scores.tolist(), after.crowd.tolist(), after.shapes) == ([0.5], [True], (rle,))
    assert labels.boxes[0, 0] == -4


def test_of_doubles_the_one_with_an_outline_stays():
    ring = Polygons((np.array([[4, 4], [24, 4], [24, 24.0]]),))
    labels = Instances([[4, 4, 24, 24]] * 3, [0, 0, 0], shapes=(None, ring, None))
    assert without_doubles(labels, (64, 48)).shapes == (ring,)
