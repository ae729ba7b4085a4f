"""The canvas's side of a data set: documents there and back, saving with revisions, marks, the order of work, history."""

import json
import math
import threading

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from engine.datasets import editing, labeling
from engine.datasets.labeling_shapes import document, labels_of, stroked
from engine.datasets.outlines import mask_of, rle_of_mask
from engine.datasets.store import Dataset
from engine.types import IGNORE, NOTHING, RLE, Instances, Polygons, Reading, Sample, SemanticMask, Tags, UserError

CLASSES, SIZE = ("cat", "dog"), (64, 48)


@pytest.fixture
def make(tmp_path, picture):
    """Makes a set of one image for each labels."""
    def made(*labels, classes=CLASSES, task="detect", name="set"):
        samples = [Sample(picture(tmp_path / "images" / f"{number}.png", seed=number), SIZE, each, "train", None, f"{number}.png")
                   for number, each in enumerate(labels)]
        return Dataset.create(tmp_path / name, name, Reading(classes, iter(samples), task))
    return made


def ids(dataset):
    return [row.id for row in dataset.page(0, 100)]


def box(cls=0, x1=1.0, y1=2.0, x2=30.0, y2=20.0, **more):
    return {"kind": "box", "cls": cls, "box": [x1, y1, x2, y2], **more}


def sent(*shapes, looked=True, tags=None):
    return json.loads(json.dumps({"looked": looked, "shapes": list(shapes), "tags": tags}))


def blob(x=20, y=20, radius=8):
    rows, columns = np.mgrid[:SIZE[1], :SIZE[0]]
    return (columns - x) ** 2 + (rows - y) ** 2 < radius ** 2


OBJECTS = Instances(
    np.array([[1.25, 2.5, 30.0, 20.0], [5, 5, 25, 25], [12, 12, 28, 28]]), np.array([1, 0, 1]),
    shapes=(None, Polygons((np.array([[5, 5], [25, 5], [25, 25.125], [5, 25]]),), (np.array([[8, 8], [12, 8], [12, 12]]),)), rle_of_mask(blob())),
    crowd=np.array([False, False, True]))


# ---- documents

def test_objects_come_back_from_their_document(same_labels):
    copy = labels_of(json.loads(json.dumps(document(OBJECTS, CLASSES))), "objects", CLASSES, SIZE)
    same_labels(copy, OBJECTS, points=1e-6)
    assert copy.shapes[2] == OBJECTS.shapes[2] and np.array_equal(copy.crowd, OBJECTS.crowd)
    assert [hole.tolist() for hole in copy.shapes[1].holes] == [hole.tolist() for hole in OBJECTS.shapes[1].holes]


@pytest.mark.parametrize("classes", [CLASSES, ("cat", "background")])
def test_a_mask_comes_back_from_its_document_to_the_pixel(classes):
    ground = 1 if "background" in classes else NOTHING
    pixels = np.full((SIZE[1], SIZE[0]), ground, np.uint16)
    pixels[blob()] = 0
    pixels[40:, :3] = IGNORE
    told = document(SemanticMask(classes=pixels), classes)
    assert [shape["cls"] for shape in told["shapes"]] == [0, -1]
    assert np.array_equal(labels_of(json.loads(json.dumps(told)), "mask", classes, SIZE).classes, pixels)


def test_layers_may_overlap():
    layers = np.stack([blob(), blob(24, 22)])
    assert np.array_equal(labels_of(document(SemanticMask(layers=layers), CLASSES), "layers", CLASSES, SIZE).layers, layers)


def test_tags_keep_what_nobody_mentioned():
    values = np.array([1, math.nan], np.float32)
    told = json.loads(json.dumps(document(Tags(values), CLASSES)))
    assert told["tags"] == [1.0, None]
    assert np.array_equal(labels_of(told, "tags", CLASSES, SIZE).values, values, equal_nan=True)


def test_nothing_there_is_not_the_same_as_nobody_looked():
    assert labels_of(sent(looked=False), "objects", CLASSES, SIZE) is None
    assert len(labels_of(sent(looked=True), "objects", CLASSES, SIZE)) == 0


