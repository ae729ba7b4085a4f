"""The canvas's side of a data set: documents there and back, saving with revisions, marks, the order of work, history."""

import json
import math
import threading

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from scipy import ndimage

from engine.datasets import editing, labeling, labeling_suggested
from engine.datasets.labeling_lists import Ranked, Suspect, put_ranks, put_suspects, ranks, suspects
from engine.datasets.labeling_shapes import document, labels_of, stroked
from engine.datasets.labeling_suggested import Suggestion
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
    assert found.state == "labeled" and dataset.row(image).labels.scores is None
    assert [shape.get("score") for shape in found.document["shapes"]] == [None, None, 0.75]
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


# ---- suggestions beside the labels

def suggest(dataset, image, *shapes, tags=None, source="run-1"):
    assert labeling_suggested.put(dataset, image, Suggestion(source, "", list(shapes), tags))


def test_suggestions_are_shown_on_the_canvas_and_nowhere_else(make):
    dataset = make(OBJECTS, None)
    labeled, new = ids(dataset)
    before = [dataset.counts(), repr(dataset.collection().samples), dataset.row(new).state]
    for image in (labeled, new):
        suggest(dataset, image, box(1, state="suggested", score=0.5))
    assert [dataset.counts(), repr(dataset.collection().samples), dataset.row(new).state] == before
    found = labeling.opened(dataset, new)
    assert (found.state, found.source) == ("suggested", "run-1")
    assert found.document["shapes"] == [box(1, state="suggested", score=0.5)]
    assert labeling.opened(dataset, labeled).state == "labeled"
    assert [shape.get("state") for shape in labeling.opened(dataset, labeled).document["shapes"]] == [None, None, None, "suggested"]
    assert labeling.progress(dataset) == {"unlabeled": 0, "suggested": 1, "labeled": 1, "checked": 0, "skipped": 0}
    assert labeling.queue(dataset, state="suggested").images == [(new, "suggested")] and labeling.queue(dataset, state="unlabeled").total == 0


def test_what_is_still_suggested_goes_back_among_the_suggestions(make):
    dataset = make(None)
    image, = ids(dataset)
    suggest(dataset, image, box(0, state="suggested", score=0.9), box(1, state="suggested", score=0.4))
    first = labeling.opened(dataset, image)
    told = first.document
    accepted = {**{key: value for key, value in told["shapes"][0].items() if key not in ("state", "score")}, "accepted": 0.9}
    saved = labeling.save(dataset, image, {**told, "looked": True, "shapes": [accepted, told["shapes"][1]]}, expected=first.row.revision)
    assert saved.state == "labeled" and len(dataset.row(image).labels) == 1 and dataset.row(image).labels.scores is None
    again = labeling.opened(dataset, image).document
    assert [(shape["cls"], shape.get("score")) for shape in again["shapes"]] == [(0, None), (1, 0.4)] and "accepted" not in again["shapes"][0]
    labeling.save(dataset, image, {**again, "shapes": again["shapes"][:1]}, expected=saved.revision)
    assert labeling.opened(dataset, image).document["shapes"] == again["shapes"][:1]


def test_saving_with_suggestions_alone_labels_nothing_unless_a_person_looked(make):
    dataset = make(None)
    image, = ids(dataset)
    waiting = box(0, state="suggested", score=0.9)
    saved = labeling.save(dataset, image, sent(waiting, looked=False), expected=dataset.row(image).revision)
    assert saved.state == "suggested" and dataset.row(image).labels is None
    saved = labeling.save(dataset, image, sent(waiting, looked=True), expected=saved.revision)
    assert saved.state == "labeled" and len(dataset.row(image).labels) == 0 and len(labeling.opened(dataset, image).document["shapes"]) == 1


def test_newer_suggestions_that_nobody_has_seen_survive_a_save(make):
    dataset = make(None)
    image, = ids(dataset)
    labeling_suggested.put(dataset, image, Suggestion("old", "2026-01-01T00:00:00Z", [box(0, state="suggested", score=0.5)]))
    told = labeling.opened(dataset, image)
    labeling_suggested.put(dataset, image, Suggestion("new", "2026-01-02T00:00:00Z", [box(1, state="suggested", score=0.6)]))
    labeling.save(dataset, image, {**told.document, "shapes": []}, expected=told.row.revision)
    assert [shape["score"] for shape in labeling.opened(dataset, image).document["shapes"]] == [0.6]


