from collections import Counter

import numpy as np
import pytest

from engine.datasets.formats.yolo_lines import LabelRule, parse
from engine.datasets.formats.yolo_writing import lines_of
from engine.types import Instances, Polygons

RULE = LabelRule({0: 0, 1: 1})


def test_a_line_becomes_a_box_in_pixels():
    labels, problems = parse(b"1 0.5 0.25 0.5 0.5\n", "x.txt", (200, 100), RULE)
    assert problems == []
    assert labels.boxes.tolist() == [[50, 0, 150, 50]]
    assert labels.classes.tolist() == [1]


@pytest.mark.parametrize("text", [b"0 .5 .5 .2 .2\r\n1 .2 .2 .1 .1\r\n\r\n", b"\xef\xbb\xbf0 .5 .5 .2 .2\n1 .2 .2 .1 .1",
    b"0\t.5\t.5\t.2\t.2\n\n\n1   .2  .2 .1 .1  ",
                                  b"0.0 5e-1 .5 2E-1 .2\n1 .2 .2 .1 .1\n"])
def test_line_ends_marks_tabs_blanks_and_float_classes_do_not_matter(text):
    labels, problems = parse(text, "x.txt", (100, 100), RULE)
    assert problems == []
    assert labels.classes.tolist() == [0, 1]
    assert np.allclose(labels.boxes[0], [40, 40, 60, 60])


@pytest.mark.parametrize(("line", "code"), [
    ("7 .5 .5 .2 .2", "label_class_range"), ("-1 .5 .5 .2 .2", "label_class_negative"), ("0.5 .5 .5 .2 .2", "label_class_not_whole"),
    ("nan .5 .5 .2 .2", "label_not_finite"), ("0 nan .5 .2 .2", "label_not_finite"), ("0 .5 inf .2 .2", "label_not_finite"),
    ("0 .5 .5 1e400 .2", "label_not_finite"), ("0 32 24 10 10", "label_pixels"), ("0 -.1 .5 .2 .2", "label_range"),
    ("0 .5 .5 -.2 .2", "label_negative_size"), ("0 .5 .5 0 .2", "label_zero_area"), ("0 .5 .5 1e-9 1e-9", "label_zero_area"),
    ("0 0,5 0,5 0,2 0,2", "label_not_a_number"), ("0,.5,.5,.2,.2", "label_not_a_number"), ("0 .5 .5 .2", "label_columns"),
    ("0 .5 .5 .2 .2 .1 .1 .1", "label_columns"), ("cat .5 .5 .2 .2", "label_not_a_number"), ("0 0_5 .5 .2 .2", "label_not_a_number"),
    ("1e30 .5 .5 .2 .2", "label_class_range"), ("0 .1 .1 nan .4 .5 .5", "label_not_finite"), ("0 10 10 40 10 40 40", "label_pixels")])
def test_a_faulty_line_is_named_and_the_rest_is_kept(line, code):
    labels, problems = parse(f"1 .5 .5 .2 .2\n{line}\n".encode(), "labels/x.txt", (100, 100), RULE)
    assert [(problem.code, problem.where, problem.severity) for problem in problems] == [(code, "labels/x.txt:2", "error")]
    assert labels.classes.tolist() == [1]


def test_a_class_out_of_range_tells_the_id_and_what_is_allowed():
    _, problems = parse(b"7 .5 .5 .2 .2", "x.txt", (10, 10), RULE)
    assert "7" in problems[0].message("en")
    assert "0..1" in problems[0].message("en")


def test_no_line_means_background_but_only_faulty_lines_mean_nothing():
    assert len(parse(b"", "x", (10, 10), RULE)[0]) == 0
    assert len(parse(b"\n \n", "x", (10, 10), RULE)[0]) == 0
    assert parse(b"9 .5 .5 .2 .2", "x", (10, 10), RULE)[0] is None
    assert parse(bytes(range(256)), "x", (10, 10), RULE)[0] is None


def test_duplicates_count_once_and_six_columns_are_no_polygon():
    labels, problems = parse(b"0 .5 .5 .2 .2\n0 .5 .5 .2 .2\n1 .5 .5 .2 .2 .87\n", "x", (10, 10), RULE)
    assert [(problem.code, problem.where) for problem in problems] == [("label_duplicate", "x:2"), ("label_six_columns", "x:3")]
    assert len(labels) == 2
    assert labels.shapes is None


def test_outlines_keep_every_vertex_and_get_their_box():
    labels, problems = parse(b"0 .5 .5 .2 .2\n1 .1 .1 .4 .1 .5 .3 .3 .5 .1 .4\n", "x", (100, 200), RULE)
    assert problems == []
    assert labels.shapes[0] is None
    assert labels.shapes[1].rings[0].tolist() == [[10, 20], [40, 20], [50, 60], [30, 100], [10, 80]]
    assert labels.boxes[1].tolist() == [10, 20, 50, 100]