def test_a_shape_that_leaves_the_image_is_cut_at_its_border():
    found = labels_of(sent(box(x1=-5.0, x2=500.0), {"kind": "polygon", "cls": 0, "rings": [[-5, 5, 70, 5, 20, 60]]}), "objects", CLASSES, SIZE)
    assert found.boxes.tolist() == [[0, 2, 64, 20], [0, 5, 64, 48]]


@pytest.mark.parametrize("shape", [
    box(cls=2), box(cls=-1), box(cls="cat"), box(cls=True), box(x2=1.0), box(y1=float("nan")), {"kind": "star", "cls": 0, "box": [1, 1, 2, 2]},
    {"kind": "box", "cls": 0}, {"kind": "polygon", "cls": 0, "rings": []}, {"kind": "polygon", "cls": 0, "rings": [[1, 1, 2, 2]]},
    {"kind": "polygon", "cls": 0, "rings": [[1, 1, 2, 2, "3", 4]]}, {"kind": "mask", "cls": 0, "size": [2, 2], "counts": "04"},
    {"kind": "mask", "cls": 0, "size": [48, 64], "counts": "zzz"}, {"kind": "mask", "cls": 0, "size": [48, 64], "counts": "P`2"}, 7, None,
    box(state="suggested", score=2), {"kind": "strokes", "cls": 0, "strokes": [{"points": [1, 1], "radius": -1}]},
])
def test_what_is_no_shape_is_refused(shape):
    with pytest.raises(UserError) as told:
        labels_of({"looked": True, "shapes": [shape], "tags": None}, "objects", CLASSES, SIZE)
    assert told.value.message() and told.value.remedy()


@pytest.mark.parametrize("content", [None, [], {"shapes": {}}, {"looked": True}, {"looked": True, "shapes": [box()] * 20_001}])
def test_what_is_no_document_is_refused(content):
    with pytest.raises(UserError, match="could not be read"):
        labels_of(content, "objects", CLASSES, SIZE)


@pytest.mark.parametrize("tags", [None, [1], [1, 2], [1, "x"], [1, True]])
def test_what_are_no_tags_is_refused(tags):
    with pytest.raises(UserError, match="could not be read"):
        labels_of(sent(tags=tags), "tags", CLASSES, SIZE)


def test_strokes_cover_what_lies_within_a_radius_of_the_path():
    mask = stroked([{"points": [10, 10, 40, 30, 41, 5], "radius": 4.5}, {"points": [25, 20], "radius": 3, "erase": True}], SIZE)
    corners = [np.array(point) for point in ((10, 10), (40, 30), (41, 5))]
    path = np.concatenate([a + np.linspace(0, 1, 500)[:, None] * (b - a) for a, b in zip(corners, corners[1:], strict=False)])
    for y in range(0, SIZE[1], 2):
        centres = np.stack([np.arange(SIZE[0]) + 0.5, np.full(SIZE[0], y + 0.5)], 1)
        far = np.linalg.norm(centres[:, None] - path[None], axis=2).min(1)
        wanted = (far < 4.5) & (np.linalg.norm(centres - (25, 20), axis=1) > 3)
        clear = np.abs(far - 4.5) > 0.05
        assert np.array_equal(mask[y][clear], wanted[clear])


def test_strokes_become_runs_that_the_reference_decoder_reads():
    shape = {"kind": "strokes", "cls": 0, "strokes": [{"points": [10, 10, 40, 30], "radius": 4}]}
    found = labels_of(sent(shape), "objects", CLASSES, SIZE)
    kept = found.shapes[0]
    assert isinstance(kept, RLE)
    assert np.array_equal(coco_mask.decode({"size": list(kept.size), "counts": kept.counts}), stroked(shape["strokes"], SIZE))
    assert np.array_equal(mask_of(kept, SIZE), stroked(shape["strokes"], SIZE))


# ---- saving

