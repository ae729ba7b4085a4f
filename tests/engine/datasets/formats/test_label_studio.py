"""Label Studio: full and JSON-MIN exports, every kind of region, and the many ways in which a task names its image."""

import base64
import itertools
import json

import cv2
import numpy as np
import pytest
from PIL import Image

from engine.datasets.collection import collect
from engine.datasets.formats.label_studio import detects, read
from engine.datasets.formats.label_studio_brush import encode
from engine.datasets.outlines import mask_of
from engine.types import UserError

SIZE = {"original_width": 64, "original_height": 48, "image_rotation": 0}
NUMBERS = itertools.count()


def region(value, kind="rectanglelabels", names=("cat",), **more):
    return {"id": f"r{next(NUMBERS)}", "type": kind, "from_name": "label", "to_name": "image", **SIZE,
            "value": {**value, kind: list(names)}, **more}


def box(x=25, y=25, width=50, height=50, rotation=0):
    return {"x": x, "y": y, "width": width, "height": height, "rotation": rotation}


def task(*results, image="a.png", number=1, **more):
    annotation = {"id": number, "result": list(results), "was_cancelled": False, "created_at": "2024-01-01", "updated_at": "2024-01-01"}
    return {"id": number, "annotations": [annotation], "predictions": [], "data": {"image": image}, **more}


@pytest.fixture
def folder(tmp_path, picture):
    """Makes an export of tasks beside the images that are asked for."""
    def make(tasks, images=("a.png",), **files):
        root = tmp_path / "set"
        root.mkdir(exist_ok=True)
        for number, image in enumerate(images):
            picture(root / image, seed=number)
        (root / "export.json").write_text(tasks if isinstance(tasks, str) else json.dumps(tasks), encoding="utf-8")
        for name, text in files.items():
            (root / f"{name}.xml").write_text(text, encoding="utf-8")
        return root
    return make


def codes(found):
    return [(problem.code, problem.severity) for problem in found.problems]


def only(root):
    found = collect(read(root))
    assert len(found.samples) == 1
    return found.samples[0].labels, found


# ---- regions

def test_boxes_are_percent_of_the_image(folder):
    labels, found = only(folder([task(region(box(50, 25, 25, 50)))]))
    assert labels.boxes.tolist() == [[32, 12, 48, 36]]
    assert (found.classes, found.task, found.problems) == (("cat",), "detect", [])


def test_a_turned_box_becomes_the_box_around_it(folder):
    labels, found = only(folder([task(region(box(50, 25, 25, 50, 90)))]))
    assert np.allclose(labels.boxes, [[8, 12, 32, 28]])  # 16x24 pixels, turned clockwise about its top left corner (32, 12)
    assert codes(found) == [("label_studio_turned_boxes", "note")]


@pytest.mark.parametrize("degrees", [-30, 17.5, 328.33, 725])
def test_turned_boxes_agree_with_opencv(folder, degrees):
    labels, _ = only(folder([task(region(box(40, 40, 20, 15, degrees)))]))
    x, y, width, height = 25.6, 19.2, 12.8, 7.2
    turn = cv2.getRotationMatrix2D((x, y), -degrees, 1)
    corners = cv2.transform(np.array([[[x, y], [x + width, y], [x + width, y + height], [x, y + height]]]), turn)[0]
    assert np.allclose(labels.boxes[0], [*corners.min(0), *corners.max(0)], atol=1e-4)


def test_polygons_keep_every_point(folder):
    points = [[10.5, 10], [90, 20.25], [50, 100], [10.5, 10]]
    labels, found = only(folder([task(region({"points": points, "closed": True}, "polygonlabels"))]))
    assert np.allclose(labels.shapes[0].rings[0], np.array(points) * (0.64, 0.48))
    assert found.task == "instance"


def test_an_ellipse_is_a_polygon_with_its_box(folder):
    labels, _ = only(folder([task(region({"x": 50, "y": 50, "radiusX": 25, "radiusY": 25, "rotation": 0}, "ellipselabels"))]))
    assert len(labels.shapes[0].rings[0]) == 64
    assert np.allclose(labels.boxes, [[16, 12, 48, 36]])