def test_boxes_over_the_border_are_clipped_and_said_so_unless_it_is_rounding():
    labels, problems = parse(b"0 0 .5 .5 .5\n", "x", (100, 100), RULE)
    assert [problem.code for problem in problems] == ["box_clipped"]
    assert labels.boxes.tolist() == [[0, 25, 25, 75]]
    assert parse(b"0 .2499 .5 .5 .5\n", "x", (100, 100), RULE)[1] == []


def test_utf16_is_read_and_told():
    labels, problems = parse("0 .5 .5 .2 .2\n".encode("utf-16"), "x", (10, 10), RULE)
    assert len(labels) == 1
    assert [problem.code for problem in problems] == ["label_encoding"]


def test_a_file_of_faults_is_capped():
    _, problems = parse(b"".join(b"9 .5 .5 .2 .%d\n" % number for number in range(1000, 2000)), "x", (10, 10), RULE)
    assert len(problems) == 21
    assert problems[-1].values["count"] == 980


def test_keypoints_leave_the_box():
    labels, problems = parse(b"0 .5 .5 .2 .2 .1 .1 2 .3 .3 1\n", "x", (10, 10), LabelRule({0: 0}, keypoints=True))
    assert problems == []
    assert np.allclose(labels.boxes, [[4, 4, 6, 6]])


def test_four_points_are_an_oriented_box_only_where_the_rule_says_so():
    line = b"1 .5 .1 .9 .5 .5 .9 .1 .5\n0 .5 .5 .2 .2\n"
    outlined, _ = parse(line, "x", (100, 50), RULE)
    oriented, problems = parse(line, "x", (100, 50), LabelRule({0: 0, 1: 1}, oriented=True))
    assert len(outlined.shapes[0].rings[0]) == 4
    assert problems == []
    assert oriented.shapes is None
    assert oriented.boxes.tolist() == outlined.boxes.tolist()
    assert np.allclose(oriented.boxes, [[10, 5, 90, 45], [40, 20, 60, 30]])


def test_only_an_upright_rectangle_with_a_doubled_first_corner_is_a_box_among_outlines():
    doubled = b"0 .1 .2 .1 .2 .5 .2 .5 .6 .1 .6\n"
    outline = b"0 .1 .1 .4 .1 .5 .3\n"
    labels, problems = parse(doubled + outline, "x", (100, 100), RULE)
    assert problems == []
    assert labels.boxes[0].tolist() == [10, 20, 50, 60]
    assert [shape is None for shape in labels.shapes] == [True, False]
    for near in (b"0 .1 .2 .1 .2 .5 .2 .5 .6 .1 .7\n", b"0 .1 .2 .1 .3 .5 .2 .5 .6 .1 .6\n", b"0 .1 .2 .5 .2 .5 .6 .1 .6 .1 .2\n"):
        assert len(parse(near, "x", (100, 100), RULE)[0].shapes[0].rings[0]) == 5


# ---- writing

def written(labels, size, lost=None):
    return "".join(lines_of(labels, size, Counter() if lost is None else lost)).encode()


def test_written_boxes_read_back_as_they_were():
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(0, 300, (20, 2, 2)), 1).reshape(20, 4)
    labels = Instances(corners, rng.integers(0, 2, 20))
    again, problems = parse(written(labels, (300, 300)), "x", (300, 300), RULE)
    assert problems == []
    assert np.abs(again.boxes - labels.boxes).max() < 1e-4
    assert again.classes.tolist() == labels.classes.tolist()


@pytest.mark.parametrize("size", [(64, 48), (4000, 3000), (20000, 5000), (1, 7)])
def test_every_vertex_comes_back_in_its_order_to_a_millionth(size):
    rng = np.random.default_rng(1)
    rings = [rng.uniform(0, 1, (count, 2)) ** 4 * size for count in (3, 4, 5, 500)]
    boxes = [[*ring.min(0), *ring.max(0)] for ring in rings]
    labels = Instances(boxes, [0, 1, 0, 1], shapes=tuple(Polygons((ring,)) for ring in rings))
    kept = [index for index, box in enumerate(labels.boxes) if min(box[2:] - box[:2]) > 0.02]
    again, problems = parse(written(labels[kept], size), "x", size, RULE)
    assert problems == []
    for shape, index in zip(again.shapes, kept, strict=True):
        assert np.allclose(shape.rings[0], rings[index], rtol=1e-6, atol=0)


def test_a_box_among_outlines_stays_a_box_and_is_an_outline_to_others():
    ring = np.array([[2.5, 2], [20, 2], [20, 20]])
    labels = Instances([[1.25, 2.5, 33.3, 44.4], [2.5, 2, 20, 20]], [0, 1], shapes=(None, Polygons((ring,))))
    lost = Counter()
    text = written(labels, (64, 48), lost)
    assert [len(line.split()) for line in text.splitlines()] == [11, 7]  # one kind of line a file: ultralytics drops images that mix them
    again, problems = parse(text, "x", (64, 48), RULE)
    assert problems == []
    assert again.shapes[0] is None
    assert np.abs(again.boxes - labels.boxes).max() < 1e-4
    assert lost["yolo_boxes_among_outlines"] == 1