def test_an_edit_is_stored_with_who_and_when(make):
    dataset = make(None, OBJECTS)
    first = labeling.opened(dataset, ids(dataset)[0])
    assert (first.state, first.kind, first.document) == ("unlabeled", "objects", {"looked": False, "shapes": [], "tags": None})
    saved = labeling.save(dataset, first.row.id, sent(box(1)), expected=first.row.revision, who="小明", token="t1")
    assert (saved.state, saved.mark.who, saved.mark.token, saved.mark.revision) == ("labeled", "小明", "t1", saved.revision)
    assert saved.revision > first.row.revision and saved.mark.at.endswith("Z")
    assert Dataset(dataset.folder).row(first.row.id).labels.boxes.tolist() == [[1, 2, 30, 20]]


def test_whoever_comes_second_is_told_and_changes_nothing(make):
    dataset = make(None)
    image, = ids(dataset)
    before = dataset.row(image).revision
    labeling.save(dataset, image, sent(box(0)), expected=before)
    with pytest.raises(UserError) as told:
        labeling.save(dataset, image, sent(box(1)), expected=before)
    assert told.value.key == "labels_changed"
    assert dataset.row(image).labels.classes.tolist() == [0]


def test_200_edits_by_two_clients_are_all_stored(make):
    dataset = make(None, None)
    images = ids(dataset)

    def client(number):
        own = Dataset(dataset.folder)
        for step in range(100):
            while True:
                now = labeling.opened(own, images[step % 2])
                try:
                    more = sent(*now.document["shapes"], box(number, x2=10 + step / 2))
                    labeling.save(own, now.row.id, more, expected=now.row.revision, who=str(number))
                    break
                except UserError as error:
                    assert error.key == "labels_changed"
    clients = [threading.Thread(target=client, args=(number,)) for number in range(2)]
    [each.start() for each in clients]
    [each.join() for each in clients]
    kept = [dataset.row(image).labels for image in images]
    assert [np.bincount(labels.classes).tolist() for labels in kept] == [[50, 50], [50, 50]]
    assert all(len(dataset.history(image)) == 100 for image in images)


def test_suggestions_and_truth_live_in_one_image_and_stay_what_they_are(make):
    dataset = make(None)
    image, = ids(dataset)
    labeling.save(dataset, image, sent(box(0), box(1, state="suggested", score=0.75), box(1)), expected=dataset.row(image).revision)
    found = labeling.opened(dataset, image)
    assert found.state == "suggested"
    assert [shape.get("score") for shape in found.document["shapes"]] == [0.75, None, None]
    accepted = [{key: value for key, value in shape.items() if key not in ("state", "score")} for shape in found.document["shapes"]]
    labeling.save(dataset, image, sent(*accepted), expected=found.row.revision)
    assert labeling.opened(dataset, image).state == "labeled" and dataset.row(image).labels.scores is None


def test_a_class_that_is_added_meanwhile_does_no_harm_and_one_that_is_deleted_does_not_pass(make):
    dataset = make(None)
    image, = ids(dataset)
    revision = dataset.row(image).revision
    dataset.add_class("鸟")
    revision = labeling.save(dataset, image, sent(box(2)), expected=revision).revision
    editing.delete_class(dataset, 0)
    with pytest.raises(UserError) as told:
        labeling.save(dataset, image, sent(box(1)), expected=revision)
    assert told.value.key == "labels_changed"


# ---- marks and the order of work

def test_a_mark_stands_above_the_labels_until_the_next_edit(make):
    dataset = make(OBJECTS, None)
    done, new = ids(dataset)
    now = labeling.save(dataset, done, None, expected=dataset.row(done).revision, mark="checked", who="a")
    assert (now.state, now.revision) == ("checked", dataset.row(done).revision)
    assert labeling.save(dataset, new, None, expected=dataset.row(new).revision, mark="skipped").state == "skipped"
    assert dataset.row(new).labels is None
    assert labeling.progress(dataset) == {"unlabeled": 0, "suggested": 0, "labeled": 0, "checked": 1, "skipped": 1}
    assert labeling.save(dataset, done, sent(box()), expected=now.revision).state == "labeled"


def test_suggestions_are_never_checked(make):
    dataset = make(Instances(np.array([[1, 1, 5, 5]]), np.array([0]), np.array([0.5])))
    image, = ids(dataset)
    assert labeling.save(dataset, image, None, expected=dataset.row(image).revision, mark="checked").state == "suggested"
    assert labeling.progress(dataset)["checked"] == 0


