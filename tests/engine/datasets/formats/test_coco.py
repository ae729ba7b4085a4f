import json
import math

import numpy as np
import pytest
from pycocotools import mask as oracle

from engine.datasets.convert import convert
from engine.datasets.formats import formats
from engine.datasets.outlines import mask_of
from engine.types import RLE, Polygons, Problem, Sample, UserError


def read(root):
    reading = formats.get("coco").read(root)
    items = list(reading.items)
    return reading, {item.name: item for item in items if isinstance(item, Sample)}, [item for item in items if isinstance(item, Problem)]


def codes(problems):
    return [problem.code for problem in problems]


def edit(**changes):
    """A change of the first annotation."""
    return lambda content: content["annotations"][0].update(changes)


# ---- reading

def test_boxes_classes_outlines_and_sizes_are_read(coco_folder):
    reading, samples, problems = read(coco_folder())
    assert (reading.classes, reading.task, problems) == (("cat", "dog"), "instance", [])
    labels = samples["images/a.png"].labels
    assert labels.boxes.tolist() == [[8, 8, 24, 24], [30, 10, 50, 40]]
    assert labels.classes.tolist() == [0, 1]
    assert labels.shapes[0].rings[0].tolist() == [[8, 8], [24, 8], [24, 24], [8, 24]]
    assert labels.shapes[1] is None
    assert samples["images/a.png"].size == (64, 48)


@pytest.mark.parametrize("turn", [str, float, lambda number: number + 1000, lambda number: -number, lambda number: f"id-{number}"])
def test_ids_of_any_kind_are_understood(coco_folder, turn):
    def change(content):
        for entry in content["annotations"]:
            entry.update(image_id=turn(entry["image_id"]), category_id=turn(entry["category_id"]), id=turn(entry["id"]))
        for entry in content["images"] + content["categories"]:
            entry["id"] = turn(entry["id"])
    reading, samples, problems = read(coco_folder(change))
    assert sorted(reading.classes) == ["cat", "dog"]
    assert [len(sample.labels) for sample in samples.values()] == [2, 1]
    assert problems == []


def test_ids_that_are_text_on_one_side_only_still_meet(coco_folder):
    def change(content):
        for entry in content["annotations"]:
            entry["image_id"] = str(entry["image_id"])
    assert sum(len(sample.labels) for sample in read(coco_folder(change))[1].values()) == 3


def test_category_zero_is_a_class_unless_it_is_an_unused_heading(coco_folder):
    def heading(content):
        content["categories"].insert(0, {"id": 0, "name": "cat", "supercategory": "none"})
    reading, _, problems = read(coco_folder(heading))
    assert reading.classes == ("cat", "dog")
    assert codes(problems) == ["coco_dummy_category"]

    def used(content):
        heading(content)
        content["categories"][0]["name"] = "pets"
        content["annotations"][0]["category_id"] = 0
    assert read(coco_folder(used, name="used"))[0].classes == ("pets", "cat", "dog")


