"""Open Images: tables of boxes, masks and labels, told by their columns."""

import numpy as np
import pytest
from PIL import Image

from engine.datasets.collection import collect
from engine.datasets.convert import convert
from engine.datasets.formats.open_images import detects, read
from engine.datasets.outlines import mask_of

NAMES = "LabelName,DisplayName\n/m/0,Cat\n/m/1,Dog\n"
BOXES = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"
MASKS = "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks\n"
TAGS = "ImageID,Source,LabelName,Confidence\n"


@pytest.fixture
def folder(tmp_path, picture):
    def make(images=("train/a.png", "validation/b.png"), names=NAMES, **tables):
        for number, image in enumerate(images):
            picture(tmp_path / "images" / image, seed=number)
        (tmp_path / "annotations").mkdir()
        for name, text in {"oidv6-class-descriptions": names, **{name.replace("_", "-"): text for name, text in tables.items()}}.items():
            (tmp_path / "annotations" / f"{name}.csv").write_text(text, encoding="utf-8")
        return tmp_path
    return make


def test_boxes_are_shares_of_the_image_and_groups_are_crowds(folder):
    rows = "a,xclick,/m/1,1,0.25,0.75,0.5,1,0,0,0,0,0\na,xclick,/m/0,1,0,0.5,0,0.5,0,0,1,0,0\nelsewhere,x,/m/0,1,0,1,0,1,0,0,0,0,0\n"
    root = folder(train_annotations_bbox=BOXES + rows)
    found = collect(read(root))
    assert (found.classes, found.task) == (("Cat", "Dog"), "detect")
    labels = found.samples[0].labels
    assert labels.boxes.tolist() == [[16, 24, 48, 48], [0, 0, 32, 24]]
    assert (labels.classes.tolist(), labels.crowd.tolist()) == ([1, 0], [False, True])
    assert [(sample.split, sample.labels is None) for sample in found.samples] == [("train", False), ("valid", True)]
    assert {problem.code: problem.values["count"] for problem in found.problems} == {"open_images_rows_without_image": 1, "images_without_labels": 1}


def test_a_mask_takes_the_place_of_its_box_and_the_size_of_the_image(folder):
    root = folder(train_annotations_bbox=BOXES + "a,x,/m/0,1,0.5,1,0,0.5,0,0,0,0,0\na,x,/m/1,1,0.5,1,0,0.5,0,0,0,0,0\n",
                  train_annotations_object_segmentation=MASKS + "m.png,a,/m/0,1,0.5,1,0,0.5,0.9,\ngone.png,a,/m/0,2,0,1,0,1,0.9,\n")
    mask = np.zeros((24, 32), np.uint8)
    mask[:12, 16:] = 255
    (root / "masks").mkdir()
    Image.fromarray(mask).convert("1").save(root / "masks" / "m.png")
    found = collect(read(root))
    labels = found.samples[0].labels
    assert (found.task, labels.classes.tolist(), labels.boxes.tolist()) == ("instance", [1, 0], [[32, 0, 64, 24]] * 2)
    assert mask_of(labels.shapes[1], (64, 48)).sum() == 32 * 24
    assert [problem.code for problem in found.problems] == ["mask_missing", "images_without_labels"]
    assert len(found.samples) == 2


def test_verified_labels_are_tags_where_there_is_no_box(folder):
    rows = "a,verification,/m/0,1\na,verification,/m/1,0\nb,machine,/m/1,0.7\n"
    root = folder(images=("a.png", "b.png"), train_annotations_human_imagelabels=TAGS + rows)
    found = collect(read(root))
    assert (found.classes, found.task) == (("Cat", "Dog"), "classify")
    assert found.samples[0].labels.values.tolist() == [1, 0]
    assert found.samples[1].labels is None
    assert [problem.code for problem in found.problems] == ["open_images_machine_labels", "images_without_labels"]