def test_an_unknown_mark_is_refused(make):
    dataset = make(None)
    with pytest.raises(UserError):
        labeling.save(dataset, ids(dataset)[0], sent(), expected=0, mark="admired")


def test_the_queue_shows_what_fits_around_an_image(make):
    dataset = make(*[None if number % 3 else OBJECTS for number in range(30)])
    every = ids(dataset)
    whole = labeling.queue(dataset, every[10], before=3, after=4)
    assert ([image for image, _ in whole.images], whole.start, whole.total) == (every[7:14], 7, 30)
    assert [state for _, state in whole.images] == ["unlabeled", "unlabeled", "labeled", "unlabeled", "unlabeled", "labeled", "unlabeled"]
    labeling.save(dataset, every[1], None, expected=dataset.row(every[1]).revision, mark="skipped")
    rest = labeling.queue(dataset, 0, state="unlabeled", after=100)
    assert rest.total == 19 and every[1] not in [image for image, _ in rest.images]
    assert labeling.queue(dataset, 0, state="skipped").images == [(every[1], "skipped")]
    assert labeling.queue(dataset, 0, search="12").total == 1 and labeling.queue(dataset, 0, class_id=1, problem="any").total == 0
    editing.trash(dataset, [every[0]])
    assert labeling.queue(dataset).total == 29 and labeling.progress(dataset)["labeled"] == 9
    with pytest.raises(UserError):
        labeling.queue(dataset, state="admired")


def test_a_set_that_may_only_be_read_can_be_looked_through(make):
    dataset = make(OBJECTS, None)
    readonly = Dataset(dataset.folder, readonly=True)
    assert labeling.queue(readonly, 0, state="labeled").total == 1
    assert labeling.opened(readonly, ids(dataset)[0]).state == "labeled"
    with pytest.raises(UserError):
        labeling.save(readonly, ids(dataset)[0], sent(), expected=0)


def test_the_history_tells_who_made_what_and_brings_it_back(make):
    dataset = make(None)
    image, = ids(dataset)
    first = labeling.save(dataset, image, sent(box(0)), expected=dataset.row(image).revision, who="a")
    second = labeling.save(dataset, image, sent(box(0), box(1)), expected=first.revision, who="b")
    newest, oldest = labeling.history(dataset, image)
    assert (newest[0], newest[2], len(newest[3])) == (first.revision, "b", 1)
    assert oldest[3] is None and oldest[2] == "a"
    assert len(labeling.version(dataset, image, first.revision)["shapes"]) == 1
    with pytest.raises(UserError) as told:
        labeling.version(dataset, image, second.revision)
    assert told.value.key == "label_version_unknown"


def test_one_tag_each_is_what_the_set_shows(make):
    single = make(Tags(np.array([1, 0])), Tags(np.array([0, 1])), task="classify")
    several = make(Tags(np.array([1, 1])), task="classify", name="several")
    assert labeling.one_tag_each(single) and not labeling.one_tag_each(several)
    opened = labeling.opened(single, ids(single)[0])
    assert (opened.kind, opened.document["tags"]) == ("tags", [1.0, 0.0])


def test_an_image_without_labels_is_edited_as_its_set_is(make):
    painted = make(None, task="semantic")
    image, = ids(painted)
    assert labeling.opened(painted, image).kind == "mask"
    polygon = {"kind": "polygon", "cls": 1, "rings": [[10, 10, 20, 10, 20, 20, 10, 20]]}
    labeling.save(painted, image, sent(polygon), expected=painted.row(image).revision)
    pixels = painted.row(image).labels.classes
    assert (pixels == 1).sum() == 100 and (pixels == NOTHING).sum() == 64 * 48 - 100


def test_tags_of_an_image_that_nobody_looked_at_have_one_place_for_each_class(make):
    tagged = make(None, task="classify")
    assert labeling.opened(tagged, ids(tagged)[0]).document["tags"] == [None, None]


def test_pictures_are_small_enough_to_draw_and_lossless_when_small(make):
    dataset = make(None)
    image, = ids(dataset)
    assert labeling.picture(dataset, image)[0] == "image/png"
    kind, data = labeling.picture(dataset, image, largest=16)
    assert data and kind == "image/png"
