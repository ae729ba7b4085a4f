"""DOTA: four corners on each line become upright boxes."""

import pytest

from engine.datasets import source
from engine.datasets.collection import collect

HEAD = "imagesource:GoogleEarth\ngsd:0.146343\n"


@pytest.fixture
def read(tmp_path, picture):
    def make(files, images=("train/images/P0000.png", "val/images/P0001.png")):
        for number, image in enumerate(images):
            picture(tmp_path / image, seed=number)
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(text if isinstance(text, bytes) else text.encode())
        assert source.recognise(tmp_path)[0].name == "dota"
        return collect(source.read(tmp_path))
    return make


def test_boxes_go_around_the_four_corners_and_what_is_lost_is_counted(read):
    found = read({"train/labelTxt/P0000.txt": f"{HEAD}10 20 30 20 30 40 10 40 small-vehicle 0\n20 5 30 15 20 25 10 15 plane 1\n",
                  "val/labelTxt/P0001.txt": f"{HEAD}1.0 2.0 9.0 2.0 9.0 8.0 1.0 8.0 plane 2\n"})
    assert (found.classes, found.task) == (("plane", "small-vehicle"), "detect")
    assert [(sample.split, sample.labels.boxes.tolist(), sample.labels.classes.tolist()) for sample in found.samples] == [
        ("train", [[10, 20, 30, 40], [10, 5, 30, 25]], [1, 0]), ("valid", [[1, 2, 9, 8]], [0])]
    assert {problem.code: problem.values["count"] for problem in found.problems} == {"boxes_rotated": 1, "dota_difficult": 2}


def test_a_file_of_headings_says_that_nothing_is_there_and_none_that_nobody_looked(read):
    images = ("images/P0.png", "images/P1.png", "images/P2.png")
    found = read({"labelTxt/P0.txt": "1 1 9 1 9 9 1 9 ship 0\n", "labelTxt/P1.txt": HEAD}, images)
    assert [None if sample.labels is None else len(sample.labels) for sample in found.samples] == [1, 0, None]


def test_lines_and_files_that_do_not_fit_are_named(read):
    ship = "1 1 9 1 9 9 1 9 ship 0\n"
    found = read({"labelTxt/P0.txt": f"{ship}1 1 9 1 9 9 ship\n", "labelTxt/gone.txt": ship}, ("images/P0.png",))
    assert {(problem.code, problem.where) for problem in found.problems} == {
        ("dota_line", "labelTxt/P0.txt:2"), ("image_missing", "labelTxt/gone.txt")}


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16"])
def test_names_may_be_written_in_any_encoding(read, encoding):
    found = read({"labelTxt/P0.txt": "1 1 9 1 9 9 1 9 飞机 0\n".encode(encoding)}, ("images/P0.png",))
    assert found.classes == ("飞机",)


QUAD = "1 1 9 1 9 9 1 9 ship 0\n"
YAML = "train: images\nval: images\nnames: [ship]\n"


@pytest.mark.parametrize("folder", ["labelTxt", "labels"])
def test_the_yaml_of_roboflow_beside_the_labels_changes_nothing(read, folder):
    found = read({f"{folder}/P0.txt": QUAD, "data.yaml": YAML}, ("images/P0.png",))
    assert (found.classes, len(found.samples[0].labels)) == (("ship",), 1)


def test_where_both_dota_and_yolo_labels_are_there_people_are_asked(tmp_path, picture):
    picture(tmp_path / "images" / "P0.png")
    for path, text in (("labelTxt/P0.txt", QUAD), ("labels/P0.txt", "0 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2\n"), ("data.yaml", YAML)):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    assert set(source.evidence(tmp_path)) == {"dota", "yolo"}
