"""CVAT's XML: images read and written, videos read frame by frame."""

import math
import random
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from engine.datasets import source
from engine.datasets.collection import collect
from engine.datasets.formats import cvat
from engine.datasets.outlines import mask_of
from engine.types import UserError

BOX = '<box label="cat" occluded="0" xtl="4.5" ytl="5" xbr="20" ybr="30" z_order="0"/>'


def document(content, labels=("cat", "dog"), meta=""):
    names = "".join(label if label.startswith("<") else f"<label><name>{label}</name><attributes/></label>" for label in labels)
    return (f'<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version><meta><task>{meta}<labels>{names}</labels></task></meta>'
            f"{content}</annotations>")


def image(name, content="", more='width="64" height="48"'):
    return f'<image id="0" name="{name}" {more}>{content}</image>'


@pytest.fixture
def folder(tmp_path, picture):
    """Makes a data set of an annotations.xml and images."""
    def make(text, images=("images/a.png",), file="annotations.xml", name="set"):
        root = tmp_path / name
        for number, path in enumerate(images):
            picture(root / path, seed=number)
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(text if isinstance(text, bytes) else text.encode())
        return root
    return make


def read(root):
    return collect(cvat.read(root), "cvat")


def codes(found):
    return [problem.code for problem in found.problems]


def one(folder, content, **named):
    """The only sample of a document with one image, and all that was found."""
    found = read(folder(document(image("a.png", content), **named)))
    return found.samples[0], found


# ---- samples of another tool

def test_the_datumaro_image_task_comes_in_as_the_raw_file_gives_it(reference):
    root = reference / "data/formats/annotations/datumaro_cvat_dataset/for_images"
    found = read(root)
    raw = ElementTree.parse(root / "train.xml").getroot()
    box, polygon = raw.find("image/box"), raw.find("image/polygon")
    first, second = found.samples
    assert first.labels.boxes.tolist() == [[float(box.get(key)) for key in ("xtl", "ytl", "xbr", "ybr")]]
    assert second.labels.shapes[0].rings[0].tolist() == [[float(value) for value in pair.split(",")] for pair in polygon.get("points").split(";")]
    assert [found.classes[sample.labels.classes[0]] for sample in found.samples] == ["label1", "unnamed"]
    assert {sample.split for sample in found.samples} == {"train"}
    assert next(problem.values["kinds"] for problem in found.problems if problem.code == "cvat_shapes_left_out") == "points 1, polyline 1, skeleton 2"


def test_the_datumaro_video_gives_a_sample_for_each_frame_that_is_an_image(reference):
    found = read(reference / "data/formats/annotations/datumaro_cvat_dataset/for_video")
    assert {Path(sample.name).stem: sample.labels.boxes.tolist() for sample in found.samples} == {"frame_000010": [[3, 4, 10, 5]], "frame_000013": []}
    assert found.classes == ("klhg", "z U k", "II")
    assert {sample.group for sample in found.samples} == {"t.mp4"}


@pytest.mark.parametrize("part", ["", "for_images/train.xml", "for_video/annotations.xml"])
def test_a_tree_of_documents_and_single_files_are_read_as_well(reference, part):
    found = read(reference / "data/formats/annotations/datumaro_cvat_dataset" / part)
    assert len(found.samples) == (2 if part else 4)


# ---- images

def test_labels_give_the_order_of_the_classes(folder):
    labels = ("zebra", "<label><name>skeleton</name><type>skeleton</type></label>", "<label><name>1</name><parent>skeleton</parent></label>", "cat")
    _, found = one(folder, BOX + BOX.replace("cat", "new &lt;one&gt;"), labels=labels)
    assert found.classes == ("zebra", "cat", "new <one>")


def test_labels_of_a_project_count_too(folder):
    text = document(image("a.png", BOX), labels=()).replace("<task>", "<project>").replace("</task>", "</project>")
    assert read(folder(text.replace("<labels>", "<labels><label><name>dog</name></label>"))).classes == ("dog", "cat")


