import json
import math

import numpy as np
import pytest
from pycocotools import mask as oracle
from pycocotools.coco import COCO

from engine.datasets.formats import formats
from engine.datasets.outlines import mask_of
from engine.types import RLE, Instances, Polygons, Problem, Sample, SemanticMask, Tags, UserError


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


def test_captions_and_keypoints_do_not_stand_in_the_way_of_instances(reference):
    reading, samples, problems = read(reference / "data/formats/annotations/datumaro_coco_dataset/coco")
    assert reading.classes == ("a", "b", "c")
    assert (len(samples), sum(len(sample.labels) for sample in samples.values()), problems) == (2, 3, [])


def test_the_facades_are_all_there_without_the_false_category(reference):
    reading, samples, problems = read(reference / "data/inst_facade_coco")
    assert len(reading.classes) == 10
    assert {split: sum(len(sample.labels) for sample in samples.values() if sample.split == split) for split in ("train", "valid", "test")} \
        == {"train": 1953, "valid": 720, "test": 646}
    assert set(codes(problems)) == {"coco_dummy_category"}


def test_annotations_without_pictures_say_which_are_missing(reference):
    _, samples, problems = read(reference / "data/formats/annotations/cvat_coco_json_only")
    assert samples == {}
    assert set(codes(problems)) == {"image_missing"}


# ---- writing

def write(samples, out, classes=("cat", "dog"), images="none"):
    problems = list(formats.get("coco").write(classes, samples, out, images))
    return problems, {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(out.rglob("*.json"))}


def test_ids_are_as_promised_and_the_oracle_loads_it(tmp_path, picture):
    samples = [Sample(picture(tmp_path / f"in/{number}.png", seed=number), (64, 48), Instances([[1, 2, 11, 22], [0, 0, 64, 48]], [1, 0]), split,
        name=f"{number}.png")
               for number, split in enumerate(["train", "val", None, "test"])]
    problems, documents = write(samples, tmp_path / "out", images="copy")
    assert problems == []
    assert sorted(documents) == ["test", "train", "valid"]
    train = documents["train"]
    assert [entry["id"] for entry in train["categories"]] == [0, 1]
    assert [entry["id"] for entry in train["images"]] == [1, 2]
    assert [(entry["id"], entry["image_id"], entry["category_id"]) for entry in train["annotations"]] == [(1, 1, 1), (2, 1, 0), (3, 2, 1), (4, 2, 0)]
    assert train["annotations"][0] == {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 20], "area": 200, "iscrowd": 0,
        "segmentation": []}
    loaded = COCO(str(tmp_path / "out/train/_annotations.coco.json"))
    assert (len(loaded.imgs), len(loaded.anns), len(loaded.cats)) == (2, 4, 2)
    assert all((tmp_path / "out/train" / entry["file_name"]).is_file() for entry in train["images"])


def test_unlabeled_is_not_background(tmp_path, picture):
    samples = [Sample(picture(tmp_path / f"{number}.png"), (64, 48), labels, name=f"{number}.png") for number, labels in enumerate([None,
        Instances.empty()])]
    write(samples, tmp_path / "out", images="copy")
    assert [sample.labels is None for sample in read(tmp_path / "out")[1].values()] == [True, False]


def test_shapes_are_written_as_polygons_and_what_these_cannot_say_as_run_lengths(tmp_path, picture):
    ring = np.array([[2, 2], [30, 2], [30, 30], [2.25, 30]])
    rle = RLE(oracle.encode(np.asfortranarray(np.eye(48, 64, dtype=np.uint8)))["counts"], (48, 64))
    labels = Instances([[2, 2, 30, 30]] * 3, [0, 0, 1], shapes=(Polygons((ring,)), Polygons((ring,), (ring / 2 + 5,)), rle), crowd=[0, 0, 1])
    _, documents = write([Sample(picture(tmp_path / "x.png"), (64, 48), labels, name="x.png")], tmp_path / "out")
    first, holed, crowd = documents["train"]["annotations"]
    assert first["segmentation"] == [[2, 2, 30, 2, 30, 30, 2.25, 30]]
    assert crowd["iscrowd"] == 1
    assert oracle.area({"size": holed["segmentation"]["size"], "counts": holed["segmentation"]["counts"].encode()}) == pytest.approx(holed["area"],
        rel=0.1)
    assert crowd["area"] == 48


def test_tags_and_masks_are_written_too(tmp_path, picture):
    mask = np.zeros((48, 64), np.uint16)
    mask[10:20, 10:30] = 1
    path = picture(tmp_path / "x.png")
    samples = [Sample(path, (64, 48), Tags(np.array([1, 0.2, np.nan])), name="x.png"), Sample(path, (64, 48), SemanticMask(classes=mask),
        name="y.png")]
    _, documents = write(samples, tmp_path / "out", ("background", "cat", "dog"))
    assert documents["train"]["images"][0]["tags"] == ["background"]
    assert [(entry["category_id"], entry["bbox"], entry["area"]) for entry in documents["train"]["annotations"]] == [(1, [10, 10, 20, 10], 200)]


def test_hostile_names_stay_text_inside_the_target(tmp_path, picture):
    names = ["../../up.png", "/abs.png", "a/b.png", "b.png", "B.png", "<script>.png", "x" * 300 + ".png", "new\nline.png"]
    samples = [Sample(picture(tmp_path / f"in/{number}.png"), (64, 48), None, name=name) for number, name in enumerate(names)]
    _, documents = write(samples, tmp_path / "out", ("<b>", "=1+1"), "copy")
    written = sorted(path.name for path in (tmp_path / "out/train").iterdir())
    assert len(written) == len(names) + 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]
    assert sorted(entry["file_name"] for entry in documents["train"]["images"]) == [name for name in written if name.endswith("png")]
    assert len({name.casefold() for name in written}) == len(written)
