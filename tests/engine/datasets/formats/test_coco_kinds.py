"""Which documents of a folder are read, and the kinds that are no plain lists of objects."""

import json
import shutil

import pytest

from engine.datasets.convert import convert
from engine.datasets.formats import formats
from engine.datasets.outlines import mask_of
from engine.types import Problem, Sample, Tags


def read(root):
    reading = formats.get("coco").read(root)
    items = list(reading.items)
    return reading, {item.name: item for item in items if isinstance(item, Sample)}, [item for item in items if isinstance(item, Problem)]


def codes(problems):
    return [problem.code for problem in problems]


def split_document(content, picture, path, images):
    path.parent.mkdir(parents=True, exist_ok=True)
    for image in ("a.png", "b.png"):
        picture(images / image)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("layout", ["{split}/_annotations.coco.json|{split}", "annotations/instances_{split}2017.json|{split}2017",
                                    "annotations/instances_{split}.json|images/{split}", "{split}.json|{split}"])
def test_every_split_layout_is_read_and_categories_are_united_by_name(tmp_path, picture, coco_content, layout):
    document, images = layout.split("|")
    for split in ("train", "val"):
        content = coco_content()
        if split == "val":
            content["categories"] = [{"id": 1, "name": "dog"}, {"id": 7, "name": "bird"}]
        split_document(content, picture, tmp_path / document.format(split=split), tmp_path / images.format(split=split))
    reading, samples, problems = read(tmp_path)
    assert reading.classes == ("cat", "dog", "bird")
    assert problems == []
    assert {sample.split: sample.labels.classes.tolist() for name, sample in samples.items() if name.endswith("a.png")} == {"train": [0, 1],
        "valid": [1, 2]}
    assert all(images.format(split="train") in name for name, sample in samples.items() if sample.split == "train")


def test_a_single_document_stands_for_itself_alone(tmp_path, picture, coco_content):
    for split in ("train", "val"):
        split_document(coco_content(), picture, tmp_path / f"annotations/instances_{split}.json", tmp_path / f"images/{split}")
    _, samples, _ = read(tmp_path / "annotations/instances_val.json")
    assert {sample.split for sample in samples.values()} == {"valid"}
    assert len(samples) == 2


LABELME = '{"version": "5.4.1", "flags": {}, "shapes": [{"label": "cat", "points": [[1, 2], [3, 4]]}], "imagePath": "a.png", "imageData": null}'
OTHERS = {
    "a.json": LABELME, "annotations.json": LABELME, "annotation.json": '[{"version": 0, "tags": [], "shapes": [], "tracks": []}]',
    "train-export.json": '{"name": "x", "tags": [], "assets": {"1": {"asset": {"name": "a.png"}, "regions": []}}}',
    "data.json": '[{"id": 1, "annotations": [{"id": 1, "result": [{"type": "rectanglelabels", "image_id": 3}]}], "data": {"image": "a.png"}}]',
    "predictions.json": '{"model": "x", "task": "detect", "classes": [], "images": [{"file": "a.png", "width": 1, "instances": []}]}',
    "via.json": '{"_via_settings": {}, "_via_img_metadata": {"a.png1": {"filename": "a.png", "regions": []}}}',
    "createml.json": '[{"image": "a.png", "annotations": [{"label": "cat", "coordinates": {"x": 1}}]}]',
    "dataset.json": '{"images": ["a.png"], "labels": [1]}', "notes.json": '{"categories": ["x"], "text": "supercategory"}'}


@pytest.mark.parametrize("name", OTHERS)
def test_json_of_other_tools_is_not_taken_for_coco(tmp_path, picture, name):
    picture(tmp_path / "a.png")
    (tmp_path / name).write_text(OTHERS[name])
    assert formats.get("coco").detects(tmp_path) is None
    if name in ("a.json", "annotations.json", "train-export.json", "via.json", "data.json"):
        assert formats.get("coco").detects(tmp_path / name) is None


def test_json_of_other_tools_does_not_stand_in_the_way(coco_folder):
    root = coco_folder()
    for name, text in OTHERS.items():
        if name != "annotations.json":
            (root / name).write_text(text)
    (root / "results.json").write_text('[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]')
    assert formats.get("coco").detects(root) == "annotations.json"


def test_hostile_heads_are_looked_at_quickly(tmp_path, picture):
    picture(tmp_path / "a.png")
    for number, text in enumerate(('{"' + '\\"' * 40_000, "[" * 70_000, '{"a":' * 9000, '"' * 70_000, "{" + '"k":1,' * 9000)):
        (tmp_path / f"annotations{number}.json").write_text(text)
    assert formats.get("coco").detects(tmp_path) is None


@pytest.mark.parametrize(("folder", "task", "classes", "objects", "codes"), [
    ("coco", "instance", ("a", "b", "c"), [1, 2], ["coco_documents_left_out"]), ("coco_instances", "instance", ("a", "b", "c"), [1, 2], []),
    ("coco_person_keypoints", "instance", ("a", "b"), [1, 2], ["keypoints_left_out"]),
    ("coco_stuff", "instance", ("a", "b"), [1, 1], ["coco_all_crowd"]),
    ("coco_panoptic", "instance", ("a", "b"), [1, 2], ["coco_segments_size"]), ("coco_captions", "detect", (), [None, None], ["captions_left_out"]),
    ("coco_image_info", "detect", (), [None, None], []), ("coco_labels", "classify", ("a", "b"), [[0, 1], [1, 1]], ["coco_tags_only"])])