def test_a_rotated_box_becomes_the_box_around_it(folder):
    corners = np.array([[10, 20], [30, 20], [30, 26], [10, 26]], float)
    centre, turn = np.array([20, 23]), math.radians(30)
    matrix = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    turned = (corners - centre) @ matrix.T + centre
    sample, found = one(folder, '<box label="cat" xtl="10" ytl="20" xbr="30" ybr="26" rotation="30.00"/>')
    assert np.allclose(sample.labels.boxes[0], [*turned.min(0), *turned.max(0)], atol=1e-4)
    assert codes(found) == ["boxes_rotated"]


def test_an_ellipse_becomes_an_outline_with_its_area(folder):
    sample, found = one(folder, '<ellipse label="cat" cx="30" cy="24" rx="20" ry="10" rotation="90"/>')
    assert found.task == "instance"
    assert np.allclose(sample.labels.boxes[0], [20, 4, 40, 44], atol=0.01)
    area = mask_of(sample.labels.shapes[0], (64, 48)).sum()
    assert abs(area - math.pi * 200) < 0.03 * math.pi * 200


@pytest.mark.parametrize(("left", "top", "width", "height"), [(0, 0, 64, 48), (5, 7, 20, 11), (40, 30, 24, 18), (63, 47, 1, 1), (0, 47, 64, 1)])
def test_a_mask_fills_the_same_pixels_as_its_runs_say(folder, left, top, width, height):
    window = np.random.default_rng(width).random((height, width)) < 0.6
    window[0, 0] = window[-1, -1] = True
    runs, value, length = [], False, 0
    for pixel in [*window.ravel().tolist(), None]:
        if pixel is value:
            length += 1
        else:
            runs.append(length)
            value, length = not value, 1
    sample, _ = one(folder, f'<mask label="cat" rle="{", ".join(map(str, runs))}" left="{left}" top="{top}" width="{width}" height="{height}"/>')
    wanted = np.zeros((48, 64), bool)
    wanted[top:top + height, left:left + width] = window
    assert np.array_equal(mask_of(sample.labels.shapes[0], (64, 48)), wanted)


@pytest.mark.parametrize(("rle", "code"), [('rle="1, 2" left="0" top="0" width="2" height="2"', "runs_damaged"),
    ('rle="0, 4" left="x" top="0" width="2" height="2"', "runs_damaged"), ('rle="" left="0" top="0" width="2" height="2"', "runs_damaged"),
    ('rle="0, 1000000000000" left="0" top="0" width="1000000" height="1000000"', "runs_damaged"), ('left="0"', "runs_damaged"),
    ('rle="-4, 8" left="0" top="0" width="2" height="2"', "runs_damaged"), ('rle="4" left="0" top="0" width="2" height="2"', "object_without_area"),
    ('rle="0, 4" left="900" top="0" width="2" height="2"', "object_outside"),
    ('rle="0, 16" left="62" top="-1" width="4" height="4"', "object_clipped")])
def test_a_mask_that_does_not_fit_is_named(folder, rle, code):
    sample, found = one(folder, BOX + f'<mask label="dog" {rle}/>')
    assert [(problem.code, problem.where, problem.values["object"]) for problem in found.problems] == [(code, "images/a.png", "2 (dog)")]
    assert len(sample.labels) == (2 if code == "object_clipped" else 1)


@pytest.mark.parametrize(("shape", "code"), [
    ('<box label="cat" xtl="1" ytl="x" xbr="3" ybr="4"/>', "object_not_finite"), ('<box label="cat"/>', "object_not_finite"),
    ('<polygon label="cat" points="1,2;3"/>', "object_not_finite"), ('<polygon label="cat" points="1,2;3,4"/>', "outline_too_short"),
    ('<box label="cat" xtl="9" ytl="9" xbr="9" ybr="20"/>', "object_without_area"),
    ('<polygon label="cat" points="nan,1;2,2;3,3"/>', "object_not_finite")])
def test_a_shape_that_cannot_be_kept_is_named(folder, shape, code):
    sample, found = one(folder, shape)
    assert codes(found) == [code, "images_without_labels"]
    assert sample.labels is None