@pytest.mark.parametrize(("change", "code", "kept"), [
    (edit(category_id=77), "coco_unknown_category", 2), (edit(image_id=999), "coco_unknown_image", 2), (edit(category_id=[1]),
    "coco_unknown_category", 2),
    (edit(bbox=[8, 8, 0, 5], segmentation=[]), "coco_bad_box", 2), (edit(bbox=[8, 8, -3, 5], segmentation=None), "coco_bad_box", 2),
    (edit(bbox=[1, 2, 3], segmentation=[]), "coco_bad_box", 2), (edit(bbox="x", segmentation=[]), "coco_bad_box", 2),
    (edit(bbox=[math.nan, 5, 10, 10], segmentation=[]), "coco_box_not_finite", 2), (edit(bbox=[1, 5, 1e300, 10], segmentation=[]),
    "coco_box_not_finite", 2),
    (edit(bbox=[math.nan, 5, 10, 10]), "coco_box_from_shape", 3), (edit(bbox=None, segmentation=[]), "coco_bad_box", 2),
    (edit(bbox=[100, 100, 20, 20], segmentation=[]), "coco_box_outside", 2), (edit(bbox=[50, 40, 40, 40], segmentation=[]), "coco_box_clipped", 3),
    (edit(segmentation=[[1, 1, 5, 5]]), "coco_bad_polygon", 3), (edit(segmentation=[[1, 1, 5, 5, 9]]), "coco_bad_polygon", 3),
    (edit(segmentation=[[]]), "coco_bad_polygon", 3), (edit(segmentation=[[1, 1, 5, math.inf, 9, 9]]), "coco_bad_polygon", 3),
    (edit(bbox=json.loads("[" * 900 + "]" * 900), segmentation=[]), "coco_bad_box", 2),
    (edit(segmentation=json.loads("[" * 900 + "]" * 900), id=json.loads("[" * 900 + "]" * 900)), "coco_bad_polygon", 3),
    (edit(segmentation="x"), "coco_bad_polygon", 3), (edit(segmentation={"size": [48, 64], "counts": [10, 20]}), "coco_bad_rle", 3),
    (edit(segmentation={"size": [4800, 6400], "counts": "~~~~"}), "coco_bad_rle", 3), (edit(segmentation={}), "coco_bad_rle", 3),
    (edit(segmentation={"size": [48, 64], "counts": {"a": 1}}), "coco_bad_rle", 3), (edit(id=[[]]), None, 3), (edit(iscrowd="x", area=None), None, 3),
    (lambda content: content["annotations"].append(7), "coco_bad_annotation", 3), (lambda content: content["images"].append(None),
    "coco_bad_image_entry", 3),
    (lambda content: content["images"].append({"id": 9}), "coco_bad_image_entry", 3), (lambda content: content["categories"].append({"name": "x"}),
    "coco_bad_category", 3),
    (lambda content: content["images"].append({"id": 9, "file_name": "gone.png"}), "image_missing", 3),
    (lambda content: content["images"][0].update(width=640), "coco_size_differs", 3), (lambda content: content["images"][0].update(width=[1]),
    "coco_size_differs", 3),
    (lambda content: [entry.update(id=5) for entry in content["annotations"]], "coco_duplicate_annotation_ids", 3),
    (lambda content: content["categories"][1].update(name="cat"), "class_name_twice", 3), (lambda content: content.pop("categories"),
    "coco_no_categories", 3),
    (lambda content: content["images"][1].update(id=1), "coco_duplicate_image_id", 2),
    (lambda content: content["images"].append({"id": 9, "file_name": "b.png"}), "coco_file_listed_twice", 3)])
def test_a_fault_is_named_and_the_rest_is_kept(coco_folder, change, code, kept):
    _, samples, problems = read(coco_folder(change))
    assert sum(len(sample.labels) for sample in samples.values() if sample.labels is not None) == kept
    assert code in codes(problems) if code else problems == []


@pytest.mark.parametrize("name", ["/etc/passwd", "../../secret.png", "C:\\x.png", "a\0.png", "..", "\ud800.png", "\\\\host\\x.png"])
def test_file_names_that_lead_outside_are_refused(coco_folder, tmp_path, picture, name):
    picture(tmp_path / "secret.png")
    _, samples, problems = read(coco_folder(lambda content: content["images"][0].update(file_name=name)))
    assert list(samples) == ["images/b.png"]
    assert codes(problems) == ["coco_unsafe_file_name"]


@pytest.mark.parametrize(("text", "key"), [
    ('{"images": [', "json_damaged"), ('{"images": ' + "[" * 200_000 + "]" * 200_000 + "}", "json_too_deep"), ('{"images": 5}', "coco_not_a_dataset"),
    ('[{"image_id": 1, "category_id": 1, "bbox": [1,2,3,4], "score": 0.5}]', "coco_results"), ("[]", "coco_not_a_dataset"), ('"images"',
    "coco_not_a_dataset"),
    ('{"images": [], "annotations": {"a": 1}}', "coco_not_a_dataset"), ('{"images": [], "x": ' + "9" * 5000 + "}", "json_damaged"), ("",
    "json_damaged"),
    ('{"images": [1,]}', "json_damaged")])
def test_what_is_no_coco_document_is_refused_with_file_and_place(coco_folder, text, key):
    with pytest.raises(UserError) as caught:
        read(coco_folder(text=text))
    assert caught.value.key == key
    assert "annotations.json" in str(caught.value)


def test_a_truncated_document_tells_line_and_column(coco_folder):
    with pytest.raises(UserError) as caught:
        read(coco_folder(text='{"images": [],\n "annotations": [{"id"'))
    assert caught.value.values["where"] == "annotations.json:2:23"


def test_boxes_that_are_corners_are_suspected(coco_folder):
    def change(content):
        for entry in content["annotations"] * 1:
            entry.update(bbox=[24, 20, 60, 44], segmentation=[])
        content["annotations"] += [{**content["annotations"][0], "id": number} for number in range(10, 14)]
    assert "coco_corners_suspected" in codes(read(coco_folder(change))[2])


