"""labelme JSON: shapes, pairing of files and images, and everything that real folders hold besides."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from engine.datasets.collection import collect
from engine.datasets.formats.labelme import detects, read
from engine.datasets.formats.labelme_shapes import circle
from engine.datasets.outlines import mask_of


def shape(label="cat", points=((1, 2), (30, 40)), kind="rectangle", **more):
    return {"label": label, "points": [list(point) for point in points], "shape_type": kind, "group_id": None, "flags": {}, **more}


def document(*shapes, image="a.png", **more):
    return {"version": "5.4.1", "flags": {}, "shapes": list(shapes), "imagePath": image, "imageData": None, "imageHeight": 48, "imageWidth": 64,
            **more}


@pytest.fixture
def folder(tmp_path, picture):
    """Makes {json path: document} with the images that are asked for."""
    def make(documents, images=("a.png",)):
        root = tmp_path / "set"
        for number, image in enumerate(images):
            picture(root / image, seed=number)
        for name, content in documents.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return root
    return make


def codes(found):
    return [(problem.code, problem.severity) for problem in found.problems]


def only(root):
    found = collect(read(root))
    assert len(found.samples) == 1
    return found.samples[0].labels, found


@pytest.mark.parametrize("shapes", [None, {}, "none"])
def test_a_label_file_without_a_list_of_shapes_is_an_error_and_its_image_unlabeled(folder, shapes):
    labels, found = only(folder({"a.json": document() | {"shapes": shapes}}))
    assert labels is None
    assert codes(found) == [("labelme_shapes_unreadable", "error"), ("images_without_labels", "note")]
    assert found.problems[0].where == "a.json"


# ---- shapes

def test_rectangles_may_begin_at_any_corner(folder):
    labels, found = only(folder({"a.json": document(shape(points=((30, 40), (1, 2))), shape(points=((50, 4), (41, 20)), label="dog"))}))
    assert labels.boxes.tolist() == [[1, 2, 30, 40], [41, 4, 50, 20]]
    assert labels.shapes is None
    assert (found.classes, found.task, found.problems) == (("cat", "dog"), "detect", [])


def test_polygons_keep_every_point(folder):
    points = [(1.5, 2.25), (30, 3), (20.125, 40), (1.5, 2.25)]
    labels, found = only(folder({"a.json": document(shape(points=points, kind="polygon"))}))
    assert labels.shapes[0].rings[0].tolist() == [list(point) for point in points]
    assert found.task == "instance"


def test_a_circle_is_a_polygon_of_64_points_with_its_area(folder):
    labels, _ = only(folder({"a.json": document(shape(points=((30, 20), (30, 30)), kind="circle"))}))
    ring = labels.shapes[0].rings[0]
    assert len(ring) == 64
    assert np.allclose(np.hypot(*(ring - (30, 20)).T), 10)
    assert np.allclose(labels.boxes, [[20, 10, 40, 30]])


def test_an_ellipse_turns_clockwise_as_seen():
    ring = circle(0, 0, 10, 2, 90)
    assert np.allclose(ring[0], (0, 10))
    assert np.allclose(np.abs(ring).max(0), (2, 10))


def png(mask, mode="L"):
    stream = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8)).convert(mode).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


@pytest.mark.parametrize("mode", ["L", "1"])
def test_a_mask_is_painted_where_its_points_say(folder, mode):
    mask = np.zeros((6, 9), np.uint8)
    mask[1:4, 2:7] = 255 if mode == "1" else 1
    labels, found = only(folder({"a.json": document(shape(points=((20, 10), (28, 15)), kind="mask", mask=png(mask, mode)))}))
    whole = np.zeros((48, 64), bool)
    whole[11:14, 22:27] = True
    assert (mask_of(labels.shapes[0], (64, 48)) == whole).all()
    assert (labels.boxes.tolist(), found.problems, found.task) == ([[22, 11, 27, 14]], [], "instance")


def test_a_mask_that_is_damaged_or_larger_than_the_image_is_named(folder):
    bomb = png(np.ones((480, 640)))
    masks = [shape(kind="mask", mask=mask) for mask in ("####", bomb, None)]
    labels, found = only(folder({"a.json": document(*masks, shape())}))
    assert len(labels) == 1
    assert codes(found) == [("mask_damaged", "error")] * 3


def test_shapes_of_one_group_and_label_are_one_object(folder):
    left, right = ((1, 1), (10, 1), (10, 10)), ((20, 20), (30, 20), (30, 30))
    labels, _ = only(folder({"a.json": document(
        shape(points=left, kind="polygon", group_id=1), shape(points=right, kind="polygon", group_id=1),
        shape(points=right, kind="polygon", group_id=1, label="dog"), shape(points=left, kind="polygon"),
        shape(points=((40, 5), (50, 9)), group_id=7))}))
    assert [None if each is None else len(each.rings) for each in labels.shapes] == [2, 1, 1, None]
    assert labels.boxes[0].tolist() == [1, 1, 30, 30]


def test_a_mask_grouped_with_outlines_is_their_union(folder):
    labels, _ = only(folder({"a.json": document(
        shape(points=((20, 10), (22, 12)), kind="mask", mask=png(np.ones((3, 3))), group_id="x"), shape(points=((40, 20), (50, 30)), group_id="x"))}))
    assert labels.boxes.tolist() == [[20, 10, 50, 30]]
    assert mask_of(labels.shapes[0], (64, 48)).sum() == 9 + 100


def test_lines_and_points_are_left_out_and_counted_once(folder):
    left_out = [shape(kind=kind, points=((1, 1), (2, 5)), label="edge") for kind in ("line", "linestrip", "point")]
    root = folder({"a.json": document(*left_out, shape()), "b.json": document(left_out[0], image="b.png")}, ("a.png", "b.png"))
    found = collect(read(root))
    assert [(problem.code, problem.values) for problem in found.problems] == [("labelme_shapes_left_out", {"count": 4})]
    assert found.classes == ("cat",)
    assert [len(sample.labels) for sample in found.samples] == [1, 0]


@pytest.mark.parametrize(("points", "code"), [
    ([[1, 1], [1, 40]], "object_without_area"), ([[70, 1], [90, 40]], "object_outside"), ([[1, 1], [99, 40]], "object_clipped"),
    ([["x", 1], [2, 2]], "object_not_finite"), ([], "object_not_finite")])
def test_boxes_that_cannot_be_are_named(folder, points, code):
    _, found = only(folder({"a.json": document(shape(points=points), shape(points=((1, 1), (5, 5))))}))
    assert [problem.code for problem in found.problems] == [code]
    assert all("{" not in problem.message(language) for problem in found.problems for language in ("en", "zh-CN", "zh-TW"))


# ---- which file belongs to which image

@pytest.mark.parametrize("path", ["..\\images\\x.png", "../images/x.png", "C:\\data\\me\\images\\x.png", "/home/me/set/images/x.png", "x.png",
                                  "", None])
def test_the_image_is_found_by_whatever_path_the_file_names(folder, path):
    root = folder({"labels/x.json": document(shape(), image=path)}, ("images/x.png", "images/y.png"))
    found = collect(read(root))
    assert {sample.name: sample.labels is None for sample in found.samples} == {"images/x.png": False, "images/y.png": True}
    assert codes(found) == [("images_without_labels", "note")]


def test_no_path_leads_out_of_the_folder(folder, picture, tmp_path):
    picture(tmp_path / "secret.png")
    outside = ("../secret.png", str(tmp_path / "secret.png"))
    found = collect(read(folder({f"{number}.json": document(shape(), image=path) for number, path in enumerate(outside)})))
    assert [sample.name for sample in found.samples] == ["a.png"]
    assert [problem.code for problem in found.problems] == ["image_missing", "image_missing", "images_without_labels"]


def test_a_copied_file_belongs_to_the_image_of_its_own_name(folder):
    root = folder({"a.json": document(shape()), "a_flipped.json": document(shape("dog"))}, ("a.png", "a_flipped.png"))
    found = collect(read(root))
    assert [found.classes[sample.labels.classes[0]] for sample in found.samples] == ["cat", "dog"]
    assert codes(found) == [("labelme_other_image", "warning")]


def test_the_second_file_for_an_image_is_left_out(folder):
    found = collect(read(folder({"a.json": document(shape()), "other.json": document(shape("dog"))})))
    assert len(found.samples) == 1
    assert codes(found) == [("image_labeled_twice", "error")]


def test_a_missing_image_is_named_and_its_embedded_copy_is_not_used_in_silence(folder):
    gone = document(shape(), image="gone.jpg", imageData=png(np.ones((48, 64))))
    found = collect(read(folder({"a.json": document(shape()), "gone.json": gone})))
    assert [(problem.code, problem.where) for problem in found.problems] == [("image_missing", "gone.jpg"), ("labelme_embedded", ".")]


def test_another_size_is_a_warning(folder):
    labels, found = only(folder({"a.json": document(shape(), imageWidth=640, imageHeight=480)}))
    assert len(labels) == 1
    assert codes(found) == [("label_size_differs", "warning")]


def test_damaged_and_foreign_files_cost_only_themselves(folder):
    files = {"a.json": '{"shapes": [', "package.json": {"name": "x"}, "b.json": document(shape(), image="b.png"), "c.json": "[1]"}
    found = collect(read(folder(files, ("a.png", "b.png"))))
    assert {sample.name: sample.labels is None for sample in found.samples} == {"a.png": True, "b.png": False}
    assert sorted(problem.code for problem in found.problems) == ["images_without_labels", "json_damaged", "json_not_labels", "json_not_labels"]


def test_nothing_hostile_in_a_file_raises(folder):
    strange = [None, 7, {"points": 3}, shape(label=None), shape(label=["x"]), shape(flags=3), shape(points=[[1]]), shape(points="abc"),
               shape(group_id={}), shape(kind="mask", mask=5, points=[]), shape(kind="mask", mask=5), shape(kind=["circle"]),
               shape(kind="circle", points=[[1, 1]]), shape(kind="polygon", points=[[1, 1]] * 2)]
    found = collect(read(folder({"a.json": document(*strange, image=5, flags=[1], imageWidth="x", imageHeight={})})))
    assert len(found.samples) == 1
    assert {problem.code for problem in found.problems} >= {"object_not_finite", "outline_too_short", "mask_damaged", "objects_without_class"}


# ---- classes, tags, splits

def test_labels_txt_gives_the_order_of_classes(folder):
    root = folder({"a.json": document(shape("dog"), shape("cat", points=((5, 5), (9, 9))))})
    assert read(root).classes == ("dog", "cat")
    (root / "labels.txt").write_text("__ignore__\n_background_\ncat\nunused\ndog\n")
    labels, found = only(root)
    assert found.classes == ("cat", "unused", "dog")
    assert labels.classes.tolist() == [2, 0]


def test_flags_of_a_set_without_shapes_are_tags(folder):
    root = folder({"a.json": document(flags={"good": True, "blurred": False}), "b.json": document(image="b.png", flags={"dark": True}),
                   "c.json": document(image="c.png")}, ("a.png", "b.png", "c.png", "d.png"))
    found = collect(read(root))
    assert (found.classes, found.task) == (("good", "blurred", "dark"), "classify")
    assert np.array_equal(found.samples[0].labels.values, [1, 0, np.nan], equal_nan=True)
    assert [sample.labels is None for sample in found.samples] == [False, False, True, True]


def test_flags_beside_shapes_are_left_out_with_a_note(folder):
    labels, found = only(folder({"a.json": document(shape(), flags={"good": True})}))
    assert len(labels) == 1
    assert codes(found) == [("labelme_flags_left_out", "note")]


def test_folders_tell_the_splits_and_no_shapes_mean_nothing_there(folder):
    root = folder({"train/a.json": document(), "val/b.json": document(shape(), image="b.png")}, ("train/a.png", "val/b.png", "test/c.png"))
    found = collect(read(root))
    counts = {sample.split: None if sample.labels is None else len(sample.labels) for sample in found.samples}
    assert counts == {"train": 0, "valid": 1, "test": None}


def test_a_single_file_stands_for_its_image(folder):
    root = folder({"a.json": document(shape()), "b.json": document(shape("dog"), image="b.png")}, ("a.png", "b.png"))
    assert detects(root / "b.json") == "b.json"
    found = collect(read(root / "b.json"))
    assert ([sample.name for sample in found.samples], found.classes) == (["b.png"], ("dog",))


# ---- recognising

@pytest.mark.parametrize("content", [
    {"images": [], "annotations": [], "categories": []}, {"name": "p", "assets": {}, "tags": [], "version": "2"},
    [{"id": 1, "data": {"image": "a.png"}, "annotations": []}], {"shapes": 3}, {"version": 1, "flags": {}},
    {"type": "FeatureCollection", "features": []}])
def test_other_json_is_not_taken_for_labelme(folder, content):
    assert detects(folder({"annotations.json": content})) is None


def test_a_picture_inside_the_file_does_not_hide_what_it_is(folder):
    content = {"imageData": "A" * 200_000, **document(shape())}
    assert detects(folder({"a.json": json.dumps(content)})) == "a.json"


def test_only_a_few_of_many_files_are_opened(folder, monkeypatch):
    from engine.datasets.tree import Tree
    root = folder({f"{number:04}.json": "{}" for number in range(300)})
    asked = []
    monkeypatch.setattr(Tree, "head", lambda self, path, count=0: asked.append(path) or b"{}")
    assert detects(root) is None
    assert len(asked) < 20