def test_what_is_left_out_is_said_once(folder):
    attribute = '<attribute name="a">1</attribute>'
    content = BOX.replace("/>", f">{attribute}</box>") + '<polyline label="cat" points="1,2;3,4"/><points label="cat" points="1,2"/>' \
        f'<cuboid label="cat"/><skeleton label="cat"><points label="1" points="1,1"/></skeleton><tag label="dog">{attribute}</tag>'
    sample, found = one(folder, content)
    assert len(sample.labels) == 1
    assert {problem.code: next(iter(problem.values.values())) for problem in found.problems} == {
        "cvat_shapes_left_out": "cuboid 1, points 1, polyline 1, skeleton 1", "cvat_tags_left_out": 1, "cvat_attributes_left_out": 2}
    assert {problem.severity for problem in found.problems} == {"note"}


def test_tags_alone_make_a_set_for_classification(folder):
    tagged = image("a.png", '<tag label="dog" source="manual"/>') + image("b.png") + image("c.png", '<tag label="cat"/><tag label="dog"/>')
    found = read(folder(document(tagged), ["images/a.png", "images/b.png", "images/c.png", "images/d.png"]))
    assert found.task == "classify"
    assert [None if sample.labels is None else sample.labels.values.tolist() for sample in found.samples] == [[0, 1], [0, 0], [1, 1], None]


def test_subsets_are_splits_and_names_may_have_folders(folder):
    text = document(image("a.png", BOX, 'subset="Validation"') + image("a.png", BOX * 0, 'subset="Test"') + image("sub/b.png", BOX, "") +
                    image("c.png", BOX, 'subset="default"'))
    found = read(folder(text, ["images/Validation/a.png", "images/Test/a.png", "images/sub/b.png", "train/c.png"]))
    assert {sample.name: (sample.split, len(sample.labels)) for sample in found.samples} == {"images/Validation/a.png": ("valid", 1),
        "images/Test/a.png": ("test", 0), "images/sub/b.png": (None, 1), "train/c.png": ("train", 1)}


def test_images_that_are_absent_are_named(folder):
    found = read(folder(document(image("a.png", BOX) + image("gone.png", BOX) + image("../../etc/passwd", BOX) + image("", BOX))))
    assert [sample.name for sample in found.samples] == ["images/a.png"]
    assert [(problem.code, problem.where) for problem in found.problems] == [("image_missing", "gone.png"), ("image_missing", "../../etc/passwd"),
        ("image_missing", "-")]


def test_images_that_the_file_does_not_list_are_unlabeled(folder):
    found = read(folder(document(image("a.png")), ["images/a.png", "images/b.png"]))
    assert [None if sample.labels is None else len(sample.labels) for sample in found.samples] == [0, None]
    assert set(codes(found)) == {"images_without_labels", "cvat_images_empty"}


def test_an_image_listed_twice_is_taken_once(folder):
    found = read(folder(document(image("a.png", BOX) + image("images/a.png", BOX))))
    assert len(found.samples) == 1
    assert codes(found) == ["image_labeled_twice"]


def test_another_size_in_the_file_is_a_warning(folder):
    found = read(folder(document(image("a.png", BOX, 'width="640" height="480"'))))
    assert [(problem.code, problem.severity) for problem in found.problems] == [("label_size_differs", "warning")]


def test_frames_of_a_video_exported_as_images_have_no_suffix_and_belong_together(folder):
    meta = "<mode>interpolation</mode><source>trip.mp4</source>"
    found = read(folder(document(image("frame_000001", BOX), meta=meta), ["images/frame_000001.PNG"]))
    assert [(sample.name, sample.group) for sample in found.samples] == [("images/frame_000001.PNG", "trip.mp4")]


# ---- damage

def test_a_damaged_file_is_named_with_its_line(folder):
    root = folder('<annotations>\n<version>1.1</version>\n<image name="a.png">\n</annotations>')
    with pytest.raises(UserError) as caught:
        cvat.read(root)
    assert caught.value.values["where"] == "annotations.xml:4:3"


def test_one_damaged_file_of_several_costs_only_itself(folder):
    root = folder(document(image("a.png", BOX)))
    (root / "other.xml").write_text("<annotations><version>1.1</version>\n<image>")
    found = read(root)
    assert len(found.samples[0].labels) == 1
    assert [(problem.code, problem.where.split(":")[:2]) for problem in found.problems] == [("xml_damaged", ["other.xml", "2"])]