def test_labels_that_came_with_scores_become_suggestions_on_the_first_save(make):
    dataset = make(Instances(np.array([[1, 1, 9, 9], [5, 5, 20, 20]]), np.array([0, 1]), np.array([np.nan, 0.5])))
    image, = ids(dataset)
    told = labeling.opened(dataset, image)
    assert [shape.get("state") for shape in told.document["shapes"]] == [None, "suggested"]
    labeling.save(dataset, image, told.document, expected=told.row.revision)
    assert len(dataset.row(image).labels) == 1 and dataset.row(image).labels.scores is None
    assert labeling_suggested.of(dataset, image).shapes[0]["score"] == 0.5


def test_an_object_without_a_score_is_truth_wherever_it_stands(make):
    dataset = make(Instances(np.array([[1, 1, 9, 9], [5, 5, 20, 20]]), np.array([0, 1]), np.array([np.nan, 0.5])))
    assert np.isnan(dataset.row(ids(dataset)[0]).labels.scores).tolist() == [True, False]


def test_suggested_tags_stand_beside_the_tags(make):
    dataset = make(None, task="classify")
    image, = ids(dataset)
    suggest(dataset, image, tags=[0.75, None])
    told = labeling.opened(dataset, image)
    assert (told.document["tags"], told.document["suggested_tags"], told.state) == ([None, None], [0.75, None], "suggested")
    saved = labeling.save(dataset, image, {**told.document, "tags": [None, 1], "suggested_tags": [0.75, None]}, expected=told.row.revision)
    assert labeling.opened(dataset, image).document["suggested_tags"] == [0.75, None] and saved.state == "labeled"
    labeling.save(dataset, image, {**told.document, "tags": [1, 1], "suggested_tags": None}, expected=saved.revision)
    assert "suggested_tags" not in labeling.opened(dataset, image).document


@pytest.mark.parametrize("content", [
    {"shapes": [box(state="suggested", score=2)]}, {"shapes": [box(state="suggested", score="high")]},
    {"shapes": [box(7, state="suggested", score=0.5)]}, {"shapes": [box(state="suggested", score=float("nan"))]}, {"shapes": "many"},
    {"shapes": [None]}, {"shapes": [box(state="suggested", score=0.5)] * 20_001},
    {"shapes": [{"kind": "mask", "cls": 0, "state": "suggested", "score": 0.5, "size": [10**9, 10**9], "counts": "04"}]}, []])
def test_suggestions_that_are_none_are_refused_and_nothing_is_kept(make, content):
    dataset = make(None)
    image, = ids(dataset)
    with pytest.raises(UserError) as told:
        labeling.save(dataset, image, {"looked": True, "tags": None, **content} if isinstance(content, dict) else content,
                      expected=dataset.row(image).revision)
    assert told.value.remedy() and dataset.row(image).labels is None and labeling.opened(dataset, image).state == "unlabeled"


@pytest.mark.parametrize("tags", [[0.5], [2, 0], ["x", 0], [float("nan"), 0], {}, 7])
def test_suggested_tags_that_are_none_are_refused(make, tags):
    dataset = make(None, task="classify")
    image, = ids(dataset)
    with pytest.raises(UserError):
        labeling.save(dataset, image, {"looked": True, "shapes": [], "tags": [1, None], "suggested_tags": tags}, expected=dataset.row(image).revision)
    assert dataset.row(image).labels is None


def test_an_area_is_suggested_for_a_painted_set_and_painted_when_it_is_accepted(make):
    dataset = make(None, task="semantic")
    image, = ids(dataset)
    shape = rle_of_mask(blob())
    suggest(dataset, image, {"kind": "mask", "cls": 0, "box": [1, 1, 2, 2], "size": list(shape.size), "counts": shape.counts.decode(),
                             "state": "suggested", "score": 0.8})
    told = labeling.opened(dataset, image)
    assert (told.kind, told.state) == ("mask", "suggested")
    plain = {key: value for key, value in told.document["shapes"][0].items() if key not in ("state", "score")}
    labeling.save(dataset, image, {**told.document, "looked": True, "shapes": [plain]}, expected=told.row.revision)
    assert np.array_equal(dataset.row(image).labels.classes == 0, blob())
    assert labeling.opened(dataset, image).document["shapes"][0].get("state") is None


def test_suggestions_follow_their_classes(make):
    dataset = make(None)
    image, = ids(dataset)
    suggest(dataset, image, box(0, state="suggested", score=0.5), box(1, state="suggested", score=0.6))
    editing.delete_class(dataset, 0)
    assert [(shape["cls"], shape["score"]) for shape in labeling.opened(dataset, image).document["shapes"]] == [(0, 0.6)]