def test_run_lengths_of_both_kinds_and_crowds_are_read(coco_folder):
    mask = np.zeros((48, 64), np.uint8)
    mask[5:20, 4:30] = 1
    packed = oracle.encode(np.asfortranarray(mask))
    runs = np.diff(np.flatnonzero(np.concatenate([[1], np.diff(mask.ravel(order="F")) != 0, [1]]))).tolist()

    def change(content):
        content["annotations"][0].update(segmentation={"size": [48, 64], "counts": packed["counts"].decode()})
        content["annotations"][1].update(segmentation={"size": [48, 64], "counts": runs}, iscrowd=1)
    _, samples, problems = read(coco_folder(change))
    labels = samples["images/a.png"].labels
    assert problems == []
    assert labels.crowd.tolist() == [False, True]
    assert all(np.array_equal(mask_of(shape, (64, 48)), mask) for shape in labels.shapes)


@pytest.mark.parametrize("change", [lambda content: None, lambda content: content["images"][0].update(file_name="images/a.png"),
                                    lambda content: content["images"][0].update(file_name="x/y/a.png"),
                                    lambda content: content["images"][0].update(file_name=".\\a.png"),
                                    lambda content: content["images"][0].update(coco_url="http://127.0.0.1:9/a.png", width=None, height=None)])
def test_images_are_found_where_they_lie_and_never_fetched(coco_folder, change):
    assert sorted(read(coco_folder(change))[1]) == ["images/a.png", "images/b.png"]


def test_the_facades_are_all_there_without_the_false_category(reference):
    reading, samples, problems = read(reference / "data/inst_facade_coco")
    assert len(reading.classes) == 10
    assert {split: sum(len(sample.labels) for sample in samples.values() if sample.split == split) for split in ("train", "valid", "test")} \
        == {"train": 1953, "valid": 720, "test": 646}
    assert set(codes(problems)) == {"coco_dummy_category"}


def test_annotations_without_pictures_say_which_are_missing(reference, tmp_path):
    root = reference / "data/formats/annotations/cvat_coco_json_only"
    _, samples, problems = read(root)
    assert samples == {}
    assert codes(problems) == ["image_missing"] * 6
    assert problems[1].where == "12Volt_041.jpg"
    with pytest.raises(UserError) as caught:
        convert(root, tmp_path / "out", to="yolo")
    assert caught.value.key == "dataset_without_images"
    assert not (tmp_path / "out").exists()


def test_sparse_ids_run_lengths_and_crowds_of_the_facades(reference):
    reading, samples, problems = read(reference / "data/formats/annotations/derived_coco_rle_iscrowd")
    originals = {item.image.name: item for item in formats.get("coco").read(reference / "data/inst_facade_coco").items if isinstance(item, Sample)}
    assert (reading.task, problems) == ("instance", [])
    kinds = set()
    for sample in samples.values():
        assert len(sample.labels) == len(originals[sample.image.name].labels)
        kinds |= {(type(shape), bool(crowd)) for shape, crowd in zip(sample.labels.shapes, sample.labels.crowd, strict=True)} \
            if sample.labels.crowd is not None else set()
    assert kinds == {(RLE, True), (RLE, False), (Polygons, False)}


def test_chinese_names_of_file_folder_and_classes_survive(reference):
    reading, samples, problems = read(reference / "data/formats/annotations/derived_chinese_names")
    assert "窗户" in reading.classes
    assert (len(samples), problems) == (3, [])


def test_groups_come_from_the_entry_of_the_image(coco_folder):
    def change(content):
        content["images"][0]["video_id"] = 7
        content["images"][1]["group"] = "patient 3"
    assert {name: sample.group for name, sample in read(coco_folder(change))[1].items()} == {"images/a.png": "7", "images/b.png": "patient 3"}


def test_every_vertex_is_kept_and_one_outside_is_moved_to_the_border_with_a_word(coco_folder):
    rng = np.random.default_rng(2)
    ring = (rng.uniform(0, 1, (300, 2)) * (64, 48)).round(2)
    beyond = [[-20, 5, 30, 5, 30, 20]]
    parts = [ring.ravel().tolist(), [1, 2, 3, 4, 5, 9, 1, 2]]
    root = coco_folder(lambda content: (content["annotations"][0].update(segmentation=parts), content["annotations"][1].update(segmentation=beyond)))
    _, samples, problems = read(root)
    first, second = samples["images/a.png"].labels.shapes
    assert np.array_equal(first.rings[0], ring)
    assert first.rings[1].tolist() == [[1, 2], [3, 4], [5, 9], [1, 2]]
    assert second.rings[0].tolist() == [[0, 5], [30, 5], [30, 20]]
    assert codes(problems) == ["coco_polygon_clipped"]
