"""COCO as other people's exporters write it: kinds mixed in one document, keys beyond the norm, numbers as text, everything called a crowd."""

import json

import pytest

from engine.datasets.formats import formats
from engine.types import RLE, Problem, Sample, UserError


def read(root):
    reading = formats.get("coco").read(root)
    items = list(reading.items)
    return reading, {item.name: item.labels for item in items if isinstance(item, Sample)}, [item for item in items if isinstance(item, Problem)]


def codes(problems):
    return sorted(problem.code for problem in problems)


def counts(labels):
    return {name.rpartition("/")[2]: None if label is None else len(label) for name, label in labels.items()}


def test_an_annotation_with_a_box_and_a_caption_keeps_its_box(coco_folder):
    def change(content):
        for annotation in content["annotations"]:
            annotation["caption"] = "a cat"
    reading, labels, problems = read(coco_folder(change))
    assert counts(labels) == {"a.png": 2, "b.png": 1}
    assert codes(problems) == ["captions_left_out"]
    assert reading.task == "instance"


def test_captions_among_objects_are_left_out_with_one_note(coco_folder):
    def change(content):
        content["annotations"] += [{"id": 8, "image_id": 1, "caption": "two animals"}, {"id": 9, "image_id": 2, "caption": "a dog"}]
    _, labels, problems = read(coco_folder(change))
    assert counts(labels) == {"a.png": 2, "b.png": 1}
    assert [(problem.code, problem.severity) for problem in problems] == [("captions_left_out", "note")]


def test_segments_and_objects_may_stand_in_one_document(coco_folder):
    def change(content):
        content["annotations"].append({"image_id": 2, "file_name": "b.png", "segments_info": [{"id": 5, "category_id": 1, "bbox": [4, 4, 8, 8]}]})
    _, labels, problems = read(coco_folder(change))
    assert counts(labels) == {"a.png": 2, "b.png": 2}
    assert codes(problems) == ["coco_segments_missing"]


def test_annotations_that_repeat_the_file_name_are_annotations(coco_folder):
    def change(content):
        for annotation in content["annotations"]:
            annotation["file_name"] = "a.png"
    _, labels, problems = read(coco_folder(change))
    assert (counts(labels), problems) == ({"a.png": 2, "b.png": 1}, [])


def test_images_that_carry_keys_of_annotations_are_images(coco_folder):
    def change(content):
        for image in content["images"]:
            image.update(image_id=image["id"], category_id=1)
    _, labels, problems = read(coco_folder(change))
    assert (counts(labels), problems) == ({"a.png": 2, "b.png": 1}, [])


def test_a_box_just_outside_the_border_is_named(coco_folder):
    _, labels, problems = read(coco_folder(lambda content: content["annotations"][1].update(bbox=[64.2, 4, 0.5, 5])))
    assert counts(labels) == {"a.png": 1, "b.png": 1}
    assert codes(problems) == ["coco_box_outside"]


def test_run_lengths_without_a_pixel_are_named_and_the_box_is_kept(coco_folder):
    empty = {"size": [48, 64], "counts": [48 * 64]}

    def change(content):
        content["annotations"][0].update(segmentation=empty, bbox=[])
        content["annotations"][1].update(segmentation=empty)
    _, labels, problems = read(coco_folder(change))
    assert counts(labels) == {"a.png": 1, "b.png": 1}
    assert codes(problems) == ["coco_bad_box", "coco_bad_rle", "coco_bad_rle"]


def test_long_ids_are_compared_to_their_last_character(coco_folder):
    def change(content):
        for entry in (*content["images"], *content["annotations"]):
            key = "id" if "file_name" in entry else "image_id"
            entry[key] = "x" * 300 + str(entry[key])
    _, labels, problems = read(coco_folder(change))
    assert (counts(labels), problems) == ({"a.png": 2, "b.png": 1}, [])