@pytest.mark.parametrize("stored", ["", "{", "[]", "{}", '{"shapes": 7}', '{"shapes": [{}]}', '{"shapes": [], "tags": {"x": 1}}',
                                    '{"shapes": [], "tags": [1]}'])
def test_stored_suggestions_that_are_damaged_are_told_as_such(make, stored):
    dataset = make(None)
    image, = ids(dataset)
    suggest(dataset, image, box(0, state="suggested", score=0.5))
    with dataset.transaction() as connection:
        connection.execute("UPDATE suggestions SET document = ?", (stored,))
    with pytest.raises(UserError) as told:
        labeling.opened(dataset, image)
    assert told.value.key == "dataset_damaged" and labeling.queue(dataset).total == 1
    assert labeling_suggested.discard(dataset, [image]) == 1 and labeling.opened(dataset, image).state == "unlabeled"


def test_two_writers_lose_neither_labels_nor_suggestions(make):
    dataset = make(None)
    image, = ids(dataset)
    stop = threading.Event()

    def model():
        own, number = Dataset(dataset.folder), 0
        while not stop.is_set():
            number += 1
            labeling_suggested.put(own, image, Suggestion("run", str(number), [box(1, state="suggested", score=0.5)]))
    thread = threading.Thread(target=model)
    thread.start()
    for _ in range(40):
        now = labeling.opened(dataset, image)
        labeling.save(dataset, image, {**now.document, "looked": True, "shapes": [*now.document["shapes"], box(0)]}, expected=now.row.revision)
    stop.set()
    thread.join()
    assert np.bincount(dataset.row(image).labels.classes).tolist() == [40] and len(labeling_suggested.of(dataset, image).shapes) == 1


# ---- accepting many at once

def test_accepting_makes_truth_of_what_is_sure_and_remembers_that_nobody_looked(make):
    dataset = make(None, OBJECTS, None)
    first, labeled, skipped = ids(dataset)
    labeling.save(dataset, skipped, None, expected=dataset.row(skipped).revision, mark="skipped")
    for image in (first, labeled, skipped):
        suggest(dataset, image, box(0, state="suggested", score=0.9), box(1, state="suggested", score=0.4))
    assert labeling_suggested.accept(dataset, ids(dataset), threshold=0.5, who="小明") == 2
    assert [len(dataset.row(image).labels) for image in (first, labeled)] == [1, 4] and dataset.row(skipped).labels is None
    assert labeling.opened(dataset, first).mark.mark == "accepted" and labeling.opened(dataset, first).state == "labeled"
    assert [shape["score"] for shape in labeling_suggested.of(dataset, first).shapes] == [0.4]
    assert [labeling_suggested.unseen(dataset, split) for split in (None, "train", "valid")] == [2, 2, 0]
    assert [image for image, _ in labeling.queue(dataset, unseen=True).images] == walked(dataset, order="rare", unseen=True) == [first, labeled]
    labeling.save(dataset, first, None, expected=dataset.row(first).revision, mark="checked")
    assert labeling_suggested.unseen(dataset) == 1
    now = labeling.opened(dataset, labeled)
    labeling.save(dataset, labeled, now.document, expected=now.row.revision)
    assert labeling_suggested.unseen(dataset) == 0
    assert labeling.history(dataset, first)[0][2] == "小明" and labeling.history(dataset, first)[0][3] is None


def test_what_a_person_painted_lies_above_what_is_accepted(make):
    pixels = np.full((SIZE[1], SIZE[0]), NOTHING, np.uint16)
    pixels[:24] = 1
    dataset = make(SemanticMask(classes=pixels), task="semantic")
    image, = ids(dataset)
    shape = rle_of_mask(np.ones((SIZE[1], SIZE[0]), bool))
    suggest(dataset, image, {"kind": "mask", "cls": 0, "box": [0, 0, 64, 48], "size": list(shape.size), "counts": shape.counts.decode(),
                             "state": "suggested", "score": 0.8})
    labeling_suggested.accept(dataset, [image], threshold=0.5)
    kept = dataset.row(image).labels.classes
    assert (kept[:24] == 1).all() and (kept[24:] == 0).all()


