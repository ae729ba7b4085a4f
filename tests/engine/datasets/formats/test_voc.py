"""Pascal VOC: read in every common layout, written without loss."""

import random
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from engine.datasets.collection import collect
from engine.datasets.convert import convert
from engine.datasets.formats import voc
from engine.datasets.formats.voc_lists import split_of_list


def box_text(name, box, extra=""):
    corners = "".join(f"<{tag}>{value}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name>{extra}<bndbox>{corners}</bndbox></object>"


def annotation(*objects, name="a.png", size=(64, 48)):
    claimed = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>" if size else ""
    return f"<annotation><folder>x</folder><filename>{name}</filename>{claimed}{''.join(objects)}</annotation>"


CAT = box_text("cat", (4, 5, 20, 30))
DOG = box_text("dog", (10, 10, 40, 40))


@pytest.fixture
def folder(tmp_path, picture):
    """Makes a data set of {path: text of a file, or None for an image}."""
    def make(files, name="set"):
        root = tmp_path / name
        for number, (path, text) in enumerate(files.items()):
            if text is None:
                picture(root / path, seed=number)
            else:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_bytes(text if isinstance(text, bytes) else text.encode())
        return root
    return make


def read(root):
    return collect(voc.read(root), "voc")


def codes(found, severity=None):
    return [problem.code for problem in found.problems if severity in (None, problem.severity)]


def one(folder, *objects, **named):
    """The only sample of a set of one image, and the problems."""
    found = read(folder({"a.png": None, "a.xml": annotation(*objects, **named)}))
    return found.samples[0], found


# ---- real data, against another parser

def test_every_box_of_real_data_comes_in_as_the_raw_file_gives_it(reference):
    root = reference / "data" / "det_bccd_voc"
    found = read(root)
    count = Counter()
    for sample in found.samples:
        raw = ElementTree.parse(root / "Annotations" / f"{Path(sample.name).stem}.xml").getroot()
        wanted = [(item.find("name").text, *(float(item.find(f"bndbox/{tag}").text) for tag in ("xmin", "ymin", "xmax", "ymax")))
                  for item in raw.iter("object")]
        wanted = [row for row in wanted if row[3] > row[1] and row[4] > row[2]]
        assert [found.classes[index] for index in sample.labels.classes] == [row[0] for row in wanted]
        assert np.array_equal(sample.labels.boxes, np.array([row[1:] for row in wanted], np.float32).reshape(-1, 4))
        count.update(row[0] for row in wanted)
    listed = {split: set((root / "ImageSets/Main" / f"{name}.txt").read_text().split()) for split, name in voc.LIST_NAMES.items()}
    assert {split: {Path(sample.name).stem for sample in found.split(split)} for split in listed} == listed
    assert (len(found.samples), count.total(), count["RBC"] + 2, count["WBC"], count["Platelets"]) == (364, 4886, 4155, 372, 361)
    lost = {problem.where: problem.values["box"] for problem in found.problems if problem.code == "object_without_area"}
    assert lost == {"Annotations/BloodImage_00343.xml": "181,329,181,329", "Annotations/BloodImage_00338.xml": "504,337,504,337"}


@pytest.mark.parametrize("way", [("voc",), ("cvat", "voc")])
def test_real_data_survives_the_way_through_other_formats(reference, tmp_path, same_labels, way):
    root = reference / "data" / "det_bccd_voc"
    original, source = read(root), root
    for step in way:
        convert(source, tmp_path / step, to=step, images="link")
        source = tmp_path / step
    again = read(source)
    assert again.classes == original.classes
    assert codes(again) == []
    copies = {Path(sample.name).stem: sample for sample in again.samples}
    for sample in original.samples:
        copied = copies[Path(sample.name).stem]
        assert (copied.split, copied.size) == (sample.split, sample.size)
        same_labels(copied.labels, sample.labels)


def test_annotations_without_their_images_are_said_to_be_so(reference):
    found = read(reference / "data/formats/annotations/derived_chinese_names/voc")
    assert found.samples == []
    assert [(problem.code, problem.where) for problem in found.problems] == [("image_missing", f"建筑 外墙（第{number}张）.xml") for number in "123"]
    assert "窗户" in found.classes


def test_the_datumaro_sets_come_in_as_they_are(reference):
    root = reference / "data/formats/annotations/datumaro_voc_dataset"
    first = read(root / "voc_dataset1")
    assert {sample.name: (sample.split, None if sample.labels is None else sample.labels.boxes.tolist()) for sample in first.samples} == {
        "JPEGImages/2007_000001.jpg": ("train", [[1, 2, 3, 4], [4, 5, 6, 7]]), "JPEGImages/2007_000002.jpg": ("test", None)}
    assert {"voc_masks_beside", "voc_details_left_out"} <= set(codes(first, "note"))
    second = read(root / "voc_dataset2")
    assert second.classes[:3] == ("background", "aeroplane", "bicycle")  # an object is called background
    assert len(second.classes) == 22
    assert [problem.where for problem in second.problems if problem.code == "image_missing"] == [f"Annotations/{stem}.xml" for stem in "@abcd"]
    assert "listed_image_missing" not in codes(second)  # one word about a missing image is enough
    assert [(sample.split, len(sample.labels)) for sample in read(root / "voc_dataset3").samples] == [("train", 1)]


# ---- layouts

LAYOUTS = {
    "as VOC lays it out": {"JPEGImages/a.png": None, "Annotations/a.xml": annotation(CAT), "ImageSets/Main/val.txt": "a\n"},
    "label files beside the images, in folders of splits": {"valid/a.png": None, "valid/a.xml": annotation(CAT)},
    "label files in a folder of their own": {"valid/a.png": None, "valid/xml/a.xml": annotation(CAT)},
    "trees that run alongside": {"images/val/a.png": None, "annotations/val/a.xml": annotation(CAT)},
    "splits with both folders": {"val/images/a.png": None, "val/annotations/a.xml": annotation(CAT)},
    "images far away": {"pictures/2020/val/a.png": None, "labels/a.xml": annotation(CAT)},
    "several years": {"VOC2007/JPEGImages/a.png": None, "VOC2007/Annotations/a.xml": annotation(CAT), "VOC2007/ImageSets/Main/val.txt": "a\n",
                      "VOC2012/ImageSets/Main/train.txt": "a\n"},
    "lists directly in ImageSets": {"JPEGImages/a.png": None, "Annotations/a.xml": annotation(CAT), "ImageSets/val.txt": "a\n"},
    "lists of pairs": {"JPEGImages/a.png": None, "Annotations/a.xml": annotation(CAT), "valid.txt": "JPEGImages/a.png Annotations/a.xml\n"},
    "lists of Segmentation": {"JPEGImages/a.png": None, "Annotations/a.xml": annotation(CAT), "ImageSets/Segmentation/val.txt": "a\n",
                              "ImageSets/Main/trainval.txt": "a\n"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_understood(folder, layout):
    root = folder(LAYOUTS[layout])
    found = read(root)
    assert voc.detects(root)
    assert [(sample.split, sample.labels.boxes.tolist()) for sample in found.samples] == [("valid", [[4, 5, 20, 30]])]
    assert [code for code in codes(found) if code != "listed_image_missing"] == []


def test_equal_names_in_several_splits_keep_their_own_labels(folder):
    found = read(folder({"train/a.png": None, "train/a.xml": annotation(CAT), "test/a.png": None, "test/a.xml": annotation(DOG)}))
    assert {sample.split: found.classes[sample.labels.classes[0]] for sample in found.samples} == {"train": "cat", "test": "dog"}


def test_lists_of_single_classes_are_no_splits(folder):
    files = {f"JPEGImages/{stem}.png": None for stem in "abcd"} | {f"Annotations/{stem}.xml": annotation(CAT) for stem in "abcd"}
    lists = {"train": "a\n", "val": "b\n", "trainval": "a\nb\nc\n", "test": "d\n",
             "cat_train": "d 1\n", "test_val": "a 1\n", "train_trainval": "d -1\n"}
    found = read(folder(files | {f"ImageSets/Main/{name}.txt": text for name, text in lists.items()}))
    assert {Path(sample.name).stem: sample.split for sample in found.samples} == {"a": "train", "b": "valid", "c": "train", "d": "test"}
    assert [split_of_list(name) for name in ("train.txt", "VAL.TXT", "trainval.txt", "aeroplane_train.txt", "val_list.txt", "notes.txt")] == [
        "train", "valid", "trainval", None, "valid", None]


def test_names_in_lists_may_have_blanks_suffixes_folders_flags_and_comments(folder):
    stems = ["a b", "c", "d 1", "图 片", "e", "#f"]
    files = {f"JPEGImages/{stem}.png": None for stem in stems} | {f"Annotations/{stem}.xml": annotation(CAT) for stem in stems}
    lines = '# a comment\n\na b\nc.png\n"d 1"\n图 片\nJPEGImages/e 1\n#f\n'
    found = read(folder(files | {"ImageSets/Main/test.txt": lines}))
    assert [sample.split for sample in found.samples] == ["test"] * 6
    assert codes(found) == []


def test_lists_that_do_not_fit_the_images_are_named(folder):
    files = {f"JPEGImages/{stem}.png": None for stem in "abc"} | {f"Annotations/{stem}.xml": annotation(CAT, name=f"{stem}.png") for stem in "abc"}
    found = read(folder(files | {"ImageSets/Main/train.txt": "a\ngone\n", "ImageSets/Main/val.txt": "a\nb\n"}))
    assert {problem.code: problem.where for problem in found.problems} == {
        "listed_image_missing": "ImageSets/Main/train.txt:2", "voc_in_two_splits": "ImageSets/Main/val.txt", "voc_unlisted": "."}
    assert {Path(sample.name).stem: sample.split for sample in found.samples} == {"a": "train", "b": "valid", "c": None}


# ---- label files and images

def test_images_without_a_label_file_are_unlabeled_and_files_without_objects_say_there_is_nothing(folder):
    found = read(folder({"a.png": None, "b.png": None, "c.png": None, "d.png": None, "a.xml": annotation(CAT), "b.xml": annotation()}))
    assert [None if sample.labels is None else len(sample.labels) for sample in found.samples] == [1, 0, None, None]
    assert [problem.values for problem in found.problems if problem.code == "images_without_labels"] == [{"count": 2}]


def test_the_stem_decides_where_the_filename_lies(folder):
    found = read(folder({"a.png": None, "b.png": None, "a.xml": annotation(CAT, name="b.png"), "b.xml": annotation(DOG, name="b.jpg")}))
    assert {sample.name: found.classes[sample.labels.classes[0]] for sample in found.samples} == {"a.png": "cat", "b.png": "dog"}
    assert [(problem.code, problem.where) for problem in found.problems] == [("voc_other_image", "a.xml")]


def test_the_filename_decides_where_no_image_has_the_stem(folder):
    found = read(folder({"images/b.png": None, "a.xml": annotation(CAT, name="C:\\Users\\me\\images\\b.png")}))
    assert len(found.samples[0].labels) == 1
    assert codes(found) == []


def test_two_label_files_for_one_image_are_a_problem(folder):
    found = read(folder({"images/a.png": None, "one/a.xml": annotation(CAT), "two/a.xml": annotation(DOG)}))
    assert [(problem.code, problem.where) for problem in found.problems] == [("image_labeled_twice", "two/a.xml")]


def test_no_text_in_a_label_file_leads_outside(folder, picture):
    picture(folder({}).parent / "secret.png")
    root = folder({"x/c.png": None, "a.xml": annotation(CAT, name="../secret.png"), "b.xml": annotation(CAT, name="/etc/passwd")})
    found = read(root)
    assert [sample.name for sample in found.samples] == ["x/c.png"]
    assert codes(found, "error") == ["image_missing", "image_missing"]


def test_a_damaged_file_costs_its_own_labels_only(folder):
    found = read(folder({"a.png": None, "b.png": None, "c.png": None, "a.xml": annotation(CAT), "b.xml": "<annotation>\n<object></annotation>",
        "c.xml": '<!DOCTYPE a [<!ENTITY x "boom">]><annotation><filename>&x;</filename></annotation>', "pom.xml": "<project/>"}))
    assert [None if sample.labels is None else len(sample.labels) for sample in found.samples] == [1, None, None]
    assert {problem.code: problem.where for problem in found.problems if problem.code.startswith("xml")} == {
        "xml_damaged": "b.xml:2:11", "xml_entities": "c.xml", "xml_not_labels": "pom.xml"}
    assert all("problem." not in problem.message() + problem.remedy() for problem in found.problems)


def test_chinese_encodings_are_read_with_a_note(folder):
    text = '<?xml version="1.0" encoding="gb2312"?>' + annotation(box_text("窗户", (1, 2, 30, 40)))
    found = read(folder({"a.png": None, "a.xml": text.encode("gb18030"), "b.png": None, "b.xml": text.encode("utf-16")}))
    assert found.classes == ("窗户",)
    assert len(found.samples[0].labels) == 1
    assert "label_encoding" in codes(found, "note")


def test_the_size_of_the_image_itself_counts(folder):
    sample, found = one(folder, CAT, size=(640, 480))
    assert sample.size == (64, 48)
    assert [(problem.code, problem.where, problem.values["claimed"]) for problem in found.problems] == [("label_size_differs", "a.xml", "640x480")]


@pytest.mark.parametrize("size", [None, (0, 0), ("", "")])
def test_a_missing_size_is_only_noted(folder, size):
    sample, found = one(folder, CAT, size=size)
    assert len(sample.labels) == 1
    assert [(problem.code, problem.severity) for problem in found.problems] == [("voc_without_size", "note")]


# ---- objects

def test_corners_may_be_reversed_and_numbers_texts(folder):
    sample, _ = one(folder, box_text("cat", (" 20.25 ", "3e1", 4, "5.0")))
    assert sample.labels.boxes.tolist() == [[4, 5, 20.25, 30]]


@pytest.mark.parametrize(("box", "code"), [
    ((4, 5, 4, 30), "object_without_area"), (("nan", 1, 2, 3), "object_not_finite"), (("x", 1, 2, 3), "object_not_finite"),
    (("1_0", 1, 20, 30), "object_not_finite"), ((100, 100, 200, 200), "object_outside")])
def test_a_box_that_cannot_be_kept_is_named_with_file_and_object(folder, box, code):
    sample, found = one(folder, CAT, box_text("dog", box))
    assert len(sample.labels) == 1
    problem = next(problem for problem in found.problems if problem.code == code)
    assert (problem.where, problem.values["object"]) == ("a.xml", "2 (dog)")


def test_an_image_whose_objects_were_all_lost_is_not_taken_for_empty(folder):
    assert one(folder, box_text("cat", (4, 5, 4, 30)))[0].labels is None


def test_names_keep_blanks_and_foreign_characters(folder):
    _, found = one(folder, box_text(" 手术 剪 &lt;b&gt; ", (1, 1, 9, 9)), box_text("=1+1 &amp; co", (1, 1, 8, 9)), box_text("", (1, 1, 7, 9)))
    assert found.classes == ("=1+1 & co", "unnamed", "手术 剪 <b>")


def test_difficult_and_truncated_objects_are_kept_and_what_is_left_out_is_said(folder):
    part = "<part><name>head</name><bndbox><xmin>5</xmin><ymin>6</ymin><xmax>7</xmax><ymax>8</ymax></bndbox></part>"
    sample, found = one(folder, box_text("cat", (4, 5, 20, 30), "<difficult>1</difficult><truncated>1</truncated><pose>Left</pose>" + part),
        box_text("dog", (4, 5, 20, 31), "<difficult>0</difficult><occluded>1</occluded><pose>Unspecified</pose>"))
    assert len(sample.labels) == 2
    assert found.classes == ("cat", "dog")
    assert [problem.values["details"] for problem in found.problems] == ["difficult 1, occluded 1, part 1, pose 1, truncated 1"]


ROBOFLOW = "<polygon><x1>1.5</x1><y1>2</y1><x2>30</x2><y2>2</y2><x3>30</x3><y3>40</y3><x10>1</x10><y10>40</y10></polygon>"
POINTS = "<polygon><pt><x>1.5</x><y>2</y></pt><pt><x>30</x><y>2</y></pt><pt><x>30</x><y>40</y></pt><pt><x>1</x><y>40</y></pt></polygon>"


@pytest.mark.parametrize("polygon", [ROBOFLOW, POINTS])
@pytest.mark.parametrize("box", ["", "<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox>"])
def test_outlines_keep_every_vertex_and_their_own_box(folder, polygon, box):
    sample, found = one(folder, f"<object><name>cat</name>{polygon}{box}</object>")
    assert found.task == "instance"
    assert sample.labels.shapes[0].rings[0].tolist() == [[1.5, 2], [30, 2], [30, 40], [1, 40]]
    assert sample.labels.boxes.tolist() == [[2 if box else 1, 2, 30, 40]]


def test_an_outline_without_three_points_leaves_the_box(folder):
    sample, found = one(folder, box_text("cat", (1, 2, 30, 40), "<polygon><x1>1</x1><y1>2</y1></polygon>"))
    assert sample.labels.boxes.tolist() == [[1, 2, 30, 40]]
    assert "outline_too_short" in codes(found)


def test_a_rotated_box_becomes_the_box_around_it(folder):
    quarter = "<robndbox><cx>30</cx><cy>20</cy><w>20</w><h>10</h><angle>1.5707963</angle></robndbox>"
    sample, found = one(folder, f"<object><type>robndbox</type><name>cat</name>{quarter}</object>")
    assert np.allclose(sample.labels.boxes, [[25, 10, 35, 30]], atol=1e-4)
    assert codes(found) == ["boxes_rotated"]


def test_labelmap_gives_the_order_and_classes_without_objects(folder):
    text = "# label:color_rgb:parts:actions\nbackground:0,0,0::\nzebra:1,2,3::\ncat:4,5,6:head,foot:run\na:b:7,8,9::\n"
    assert read(folder({"a.png": None, "a.xml": annotation(DOG), "labelmap.txt": text})).classes == ("zebra", "cat", "a:b", "dog")


def test_lists_of_classes_without_boxes_leave_the_images_unlabeled(folder):
    found = read(folder({"JPEGImages/a.png": None, "Annotations/a.xml": annotation(), "ImageSets/Main/cat_train.txt": "a 1\n",
        "ImageSets/Main/train.txt": "a\n"}))
    assert [(sample.split, sample.labels) for sample in found.samples] == [("train", None)]
    assert "voc_class_lists_left_out" in codes(found, "note")


def test_masks_beside_are_no_images_and_the_other_format_is_named(folder):
    masks = {"SegmentationClass/a.png": None, "SegmentationObject/a.png": None}
    found = read(folder({"JPEGImages/a.png": None, "Annotations/a.xml": annotation(CAT)} | masks))
    assert [sample.name for sample in found.samples] == ["JPEGImages/a.png"]
    assert "mask_png" in next(problem for problem in found.problems if problem.code == "voc_masks_beside").remedy()


@pytest.mark.parametrize("text", [
    "<annotations><version>1.1</version><image name='a.png'/></annotations>", "<project><annotation/></project>", "", "{}",
    "<!-- <annotation> --><html/>",
    "<annotation><filename>a.png</filename><object><name>x</name><polygon><pt><x>1</x><y>2</y></pt></polygon></object>"
    "<imagesize><nrows>48</nrows></imagesize></annotation>"])
def test_other_xml_is_not_taken_for_voc(folder, text):
    assert voc.detects(folder({"a.png": None, "a.xml": text})) is None


def test_lists_without_label_files_are_enough_unless_there_are_masks(folder):
    files = {"JPEGImages/a.png": None, "ImageSets/Main/train.txt": "a\n"}
    assert voc.detects(folder(files)) == "ImageSets"
    assert [(sample.split, sample.labels) for sample in read(folder(files)).samples] == [("train", None)]
    assert voc.detects(folder(files | {"SegmentationClass/a.png": None})) is None


# ---- damage of any kind

def test_no_damage_to_a_label_file_breaks_the_reading(folder):
    whole = annotation(CAT, f"<object><name>dog</name>{ROBOFLOW}</object>", f"<object><name>x</name>{POINTS}</object>")
    rng = random.Random(5)
    files: dict[str, object] = {}
    for number in range(150):
        text = bytearray(whole.encode())
        for _ in range(rng.randint(1, 6)):
            place = rng.randrange(len(text))
            if rng.random() < 0.5:
                text[place] = rng.randrange(256)
            else:
                del text[place:place + rng.randint(1, 40)]
        files |= {f"{number}.png": None, f"{number}.xml": bytes(text)}
    found = read(folder(files))
    assert len(found.samples) == 150
    for sample in found.samples:
        assert sample.labels is None or np.isfinite(sample.labels.boxes).all()
    assert all("problem." not in problem.message() for problem in found.problems)


def test_pictures_of_labels_are_no_images(folder, picture):
    root = folder({"a.png": None, "a.xml": annotation(box_text("cat", (1, 2, 11, 12)))})
    before = len(read(root).samples)
    for name in ("AnnotationsVisualization", "SegmentationObjectVisualization", "annotations/trimaps", "superpixels"):
        picture(root / name / "a.png")
    found = read(root)
    assert len(found.samples) == before
    assert [problem.where for problem in found.problems if problem.code == "voc_masks_beside"] == ["annotations/trimaps"]
