"""The predict page without a browser: filters on what is already found, the table, safe downloads, models by id."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest

from engine.datasets.images import save_image
from engine.types import Instances, UserError
from engine.workspace import Workspace
from ui.pages.predict import downloads, models, view
from ui.pages.predict.result import Filter, Result, Shot, find_objects, picture, shown_pixels


@pytest.fixture
def image(tmp_path):
    save_image(tmp_path / "=cmd.png", np.full((48, 64, 3), 120, np.uint8))
    return tmp_path / "=cmd.png"


@pytest.fixture
def result(image):
    labels = Instances([[0, 0, 60, 40], [5, 5, 20, 20], [8, 8, 12, 12]], [0, 1, 1], [0.9, 0.5, 0.1])
    return Result("deimv2_atto", "detect", ("@home", "<b>dog</b>"), 0.45, [Shot(image, image.name, (64, 48), labels)])


class Stub:
    """A predictor that counts its forwards."""

    name, task, classes, threshold = "stub", SimpleNamespace(name="detect"), ("a",), 0.3

    def __init__(self):
        self.seen = 0

    def stream(self, files, batch):
        for file in files:
            self.seen += 1
            torn = UserError("image_damaged", name=file.name, reason="torn")
            yield file, (64, 48), torn if file.suffix == ".torn" else Instances([[1, 1, 2, 2]], [0], [0.7])


def test_one_broken_image_does_not_stop_the_others(tmp_path):
    steps = []
    found = find_objects(Stub(), [tmp_path / "a.png", tmp_path / "b.torn", tmp_path / "c.png"], lambda done, total: steps.append((done, total)))
    assert [shot.name for shot in found.shots] == ["a.png", "c.png"]
    assert found.failures[0][0] == "b.torn"
    assert steps == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert found.threshold == 0.3


def test_filters_act_on_what_is_there_and_best_comes_first(result):
    labels = result.shots[0].labels
    assert len(Filter(0.0)(labels)) == 3
    assert len(Filter(0.45)(labels)) == 2
    assert Filter(0.0, (1,))(labels).classes.tolist() == [1, 1]


def test_the_drawing_fades_with_its_opacity(result):
    shot, pictures = result.shots[0], set()
    for opacity in (0.0, 0.5, 1.0):
        pictures.add(picture(shot, Filter(0.0, None, opacity), result.classes))
    assert len(pictures) == 3


def test_small_images_are_enlarged_and_large_ones_reduced(tmp_path, image):
    assert max(shown_pixels(image).shape) == 640
    save_image(tmp_path / "large.png", np.zeros((20, 4000, 3), np.uint8))
    assert shown_pixels(tmp_path / "large.png").shape[:2] == (8, 1600)


def test_rows_and_boxes_belong_together_and_names_are_escaped(result):
    markup = view.result_html(result, 0, Filter(0.0), "en")
    assert markup.count("<rect data-i=") == markup.count("<tr data-i=") == 3
    assert "<b>dog" not in markup
    assert "3 shown of 3" in markup


def test_nothing_found_says_what_to_do(result):
    assert "Lower the score" in view.result_html(result, 0, Filter(1.0), "en")


def test_a_broken_image_is_named_with_its_remedy(result):
    result.failures.append(("torn.png", UserError("image_damaged", name="torn.png", reason="cut short")))
    markup = view.result_html(result, 0, Filter(), "en")
    assert "torn.png" in markup
    assert 'role="alert"' in markup


def test_the_json_is_that_of_the_command_line(result, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "up"))
    written = json.loads(downloads.json_file(result, Filter(0.45)).read_text(encoding="utf-8"))
    assert written["images"][0]["instances"][0] == {"class": "@home", "class_id": 0, "score": 0.9, "box": [0.0, 0.0, 60.0, 40.0]}
    assert len(written["images"][0]["instances"]) == 2


def test_no_cell_of_the_csv_is_a_formula(result, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "up"))
    with downloads.csv_file(result, Filter(0.0)).open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0]["file"] == "'=cmd.png"
    assert rows[0]["class"] == "'@home"
    assert not [cell for row in rows for cell in row.values() if cell.startswith(downloads.FORMULA)]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_a_formula_is_made_harmless(text):
    assert downloads.harmless(text) == f"'{text}"
    assert downloads.harmless(f"x{text}") == f"x{text}"


def test_models_are_found_by_id_and_never_by_path(tmp_path):
    workspace = Workspace(tmp_path)
    (workspace.weights / "a.pt").write_bytes(b"x")
    assert models.file_of(workspace, "weights/a.pt") == models.file_of(workspace, "a.pt") == workspace.weights / "a.pt"
    for bad in ("/etc/passwd", "../a.pt", "", None):
        with pytest.raises(UserError):
            models.file_of(workspace, bad)


def test_a_weights_file_is_kept_under_a_harmless_name(tmp_path):
    workspace = Workspace(tmp_path / "w")
    source = tmp_path / "My best & 权重.PTH"
    source.write_bytes(b"abc")
    assert models.add_weights(workspace, str(source)) == "weights/My-best-权重.pth"
    assert models.add_weights(workspace, str(source)) == "weights/My-best-权重-2.pth"
    (tmp_path / "evil.exe").write_bytes(b"x")
    with pytest.raises(UserError):
        models.add_weights(workspace, str(tmp_path / "evil.exe"))


def test_only_the_last_two_models_stay_loaded(tmp_path, monkeypatch):
    import engine.predict

    loads = []
    monkeypatch.setattr(engine.predict, "load", lambda file, model: loads.append(file.name) or file.name)
    cache = models.Predictors()
    for name in ("a", "b", "a", "c", "b", "a"):
        assert cache(tmp_path / name) == name
    assert loads == ["a", "b", "c", "b", "a"]


def test_the_headers_run_is_the_first_choice():
    found = [("x", "runs/x"), ("y", "runs/y")]
    assert models.pick(found, "y") == "runs/y"
    assert models.pick(found, "y", "runs/x") == "runs/x"
    assert models.pick(found, "gone", "gone") == "runs/x"
    assert models.pick([], "y") is None