@pytest.mark.parametrize(("labels", "chances", "threshold", "values", "left"), [
    ((Tags(np.array([1, 1])), Tags(np.array([np.nan, np.nan]))), [0.95, 0.02], 0.9, [1, 0], None),
    ((Tags(np.array([1, 1])), Tags(np.array([0, np.nan]))), [0.95, 0.6], 0.0, [0, 1], [0.95, None]),
    ((Tags(np.array([1, 0])), Tags(np.array([np.nan, np.nan]))), [0.3, 0.6], 0.5, [0, 1], None),
])
def test_tags_are_accepted_both_ways_and_one_alone_where_an_image_has_one(make, labels, chances, threshold, values, left):
    dataset = make(*labels, task="classify")
    image = ids(dataset)[1]
    suggest(dataset, image, tags=chances)
    assert labeling_suggested.accept(dataset, [image], threshold=threshold) == 1
    assert dataset.row(image).labels.values.tolist() == values and labeling_suggested.of(dataset, image).tags == left


def test_nothing_is_accepted_twice_and_what_is_discarded_is_gone(make):
    dataset = make(None, None)
    first, second = ids(dataset)
    for image in (first, second):
        suggest(dataset, image, box(0, state="suggested", score=0.9))
    assert labeling_suggested.accept(dataset, [first], threshold=0.95) == 0
    assert labeling_suggested.accept(dataset, [first]) == 1 and labeling_suggested.accept(dataset, [first]) == 0
    assert labeling_suggested.discard(dataset, [first, second]) == 1 and labeling.opened(dataset, second).state == "unlabeled"
    with pytest.raises(UserError):
        labeling_suggested.accept(dataset, [first], threshold=float("nan"))


# ---- orders and filters

def brute(dataset, places):
    """The order of work as it is meant: by place, then what has none, by id."""
    return sorted(ids(dataset), key=lambda each: (each not in places, places.get(each, 0), each))


def walked(dataset, **asked):
    """The whole order, gathered from windows around every image."""
    whole = labeling.queue(dataset, 0, after=1000, **asked)
    found = [image for image, _ in whole.images]
    for place, image in enumerate(found):
        part = labeling.queue(dataset, image, before=3, after=4, **asked)
        assert ([each for each, _ in part.images], part.start, part.total) == (found[max(0, place - 3):place + 4], max(0, place - 3), len(found))
    return found


def test_the_queue_goes_by_uncertainty_and_what_was_not_ranked_comes_last(make):
    dataset = make(*[None] * 12)
    every = ids(dataset)
    order = [every[7], every[2], every[11], every[4]]
    put_ranks(dataset, [Ranked(image, 0.5, "uncertain") for image in order], "run")
    assert walked(dataset, order="uncertain") == brute(dataset, {image: place for place, image in enumerate(order)})
    editing.trash(dataset, [every[2]])
    assert walked(dataset, order="uncertain")[:3] == [every[7], every[11], every[4]]
    assert [each.image_id for each in ranks(dataset, 2)] == [every[7], every[11]]
    assert [image for image, _ in labeling.queue(dataset, 10**9, order="uncertain", after=2).images] == [every[7], every[11]]


def test_the_queue_goes_by_suspicion_until_an_image_is_checked(make):
    dataset = make(*[OBJECTS] * 6)
    every = ids(dataset)
    put_suspects(dataset, [Suspect(every[4], "missed", 0.9, (40, 40, 50, 47), 0), Suspect(every[1], "class", 0.8, (1.25, 2.5, 30, 20), 1, 0),
                           Suspect(every[4], "class", 0.7, (9, 9, 20, 20), 1, 0)], "run")
    assert walked(dataset, order="suspect") == [every[4], every[1], every[0], every[2], every[3], every[5]]
    assert [(each.kind, each.cls, each.other) for each in suspects(dataset)] == [("missed", 0, None), ("class", 1, 0)]
    labeling.save(dataset, every[4], None, expected=dataset.row(every[4]).revision, mark="checked")
    assert walked(dataset, order="suspect")[:2] == [every[1], every[0]] and [each.image_id for each in suspects(dataset)] == [every[1]]


def test_a_suspect_is_off_the_list_once_its_label_has_changed(make):
    dataset = make(OBJECTS)
    image, = ids(dataset)
    put_suspects(dataset, [Suspect(image, "missed", 0.9, (40, 30, 50, 40), 0), Suspect(image, "class", 0.8, (1.25, 2.5, 30, 20), 1, 0)], "run")
    assert len(suspects(dataset)) == 2
    now = labeling.opened(dataset, image)
    mended = [{**now.document["shapes"][0], "cls": 0}, *now.document["shapes"][1:], box(0, 40.0, 30.0, 51.0, 41.0)]
    labeling.save(dataset, image, {**now.document, "shapes": mended}, expected=now.row.revision)
    assert suspects(dataset) == []