def test_a_brush_is_a_mask_of_its_very_pixels(folder):
    mask = np.zeros((48, 64), bool)
    mask[3:9, 4:30] = mask[20, 20] = True
    labels, found = only(folder([task(region({"format": "rle", "rle": encode(mask)}, "brushlabels"))]))
    assert (mask_of(labels.shapes[0], (64, 48)) == mask).all()
    assert (labels.boxes.tolist(), found.task, found.problems) == ([[4, 3, 30, 21]], "instance", [])


@pytest.mark.parametrize("rle", [[], [1, 2, 3], "abc", [300], [-1], None, [0, 0, 48, 0], {"a": 1}])
def test_a_brush_that_does_not_fit_is_named(folder, rle):
    labels, found = only(folder([task(region({"format": "rle", "rle": rle}, "brushlabels"), region(box()))]))
    assert len(labels) == 1
    assert codes(found) == [("runs_damaged", "error")]


def test_labels_and_geometry_may_stand_in_results_of_one_id(folder):
    results = [{"id": "x", "type": "rectangle", "to_name": "image", "value": box(), **SIZE},
               {"id": "x", "type": "labels", "to_name": "image", "value": {**box(), "labels": ["dog"]}, **SIZE},
               {"id": "x", "type": "choices", "to_name": "image", "value": {**box(), "choices": ["large"]}, **SIZE},
               {"id": "y", "type": "rectangle", "to_name": "image", "value": box(1, 1, 9, 9), **SIZE},
               {"id": "y", "type": "choices", "to_name": "image", "value": {**box(1, 1, 9, 9), "choices": ["small"]}, **SIZE}]
    labels, found = only(folder([task(*results)]))
    assert found.classes == ("dog", "small")
    assert labels.classes.tolist() == [0, 1]
    assert codes(found) == [("label_studio_attributes", "note")]


def test_a_region_of_two_labels_is_an_object_of_each(folder):
    labels, found = only(folder([task(region(box(), names=("cat", "dog")))]))
    assert labels.classes.tolist() == [0, 1]
    assert codes(found) == [("regions_of_several_classes", "note")]


def test_points_texts_and_relations_are_left_out_and_counted(folder):
    others = [region({"x": 1, "y": 1, "width": 0.5}, "keypointlabels", ("nose",)), {"type": "relation", "from_id": "a", "to_id": "b"},
              {"type": "textarea", "value": {"text": ["a note"]}, "to_name": "image"}]
    labels, found = only(folder([task(region(box()), *others)]))
    assert (len(labels), found.classes) == (1, ("cat",))
    counts = {problem.code: problem.values["count"] for problem in found.problems}
    assert counts == {"label_studio_points_left_out": 1, "label_studio_others_left_out": 2}


def test_a_size_that_differs_or_a_turned_view_is_a_warning(folder):
    labels, found = only(folder([task(region(box(), original_width=640, original_height=480, image_rotation=90))]))
    assert labels.boxes.tolist() == [[16, 12, 48, 36]]
    assert codes(found) == [("label_size_differs", "warning"), ("label_studio_turned_image", "warning")]


def test_percents_are_of_the_upright_image(folder):
    root = folder([task(region(box(50, 25, 25, 50), original_width=48, original_height=64), image="t.jpg")], ())
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 48)).save(root / "t.jpg", exif=exif)
    labels, found = only(root)
    assert labels.boxes.tolist() == [[24, 16, 36, 48]]
    assert found.problems == []


def test_nothing_hostile_in_a_task_raises(folder):
    strange = [None, 5, [], {"data": 3}, {"data": {"image": 5}}, {"data": {"image": "a.png"}, "annotations": 3}, {"data": {}, "annotations": []},
               task(None, 3, {"value": 3}, {"type": "rectanglelabels", "value": {"x": "q", "rectanglelabels": "cat"}},
                    region({"points": 3}, "polygonlabels"), region({"points": [[1], 2, ["a", "b"]]}, "polygonlabels"), region(box("x")),
                    region(box(1e300)), region({"x": None, "height": 1}), region({"imageDataURL": 3}, "bitmasklabels"),
                    region({"x": 1, "y": 1, "radiusX": None, "radiusY": 1}, "ellipselabels")),
               {"data": {"image": "http://[bad"}, "annotations": [{"result": None}]}]
    found = collect(read(folder(strange)))
    assert [sample.name for sample in found.samples] == ["a.png"]