def test_entities_are_refused(folder):
    bomb = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>' + document(image("&b;", BOX)).partition("?>")[2]
    root = folder(bomb)
    assert cvat.detects(root)
    with pytest.raises(UserError, match="entities"):
        cvat.read(root)


@pytest.mark.parametrize("text", ["<annotation><object/></annotation>", "<annotations><page/></annotations>", "<!-- <annotations><meta> --><svg/>",
    "", "<html><annotations><version>1</version></annotations></html>"])
def test_other_xml_is_not_taken_for_cvat(folder, text):
    assert cvat.detects(folder(text)) is None


def test_a_single_file_is_recognised_by_its_content(folder):
    root = folder(document(image("a.png", BOX)))
    (root / "voc.xml").write_text("<annotation/>")
    assert list(source.evidence(root / "annotations.xml")) == ["cvat"]
    assert "cvat" not in source.evidence(root / "voc.xml")


def test_no_damage_breaks_the_reading(folder, tmp_path):
    track = '<track id="0" label="dog"><polygon frame="0" points="1,2;30,4;5,40"/><polygon frame="3" points="1,2;9,4;5,40;2,2"/></track>'
    mask = '<mask label="cat" rle="3, 4, 5" left="1" top="1" width="4" height="3"/><ellipse label="x" cx="9" cy="9" rx="4" ry="5" rotation="3"/>'
    whole = document(image("a.png", BOX + mask) + image("b.png", '<polygon label="cat" points="1,2;30,4;5,40"/><tag label="dog"/>') + track)
    rng = random.Random(7)
    root = folder(whole, ["images/a.png", "images/b.png", "images/frame_000001.png"])
    readable = 0
    for _ in range(300):
        text = bytearray(whole.encode())
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(150, len(text))
            text[place:place + rng.randint(0, 2)] = bytes(rng.choice(b"0123456789;,.\"<>/ -ex") for _ in range(rng.randint(0, 3)))
        (root / "annotations.xml").write_bytes(text)
        try:
            found = read(root)
        except UserError:
            continue
        readable += 1
        assert all("problem." not in problem.message() for problem in found.problems)
    assert readable > 50


# ---- videos

def frames(*numbers):
    return [f"images/frame_{number:06d}.png" for number in numbers]


def row(frame, box, more="", kind="box"):
    keys = ("xtl", "ytl", "xbr", "ybr") if kind == "box" else ("cx", "cy", "rx", "ry")
    numbers = " ".join(f'{key}="{value}"' for key, value in zip(keys, box, strict=True))
    return f'<{kind} frame="{frame}" {numbers} {more}/>'


def track(*rows, label="cat", more=""):
    return f'<track id="0" label="{label}" {more}>{"".join(rows)}</track>'


def boxes_by_frame(found):
    return {int(Path(sample.name).stem[-6:]): sample.labels.boxes.tolist() for sample in found.samples}


def test_boxes_move_evenly_between_keyframes_and_an_object_that_left_is_gone(folder):
    text = document(track(row(1, (0, 0, 10, 10)), row(5, (8, 4, 26, 18)), row(7, (8, 4, 26, 20), 'outside="1"'), row(9, (1, 1, 5, 5))))
    found = boxes_by_frame(read(folder(text, frames(0, 1, 2, 4, 5, 6, 7, 8, 9, 20))))
    expected = {0: [], 1: [[0, 0, 10, 10]], 2: [[2, 1, 14, 12]], 4: [[6, 3, 22, 16]], 5: [[8, 4, 26, 18]], 6: [[8, 4, 26, 19]], 7: [], 8: [],
                9: [[1, 1, 5, 5]], 20: [[1, 1, 5, 5]]}
    assert found == expected


def test_rows_between_keyframes_are_taken_as_given_and_end_the_track_with_the_last(folder):
    rows = [row(0, (0, 0, 10, 10), 'keyframe="1"'), row(1, (3, 3, 9, 9), 'keyframe="0"'), row(2, (4, 4, 14, 14), 'keyframe="1"')]
    found = boxes_by_frame(read(folder(document(track(*rows)), frames(0, 1, 2, 3))))
    assert found == {0: [[0, 0, 10, 10]], 1: [[3, 3, 9, 9]], 2: [[4, 4, 14, 14]], 3: []}