def test_every_kind_of_coco_file_is_read(reference, folder, task, classes, objects, codes):
    reading, samples, problems = read(reference / "data/formats/annotations/datumaro_coco_dataset" / folder)
    assert (reading.task, reading.classes) == (task, classes)
    assert sorted(samples) == ["images/train/a.jpg", "images/val/b.jpg"]
    assert [sample.split for _, sample in sorted(samples.items())] == ["train", "valid"]
    assert [None if labels is None else labels.values.tolist() if isinstance(labels, Tags) else len(labels)
            for labels in (sample.labels for _, sample in sorted(samples.items()))] == objects
    assert [problem.code for problem in problems if problem.code != "images_without_labels"] == codes
    assert {problem.severity for problem in problems if problem.code != "coco_segments_size"} <= {"note"}  # a.png is 5x5 for an image of 10x5


def test_panoptic_segments_become_masks_of_things_and_stuff(reference):
    _, samples, _ = read(reference / "data/formats/annotations/datumaro_coco_dataset/coco_panoptic")
    labels = samples["images/val/b.jpg"].labels
    assert labels.crowd.tolist() == [False, True]
    masks = [mask_of(shape, (5, 10)) for shape in labels.shapes]
    assert [int(mask.sum()) for mask in masks] == [20, 20]
    assert not (masks[0] & masks[1]).any()


@pytest.mark.parametrize(("break_it", "code"), [("remove", "coco_segments_missing"), ("resize", "coco_segments_size"), ("damage", "not_an_image"),
                                                ("repaint", "coco_segment_missing")])
def test_panoptic_segments_without_their_picture_keep_the_box(reference, tmp_path, picture, break_it, code):
    root = tmp_path / "set"
    shutil.copytree(reference / "data/formats/annotations/datumaro_coco_dataset/coco_panoptic", root)
    path = root / "annotations/panoptic_val/b.png"
    if break_it == "remove":
        path.unlink()
    elif break_it == "damage":
        path.write_bytes(b"no picture")
    else:
        picture(path, *((10, 10) if break_it == "resize" else (5, 10)))
    _, samples, problems = read(root)
    labels = samples["images/val/b.jpg"].labels
    assert code in codes(problems)
    assert labels.shapes is None
    assert labels.boxes.tolist() == [[0, 0, 1, 9], [2, 0, 3, 9]]


def test_each_split_is_read_from_the_file_that_says_most(tmp_path, picture, coco_content):
    for split in ("train", "val"):
        split_document(coco_content(), picture, tmp_path / f"annotations/{'instances' if split == 'train' else 'person_keypoints'}_{split}.json",
                       tmp_path / f"images/{split}")
    split_document({**coco_content(), "annotations": []}, picture, tmp_path / "annotations/image_info_test.json", tmp_path / "images/test")
    captions = [{"id": 1, "image_id": 1, "caption": "x"}]
    (tmp_path / "annotations/captions_train.json").write_text(json.dumps({**coco_content(), "annotations": captions}))
    _, samples, problems = read(tmp_path)
    assert {(sample.split, sample.labels is None) for sample in samples.values()} == {("train", False), ("valid", False), ("test", True)}
    assert len(samples) == 6
    assert [(problem.code, problem.values.get("names")) for problem in problems] \
        == [("coco_documents_left_out", "annotations/captions_train.json"), ("images_without_labels", None)]


def test_an_image_that_two_documents_list_is_taken_once_and_said_so(tmp_path, picture, coco_content):
    for split in ("train", "val"):
        split_document(coco_content(), picture, tmp_path / f"{split}.json", tmp_path / "images")
    _, samples, problems = read(tmp_path)
    assert {sample.split for sample in samples.values()} == {"train"}
    assert [(problem.code, problem.where, problem.values["count"]) for problem in problems] == [("coco_image_in_two_documents", "val.json", 2)]


def test_keypoints_of_any_document_are_noted_once(coco_folder):
    def change(content):
        for entry in content["annotations"]:
            entry.update(keypoints=[1, 2, 2], num_keypoints=1)
    assert codes(read(coco_folder(change))[2]) == ["keypoints_left_out"]


def test_absolute_paths_are_looked_for_inside_the_set_only(coco_folder):
    def change(content):
        content["images"][0]["file_name"] = "/content/drive/set/images/a.png"
        content["images"][1]["file_name"] = "C:\\Users\\me\\b.png"
    _, samples, problems = read(coco_folder(change))
    assert sorted(samples) == ["images/a.png", "images/b.png"]
    assert [(problem.code, problem.severity, problem.values["count"]) for problem in problems] == [("coco_paths_outside", "warning", 2)]


def test_of_several_files_of_one_name_the_telling_one_is_taken_or_none(coco_folder, picture):
    root = coco_folder()
    picture(root / "thumbnails/a.png", 8, 6)
    assert sorted(read(root)[1]) == ["images/a.png", "images/b.png"]
    (root / "images").rename(root / "pictures")
    _, samples, problems = read(root)
    assert sorted(samples) == ["pictures/b.png"]
    assert [(problem.code, problem.where) for problem in problems] == [("image_ambiguous", "a.png")]


def test_missing_images_are_named_up_to_a_limit_and_then_counted(coco_folder):
    def change(content):
        content["images"] += [{"id": number, "file_name": f"gone_{number}.png"} for number in range(100, 400)]
    root = coco_folder(change)
    _, samples, problems = read(root)
    assert len(samples) == 2
    assert codes(problems) == ["image_missing"] * 200 + ["images_missing_more"]
    assert problems[-1].values["count"] == 100
    summary = convert(root, root.parent / "out", to="coco", images="none")
    assert (summary.images, summary.skipped) == (2, 300)