# ---- annotations

def test_no_annotation_is_unlabeled_and_an_empty_one_is_background(folder):
    tasks = [task(image="a.png"), {"id": 2, "annotations": [], "data": {"image": "b.png"}}, task(region(box()), image="c.png")]
    found = collect(read(folder(tasks, ("a.png", "b.png", "c.png", "d.png"))))
    assert [None if sample.labels is None else len(sample.labels) for sample in found.samples] == [0, None, 1, None]
    assert codes(found) == [("images_without_labels", "note")]


def test_of_several_annotations_the_last_one_counts_and_skipped_ones_never(folder):
    several = task()
    several["annotations"] = [{"result": [region(box(), names=("old",))], "created_at": "2024-01-03", "updated_at": "2024-01-03"},
                              {"result": [region(box(), names=("new",))], "created_at": "2024-01-01", "updated_at": "2024-02-01"},
                              {"result": [region(box(), names=("skipped",))], "updated_at": "2024-03-01", "was_cancelled": True}]
    labels, found = only(folder([several]))
    assert [found.classes[each] for each in labels.classes] == ["new"]
    assert codes(found) == [("label_studio_skipped", "note"), ("label_studio_several", "note")]


def test_predictions_alone_leave_an_image_unlabeled(folder):
    predictions = [{"result": [region(box())], "score": 0.9}]
    labels, found = only(folder([{"id": 1, "annotations": [], "predictions": predictions, "data": {"image": "a.png"}}]))
    assert labels is None
    assert codes(found) == [("label_studio_predictions", "note"), ("images_without_labels", "note")]