def test_angles_take_the_short_way(folder):
    text = document(track(row(0, (20, 20, 40, 30), 'rotation="350"'), row(2, (20, 20, 40, 30), 'rotation="10"')))
    assert boxes_by_frame(read(folder(text, frames(1)))) == {1: [[20, 20, 40, 30]]}


def test_ellipses_move_too(folder):
    text = document(track(row(0, (20, 20, 10, 5), kind="ellipse"), row(2, (30, 24, 14, 9), kind="ellipse")))
    assert np.allclose(boxes_by_frame(read(folder(text, frames(1))))[1], [[13, 15, 37, 29]], atol=0.02)


def test_polygons_keep_their_area_on_the_way_whatever_the_number_of_vertices(folder):
    square = "10,10;30,10;30,30;10,30"
    finer = "20,10;30,10;40,10;40,20;40,30;30,30;20,30;20,20"
    text = document(track(f'<polygon frame="0" points="{square}"/>', f'<polygon frame="2" points="{finer}"/>'))
    sample = read(folder(text, frames(1))).samples[0]
    assert sample.labels.boxes.tolist() == [[15, 10, 35, 30]]
    assert mask_of(sample.labels.shapes[0], (64, 48)).sum() == 400
    assert {(15, 10), (35, 10), (35, 30), (15, 30)} <= {tuple(point) for point in sample.labels.shapes[0].rings[0].tolist()}


def test_polygons_of_as_many_vertices_move_vertex_by_vertex(folder):
    one, other = "5,5;20,6;30,30;8,25", "9,7;24,8;34,32;12,27"
    text = document(track(f'<polygon frame="0" points="{one}"/>', f'<polygon frame="4" points="{other}"/>'))
    sample = read(folder(text, frames(1))).samples[0]
    assert sample.labels.shapes[0].rings[0].tolist() == [[6, 5.5], [21, 6.5], [31, 30.5], [9, 25.5]]


def test_frames_with_objects_but_without_image_are_counted(folder):
    found = read(folder(document(track(row(0, (0, 0, 10, 10)), row(1, (0, 0, 11, 10)), row(7, (0, 0, 12, 10)))), frames(0, 3)))
    assert [(problem.code, problem.values) for problem in found.problems] == [("cvat_frames_missing", {"count": 2, "frames": "1, 7"})]


def test_frames_of_other_names_go_by_their_order_and_that_is_said(folder):
    meta = "<size>3</size><mode>interpolation</mode><start_frame>10</start_frame><frame_filter>step=5</frame_filter>"
    text = document(track(row(10, (0, 0, 10, 10)), row(15, (1, 1, 9, 9)), row(20, (2, 2, 8, 8))), meta=meta)
    found = read(folder(text, ["images/x1.png", "images/x2.png", "images/x3.png"]))
    assert [sample.labels.boxes.tolist() for sample in found.samples] == [[[0, 0, 10, 10]], [[1, 1, 9, 9]], [[2, 2, 8, 8]]]
    assert codes(found) == ["cvat_frames_guessed"]


def test_videos_of_one_file_are_told_apart_by_their_subsets(folder):
    tracks = track(row(0, (0, 0, 10, 10)), more='subset="train"') + track(row(0, (1, 1, 20, 20)), more='subset="val"')
    images = ["images/train/frame_000000.png", "images/val/frame_000000.png"]
    found = read(folder(document(tracks, meta="<mode>interpolation</mode><source>a</source>"), images))
    assert [(sample.split, sample.labels.boxes.tolist()) for sample in found.samples] == [("train", [[0, 0, 10, 10]]), ("valid", [[1, 1, 20, 20]])]
    assert len({sample.group for sample in found.samples}) == 2
    unclear = read(folder(document(track(row(0, (0, 0, 10, 10)))), images, name="unclear"))
    assert [sample.labels for sample in unclear.samples] == [None, None]
    assert "cvat_frames_ambiguous" in codes(unclear)