def test_what_nobody_verified_is_not_mentioned(folder):
    found = collect(read(folder(images=("a.png",), train_annotations_human_imagelabels=TAGS + "a,verification,/m/1,1\n")))
    assert np.array_equal(found.samples[0].labels.values, [np.nan, 1], equal_nan=True)


def test_of_the_full_list_of_classes_only_the_used_ones_are_kept(folder):
    names = "LabelName,DisplayName\n" + "".join(f"/m/x{number},Thing {number}\n" for number in range(2000)) + "/m/1,Dog\n"
    assert read(folder(names=names, a=BOXES + "a,x,/m/1,1,0,1,0,1,0,0,0,0,0\na,x,/m/9,1,0,0.5,0,1,0,0,0,0,0\n")).classes == ("Dog", "/m/9")


def test_strange_cells_are_named_and_cost_only_their_row(folder):
    root = folder(a=BOXES + "a,x,/m/0,1,nan,1,0,1,0,0,0,0,0\na,x\na,x,/m/0,1,0,1,0,1,0,0,0,0,0\na,x,/m/0,1,2,3,0,1,0,0,0,0,0\n\"a\n")
    found = collect(read(root))
    assert len(found.samples[0].labels) == 1
    assert [problem.code for problem in found.problems if problem.severity == "error"] == ["object_not_finite"] * 3 + ["object_outside"]


def test_tables_are_known_by_their_columns(tmp_path, picture):
    picture(tmp_path / "a.png")
    for text in ("image,labels\na.png,cat\n", "Image Index,Finding Labels\na.png,x\n", "ImageID,cat,dog\na,1,0\n", "", "\0\0"):
        (tmp_path / "labels.csv").write_text(text)
        assert detects(tmp_path) is None
    (tmp_path / "labels.csv").write_text(TAGS)
    assert detects(tmp_path) == "labels.csv"


def test_the_samples_are_read_whole(reference, tmp_path):
    root = reference / "data" / "formats" / "annotations" / "datumaro_open_images_dataset"
    old, new = collect(read(root / "v5")), collect(read(root / "v6"))
    assert (old.classes, [sample.split for sample in old.samples], [sample.labels for sample in old.samples]) == (
        ("Generic label #0", "Generic label #1"), ["test", "train"], [None, None])
    objects = {sample.name: sample.labels for sample in new.samples}
    assert len(new.classes) == 4
    assert objects["images/test/c.jpg"].boxes.tolist() == pytest.approx(np.array([[3.5, 0, 4, 5]]))
    assert objects["images/train/b.jpg"].shapes[0].size == (2, 8)
    assert [objects[name] for name in ("images/train/a.jpg", "images/validation/d.png")] == [None, None]
    assert convert(root / "v6", tmp_path / "out", to="coco", source_format="open_images").boxes == 2


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gb18030"])
def test_tables_may_be_written_in_any_encoding(folder, encoding):
    root = folder(names=NAMES.replace("Cat", "猫科"), train_annotations_bbox=f"{BOXES}a,xclick,/m/0,1,0,0.5,0,0.5,0,0,0,0,0\n")
    for path in (root / "annotations").iterdir():
        path.write_bytes(path.read_text(encoding="utf-8").encode(encoding))
    assert detects(root) is not None
    found = collect(read(root))
    assert (found.classes, len(found.samples[0].labels)) == (("猫科", "Dog"), 1)


def test_a_quotation_mark_that_swallows_rows_ends_a_table_with_a_problem(folder):
    rows = 'a,xclick,/m/0,1,0,0.5,0,0.5,0,0,0,0,0\na,"xclick,/m/1,1,0,0.5,0,0.5,0,0,0,0,0\nb,x,/m/1,1,0,0.5,0,0.5,0,0,0,0,0\n'
    found = collect(read(folder(train_annotations_bbox=BOXES + rows)))
    assert [(problem.code, problem.where) for problem in found.problems][:1] == [("csv_damaged", "annotations/train-annotations-bbox.csv:3")]