def test_choices_of_whole_images_are_tags(folder):
    def choice(*names):
        return {"type": "choices", "value": {"choices": list(names)}, "from_name": "quality", "to_name": "image"}
    tasks = [task(choice("sharp", "bright")), task(choice("dark"), image="b.png"), task(image="c.png"),
             {"data": {"image": "d.png"}, "annotations": []}]
    found = collect(read(folder(tasks, ("a.png", "b.png", "c.png", "d.png"))))
    assert (found.classes, found.task) == (("sharp", "bright", "dark"), "classify")
    assert [sample.labels.values.tolist() for sample in found.samples[:3]] == [[1, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert found.samples[3].labels is None


def test_a_taxonomy_names_its_paths_and_controls_keep_equal_choices_apart(folder):
    results = [{"type": "taxonomy", "value": {"taxonomy": [["Animal", "Cat"]]}, "from_name": "kind", "to_name": "image"},
               {"type": "choices", "value": {"choices": ["yes"]}, "from_name": "indoor", "to_name": "image"},
               {"type": "choices", "value": {"choices": ["yes"]}, "from_name": "blurred", "to_name": "image"}]
    assert read(folder([task(results[0])])).classes == ("Animal/Cat",)
    assert read(folder([task(*results)])).classes == ("kind: Animal/Cat", "indoor: yes", "blurred: yes")


def test_choices_beside_regions_are_left_out_with_a_note(folder):
    labels, found = only(folder([task(region(box()), {"type": "choices", "value": {"choices": ["sharp"]}, "from_name": "q", "to_name": "image"})]))
    assert (len(labels), found.classes) == (1, ("cat",))
    assert codes(found) == [("label_studio_tags_left_out", "note")]


def test_the_interface_gives_the_order_of_classes(folder):
    view = ('<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image"><Label value="dog"/>'
            '<Label value="Katze" alias="cat"/><Label value="never"/></RectangleLabels>'
            '<Labels name="ner" toName="text"><Label value="PER"/></Labels><Text name="text" value="$text"/></View>')
    labels, found = only(folder([task(region(box()))], config=view))
    assert found.classes == ("dog", "cat", "never")
    assert labels.classes.tolist() == [1]


def test_an_interface_with_entities_is_refused_and_the_rest_is_read(folder):
    hostile = '<View><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><Image name="&a;"/></View>'
    labels, found = only(folder([task(region(box()))], config=hostile))
    assert len(labels) == 1
    assert [problem.code for problem in found.problems] in (["xml_damaged"], ["xml_entities"])


# ---- images

@pytest.mark.parametrize("text", [
    "photos/my cat #1.png", "my cat #1.png", "/data/upload/3/0123abcd-my_cat_1.png", "/data/upload/3/0123abcd-my%20cat%20%231.png",
    "/data/local-files/?d=disk/photos/my%20cat%20%231.png", "https://example.org/x/my%20cat%20%231.png?token=a/b.png",
    "s3://bucket/photos/my cat #1.png",
    "/tasks/7/resolve/?fileuri=" + base64.urlsafe_b64encode(b"s3://bucket/photos/my cat #1.png").decode(), "C:\\photos\\my cat #1.png",
    "/storage-data/uploaded/?filepath=upload/3/0123abcd-my_cat_1.png"])
def test_the_image_is_found_under_every_spelling(folder, text):
    labels, found = only(folder([task(region(box()), image=text)], ("photos/my cat #1.png",)))
    assert len(labels) == 1
    assert found.problems == []


def test_no_task_leads_out_of_the_folder(folder, picture, tmp_path):
    picture(tmp_path / "secret.png")
    tasks = [task(region(box()), image=text) for text in ("../secret.png", str(tmp_path / "secret.png"), "/data/local-files/?d=../secret.png")]
    found = collect(read(folder(tasks)))
    assert [sample.name for sample in found.samples] == ["a.png"]
    assert [problem.code for problem in found.problems] == ["image_missing"] * 3 + ["images_without_labels"]


def test_one_name_in_two_folders_is_not_guessed(folder):
    found = collect(read(folder([task(region(box()), image="/data/upload/1/0123abcd-x.png")], ("one/x.png", "two/x.png"))))
    assert codes(found) == [("image_name_ambiguous", "error"), ("images_without_labels", "note")]


def test_tasks_of_several_images_give_each_its_own_regions(folder):
    results = [region(box(), names=("cat",), to_name="page_0"), region(box(1, 1, 9, 9), names=("dog",), to_name="page_1"),
               region(box(2, 2, 9, 9), names=("dog",), to_name="page", item_index=1)]
    found = collect(read(folder([{**task(*results), "data": {"images": [{"url": "a.png"}, {"url": "b.png"}]}}], ("a.png", "b.png"))))
    assert [len(sample.labels) for sample in found.samples] == [1, 2]


@pytest.mark.parametrize("data", [{"text": "hello"}, {"video": "a.mp4"}, {"audio": "https://x/y.wav"}, {"image": "clip.mp4"}])
def test_a_set_without_images_is_refused_with_what_it_holds(folder, data):
    with pytest.raises(UserError) as caught:
        read(folder([{**task(), "data": data}]))
    assert caught.value.key == "label_studio_no_images"
    assert next(iter(data)) in str(caught.value)


def test_tasks_without_an_image_among_others_are_counted(folder):
    labels, found = only(folder([task(region(box())), {**task(), "data": {"text": "hello"}}]))
    assert len(labels) == 1
    assert codes(found) == [("label_studio_without_image", "warning")]


def test_split_and_patient_come_from_the_task(folder):
    _, found = only(folder([task(region(box()), data={"image": "a.png", "split": "val", "group": "p1"})]))
    assert (found.samples[0].split, found.samples[0].group) == ("valid", "p1")


# ---- recognising

def test_exports_are_known_by_their_content(folder):
    root = folder([task(region(box()))])
    assert (detects(root), detects(root / "export.json")) == ("export.json", "export.json")
    assert detects(folder([{"id": 1, "annotations": [{"result": [{"points": [0] * 100_000}]}], "data": {}}])) == "export.json"


@pytest.mark.parametrize("content", [
    {"images": [], "annotations": [], "categories": []}, [{"image_id": 1, "bbox": [1, 1, 2, 2], "score": 1, "category_id": 1}], [], [1],
    {"data": {"x": 1}}, {"version": "5", "shapes": [], "imagePath": "a.png"}, {"assets": {}, "tags": []}, [{"id": 1, "name": "x"}],
    [{"images": [], "annotations": [], "data": 1}]])
def test_other_json_is_not_taken_for_label_studio(folder, content):
    assert detects(folder(content)) is None