def test_numbers_written_as_text_are_taken_with_a_note(coco_folder):
    def change(content):
        content["annotations"][0].update(segmentation=[["8", "8", "24", "8.0", "24", "24"]])
        content["annotations"][1].update(bbox=["30", "10.5", "20", "30"])
        content["annotations"][2].update(bbox=["a", "1", "2", "3"])
    _, labels, problems = read(coco_folder(change))
    assert {name.rpartition("/")[2]: label and label.boxes.tolist() for name, label in labels.items()} == {
        "a.png": [[8, 8, 24, 24], [30, 10.5, 50, 40.5]], "b.png": None}
    assert {problem.code: problem.severity for problem in problems} == {"coco_bad_box": "error", "coco_numbers_as_text": "note",
                                                                        "images_without_labels": "note"}
    assert next(problem.values["count"] for problem in problems if problem.code == "coco_numbers_as_text") == 2


def test_boxes_that_all_lie_within_one_pixel_look_normalised_and_nothing_is_guessed(coco_folder):
    def change(content):
        for annotation in content["annotations"]:
            annotation.update(bbox=[0.25, 0.5, 0.5, 0.25], segmentation=[])
    _, labels, problems = read(coco_folder(change))
    assert [(problem.code, problem.severity) for problem in problems] == [("coco_normalized_suspected", "error")]
    assert problems[0].values["boxes"] == 3
    assert counts(labels) == {"a.png": 2, "b.png": 1}


def test_one_box_of_real_pixels_is_enough_against_normalised_ones(coco_folder):
    _, _, problems = read(coco_folder(lambda content: content["annotations"][1].update(bbox=[0.25, 0.5, 0.5, 0.25])))
    assert problems == []


def test_where_everything_is_a_crowd_nothing_is(coco_folder):
    def change(content):
        for annotation in content["annotations"]:
            annotation.update(iscrowd=1, segmentation={"size": [48, 64], "counts": [100, 40, 2932]}, bbox=[2, 4, 1, 40])
    _, labels, problems = read(coco_folder(change))
    assert all(label.crowd is None and isinstance(label.shapes[0], RLE) for label in labels.values())
    assert [(problem.code, problem.severity, problem.values["count"]) for problem in problems] == [("coco_all_crowd", "note", 3)]


def test_a_crowd_among_objects_stays_one(coco_folder):
    _, labels, problems = read(coco_folder(lambda content: content["annotations"][1].update(iscrowd=1)))
    assert next(label.crowd.tolist() for name, label in labels.items() if name.endswith("a.png")) == [False, True]
    assert problems == []


def test_supercategories_that_say_something_are_named_as_left_out(coco_folder):
    def change(content):
        content["categories"][0]["supercategory"], content["categories"][1]["supercategory"] = "feline", "canine"
    _, _, problems = read(coco_folder(change))
    assert [(problem.code, problem.severity) for problem in problems] == [("coco_supercategories_left_out", "note")]
    assert problems[0].values == {"count": 2, "names": "feline, canine"}


@pytest.mark.parametrize("supercategory", ["none", "object", "animals"])
def test_one_supercategory_for_all_says_nothing(coco_folder, supercategory):
    def change(content):
        for category in content["categories"]:
            category["supercategory"] = supercategory
    assert read(coco_folder(change))[2] == []


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
def test_a_list_that_stands_twice_is_refused(coco_folder, coco_content, key):
    text = json.dumps(coco_content())
    root = coco_folder(text=f'{text[:-1]}, "{key}": []}}')
    with pytest.raises(UserError) as caught:
        read(root)
    assert (caught.value.key, caught.value.values["name"]) == ("json_key_twice", key)


def test_a_class_called_images_is_no_second_list(coco_folder):
    _, labels, problems = read(coco_folder(lambda content: content["categories"][0].update(name="images")))
    assert (counts(labels), problems) == ({"a.png": 2, "b.png": 1}, [])
