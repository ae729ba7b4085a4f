"""What is written as COCO, and that it comes back."""

import json

import numpy as np
import pytest
from pycocotools import mask as oracle
from pycocotools.coco import COCO

from engine.datasets.formats import formats
from engine.datasets.outlines import mask_of, rle_of_mask
from engine.types import IGNORE, RLE, UNCERTAIN, Instances, Polygons, Problem, Sample, SemanticMask, Tags


def read(root):
    reading = formats.get("coco").read(root)
    items = list(reading.items)
    return reading, {item.name: item for item in items if isinstance(item, Sample)}, [item for item in items if isinstance(item, Problem)]


def codes(problems):
    return [problem.code for problem in problems]


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


def again(samples, out, classes, picture):
    """What comes back of samples without images of their own."""
    made = [Sample(picture(out / f"in/{number}.png", seed=number), (64, 48), labels, split, group, f"{number}.png")
            for number, (labels, split, group) in enumerate(samples)]
    (out / "out").mkdir(parents=True)
    problems = list(formats.get("coco").write(classes, made, out / "out", "copy"))
    reading, found, more = read(out / "out")
    assert reading.classes == classes
    return reading.task, [found[name] for name in sorted(found, key=lambda name: name.rpartition("/")[2])], problems + more


def test_tags_come_back_with_what_is_uncertain_and_unknown(tmp_path, picture):
    values = [[1, 0, 0], [0, UNCERTAIN, np.nan], [0, 0, 0], [np.nan] * 3]
    samples = [(Tags(np.array(row)), "train", "patient 1") for row in values] + [(None, "valid", None)]
    task, found, problems = again(samples, tmp_path, ("no", "手术 剪", "=1+1"), picture)
    assert (task, codes(problems)) == ("classify", ["images_without_labels"])
    for sample, row in zip(found, values, strict=False):
        assert np.array_equal(sample.labels.values, np.array(row, np.float32), equal_nan=True)
        assert sample.group == "patient 1"
    assert (found[4].labels, found[4].group) == (None, None)
    document = json.loads((tmp_path / "out/train/_annotations.coco.json").read_text())
    assert document["images"][1]["tags_uncertain"] == ["手术 剪"]
    assert [key for key in document["images"][0] if key.startswith("tags")] == ["tags"]


@pytest.mark.parametrize("classes", [("background", "cat", "dog"), ("cat", "dog", "sky"), ("cat", "Background", "dog")])
def test_a_mask_comes_back_to_the_last_pixel(tmp_path, picture, classes):
    rng = np.random.default_rng(4)
    mask = np.kron(rng.integers(0, 3, (6, 8)), np.ones((8, 8))).astype(np.uint16)
    ignored = mask.copy()
    ignored[:3] = IGNORE
    one_class = np.full((48, 64), 1, np.uint16)
    nothing = np.full((48, 64), 0, np.uint16)
    masks = (mask, ignored, one_class, nothing)
    samples = [(SemanticMask(each), "train", None) for each in masks] + [(None, "train", None)]
    task, found, problems = again(samples, tmp_path, classes, picture)
    assert (task, codes(problems)) == ("semantic", ["images_without_labels"])
    assert all(np.array_equal(sample.labels.classes, each) for sample, each in zip(found, masks, strict=False))
    assert found[4].labels is None


def test_layers_that_overlap_come_back(tmp_path, picture):
    layers = np.random.default_rng(5).integers(0, 2, (3, 48, 64)).astype(bool)
    layers[1] = False
    task, found, problems = again([(SemanticMask(layers=layers), "train", None)], tmp_path, ("background", "cat", "dog"), picture)
    assert (task, problems) == ("semantic", [])
    assert np.array_equal(found[0].labels.layers, layers)


def test_suggestions_stay_suggestions(tmp_path, picture):
    suggested = Instances([[1, 2, 11, 22], [0, 0, 64, 48]], [1, 0], scores=[0.25, 0.875])
    _, found, _ = again([(suggested, "train", None), (Instances([[1, 2, 11, 22]], [0]), "train", None)], tmp_path, ("a", "b"), picture)
    assert found[0].labels.scores.tolist() == [0.25, 0.875]
    assert found[1].labels.scores is None