def test_the_queue_goes_by_the_rarest_class_that_an_image_shows_or_is_suggested_to_show(make):
    one, both = (Instances(np.array([[1, 1, 9, 9]] * len(classes)), np.array(classes)) for classes in ([0], [0, 1]))
    dataset = make(one, None, both, one, None, one)
    every = ids(dataset)
    suggest(dataset, every[4], box(1, state="suggested", score=0.5))
    assert walked(dataset, order="rare") == [every[2], every[4], every[0], every[3], every[5], every[1]]
    readonly = Dataset(dataset.folder, readonly=True)
    assert labeling.queue(readonly, order="rare").total == 6


def test_filters_go_with_every_order(make):
    one, both = (Instances(np.array([[1, 1, 9, 9]] * len(classes)), np.array(classes)) for classes in ([0], [0, 1]))
    dataset = make(one, None, both, one, None, one)
    every = ids(dataset)
    suggest(dataset, every[4], box(1, state="suggested", score=0.5))
    put_ranks(dataset, [Ranked(image, 0.5, "uncertain") for image in reversed(every)], "run")
    for order in labeling.ORDERS:
        assert sorted(walked(dataset, order=order, cls=1)) == [every[2], every[4]]
        assert walked(dataset, order=order, state="suggested") == [every[4]]
        assert walked(dataset, order=order, text="3.p") == [every[3]]
        assert walked(dataset, order=order, split="valid") == [] and walked(dataset, order=order, cls=99) == []
    assert walked(dataset, order="uncertain", state="labeled") == [every[5], every[3], every[2], every[0]]
    with pytest.raises(UserError):
        labeling.queue(dataset, order="beauty")


# ---- filling in

def test_each_painted_area_becomes_an_object_with_the_box_that_scipy_finds(make):
    pixels = np.full((SIZE[1], SIZE[0]), NOTHING, np.uint16)
    pixels[blob(12, 12, 6)], pixels[blob(40, 30, 9)], pixels[blob(55, 8, 5)] = 0, 0, 1
    dataset = make(SemanticMask(classes=pixels), task="semantic")
    image, = ids(dataset)
    assert labeling.derive(dataset, [image], "boxes_from_masks") == 1
    wanted = sorted((number, *(float(v) for v in (x.start, y.start, x.stop, y.stop)))
                    for number in (0, 1) for y, x in ndimage.find_objects(ndimage.label(pixels == number, np.ones((3, 3)))[0]))
    found = dataset.row(image).labels
    assert sorted((int(number), *box.tolist()) for number, box in zip(found.classes, found.boxes, strict=True)) == wanted
    told = labeling.opened(dataset, image)
    assert told.kind == "objects" and all(shape["derived"] for shape in told.document["shapes"])
    edited = [{key: value for key, value in told.document["shapes"][0].items() if key != "derived"}, *told.document["shapes"][1:]]
    labeling.save(dataset, image, {**told.document, "shapes": edited}, expected=told.row.revision)
    assert [shape.get("derived") for shape in labeling.opened(dataset, image).document["shapes"]] == [None, True, True]


def test_outlines_become_masks_and_back_and_the_edit_can_be_undone(make):
    dataset = make(OBJECTS, None)
    image, empty = ids(dataset)
    assert labeling.derive(dataset, [image, empty], "masks_from_polygons") == 1
    made = dataset.row(image).labels
    assert [type(shape) for shape in made.shapes] == [type(None), RLE, RLE]
    assert np.array_equal(mask_of(made.shapes[1], SIZE), mask_of(OBJECTS.shapes[1], SIZE))
    assert [shape.get("derived") for shape in labeling.opened(dataset, image).document["shapes"]] == [None, True, None]
    assert labeling.derive(dataset, [image], "polygons_from_masks") == 1
    back = dataset.row(image).labels
    assert isinstance(back.shapes[2], Polygons) and abs(mask_of(back.shapes[2], SIZE).sum() - blob().sum()) < 0.1 * blob().sum()
    assert labeling.derive(dataset, [image], "polygons_from_masks") == 0
    for edit in editing.edits(dataset)[:2]:
        editing.undo(dataset, edit.id)
    assert dataset.row(image).labels.shapes[2] == OBJECTS.shapes[2] and "derived" not in labeling.opened(dataset, image).document["shapes"][1]
    assert editing.edits(dataset)[0].text()
    with pytest.raises(UserError):
        labeling.derive(dataset, [image], "gold_from_lead")