def test_a_score_in_somebody_elses_file_makes_no_suggestion(coco_folder):
    root = coco_folder(lambda content: [entry.update(score=0.5) for entry in content["annotations"]])
    assert read(root)[1]["images/a.png"].labels.scores is None


def test_keys_of_other_tools_with_our_names_mean_nothing(coco_folder):
    def change(content):
        content["images"][0].update(mask="masks/a.png", tags=["sunny"], ignore=3, suggested="yes", group=None)
    reading, samples, problems = read(coco_folder(change))
    assert (reading.classes, reading.task) == (("cat", "dog"), "instance")
    assert isinstance(samples["images/a.png"].labels, Instances)
    assert [(problem.code, problem.severity) for problem in problems] == [("coco_image_tags_left_out", "note")]


@pytest.mark.parametrize("change", [{"ignore": {"size": [48, 64], "counts": [1, 2]}}, {"ignore": {"size": "x"}}, {"mask": "layers"}, {"ignore": []}])
def test_a_mask_from_a_strangers_file_is_read_as_far_as_it_makes_sense(coco_folder, change):
    _, samples, problems = read(coco_folder(lambda content: content["images"][0].update({"mask": True, **change})))
    labels = samples["images/a.png"].labels
    assert isinstance(labels, SemanticMask)
    if labels.layers is None:
        assert np.unique(labels.classes).tolist() == [0, 1, IGNORE]  # no background class: what nobody outlined may not be judged
    assert {problem.code for problem in problems} <= {"coco_bad_rle"}


def test_tags_that_no_category_names_become_classes(coco_folder):
    def change(content):
        content["annotations"], content["categories"] = [], []
        content["images"][0]["tags"] = ["wet ", "dry", "\n"]
        content["images"][1]["tags"] = [{}]
    reading, samples, _ = read(coco_folder(change))
    assert (reading.classes, reading.task) == (("wet", "dry"), "classify")
    assert [samples[f"images/{name}.png"].labels.values.tolist() for name in "ab"] == [[1, 1], [0, 0]]


def test_objects_come_back_with_parts_masks_crowds_and_boxes(tmp_path, picture):
    rng = np.random.default_rng(6)
    rings = tuple(rng.uniform(2, 40, (count, 2)) for count in (3, 7, 200))
    run = rle_of_mask(rng.integers(0, 2, (48, 64)).astype(bool))
    boxes = rng.uniform(1, 20, (4, 4)).astype(np.float32) + (0, 0, 20, 20)
    labels = Instances(boxes, [0, 1, 1, 0], shapes=(Polygons(rings), run, None, Polygons(rings[:1])), crowd=[False, True, False, False])
    _, found, problems = again([(labels, "test", "x")], tmp_path, ("a", "b"), picture)
    copy = found[0].labels
    assert problems == []
    assert (found[0].split, found[0].group) == ("test", "x")
    assert np.abs(copy.boxes - boxes).max() < 1e-4
    assert copy.crowd.tolist() == labels.crowd.tolist()
    assert copy.shapes[1] == run
    assert copy.shapes[2] is None
    assert all(np.abs(one - other).max() < 1e-6 for one, other in zip(copy.shapes[0].rings, rings, strict=True))


def test_holes_become_masks_and_it_is_said(tmp_path, picture):
    ring = np.array([[2, 2], [30, 2], [30, 30], [2, 30]], float)
    labels = Instances([[2, 2, 30, 30]], [0], shapes=(Polygons((ring,), (ring / 2 + 5,)),))
    _, found, problems = again([(labels, "train", None)], tmp_path, ("a",), picture)
    assert [(problem.code, problem.severity) for problem in problems] == [("holes_as_mask", "note")]
    assert np.array_equal(mask_of(found[0].labels.shapes[0], (64, 48)), mask_of(labels.shapes[0], (64, 48)))
