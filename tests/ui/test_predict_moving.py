"""Videos and the camera on the predict page, without a browser."""

import base64
import io
import json
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from engine.types import Instances, Tags, UserError
from engine.video import Reader, Writer
from engine.workspace import Workspace
from ui.pages.predict import camera, film, models
from ui.pages.predict.controls import Begun

LOOK = ["weights/a.pt", None, None, False, False, False, "off"]
FILTER = [0.5, [], 1.0, False, True, -1, 1.0, False]
BEGUN = Begun(("weights/a.pt", None), 0.45, 1.0, 1.0)
VALUES = (*LOOK, *FILTER, BEGUN)
SENT = (*LOOK, *FILTER, [["weights/a.pt", None], 0.45, 1.0, 1.0])


class Model:
    """Sees one object for sure and one hardly."""

    name, classes, exclusive, tiled, tta, threshold = "half", ("猫", "狗"), False, False, False, 0.25
    task = SimpleNamespace(name="detect", thresholds={})

    def tag_thresholds(self, wanted):
        return [0.5 if wanted is None else wanted] * 2

    def adjust(self, **given):
        self.task = SimpleNamespace(name=self.task.name, thresholds=given)

    def __call__(self, pixels):
        return Instances([[2, 2, 40, 40], [50, 20, 80, 50]], [0, 1], [0.9, 0.3])


@pytest.fixture
def app(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "up"))
    monkeypatch.setattr(models, "predictors", lambda file, told: Model())
    workspace = Workspace(tmp_path / "ws")
    (workspace.weights / "a.pt").write_bytes(b"x")
    return SimpleNamespace(workspace=workspace)


@pytest.fixture
def clip(tmp_path):
    writer = Writer(tmp_path / "clip.mp4", (96, 64), 10)
    for i in range(8):
        writer.write(np.full((64, 96, 3), 60, np.uint8), i / 10)
    writer.close()
    return tmp_path / "clip.mp4"


def sent(pixels=None, values=SENT):
    stream = io.BytesIO()
    Image.fromarray(np.full((64, 96, 3), 90, np.uint8) if pixels is None else pixels).save(stream, "JPEG")
    return {"image": camera.START + base64.b64encode(stream.getvalue()).decode(), "values": list(values)}


# ---- videos


def test_a_video_is_played_and_its_three_files_can_be_downloaded(app, clip):
    states = list(film._found(app, clip, 2, VALUES, threading.Event(), "en"))
    well, start, stop, *files, only = states[-1]
    assert only.choices == [("猫", 0), ("狗", 1)]
    assert "<video" in well and "8 frames, 4 looked at, 4 rows" in well and start.interactive and not stop.visible
    assert all(button.interactive for button in files) and not states[0][3].interactive and states[0][2].visible
    assert "8 of 8" in states[-2][0] or "of 8" in states[1][0]
    with Reader(files[0].value["path"] if isinstance(files[0].value, dict) else files[0].value) as reader:
        assert len(list(reader)) == 8


def test_who_stops_gets_no_files_and_leaves_none(app, clip, tmp_path):
    stopped = threading.Event()
    states = film._found(app, clip, 1, VALUES, stopped, "en")
    next(states), next(states)
    stopped.set()
    *_, (well, start, stop, *files, _) = states
    assert "Stopped" in well and start.interactive and not stop.visible and not any(button.interactive for button in files)
    assert not [file for file in (tmp_path / "up").rglob("*") if file.is_file()]


def test_each_visit_stops_its_own_video():
    stops = film.Stops()
    mine, other = stops.begin("a"), stops.begin("b")
    stops.stop("a")
    stops.stop("nobody")
    assert mine.is_set() and not other.is_set()
    stops.end("a")
    assert not stops.begin("a").is_set()


def test_names_of_videos_are_escaped(app, tmp_path, clip):
    bad = clip.rename(tmp_path / "<b>x&.mp4")
    well = list(film._found(app, bad, 1, VALUES, threading.Event(), "en"))[-1][0]
    assert "<b>" not in well and "&lt;b&gt;x&amp;.mp4" in well


def test_tags_are_judged_as_the_page_says():
    class Tagging(Model):
        task = SimpleNamespace(name="classify", thresholds={"classes": [0.2, 0.7]})

        def tag_thresholds(self, wanted):
            return [0.2, 0.7] if wanted is None else [wanted] * 2

    of = film.filter_of(*FILTER)
    assert film.choices_of(Tagging(), 3, of).thresholds == (0.2, 0.7) and film.choices_of(Tagging(), 3, of).every == 3
    assert film.choices_of(Tagging(), 1, film.filter_of(0.4, None, 1, False, False, None, 1, False)).thresholds == (0.4, 0.4)


# ---- the camera


def test_a_picture_of_the_camera_comes_back_drawn(app):
    answer = camera.looked_at(app.workspace, sent(), "en")
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["image"].partition(",")[2]))))
    assert answer["said"] == "1 found" and drawn.shape == (64, 96, 3)
    assert np.abs(drawn[2:40, 1:4].astype(int) - 90).max() > 60 and np.abs(drawn[55:, 85:].astype(int) - 90).max() < 20
    assert camera.looked_at(app.workspace, sent(values=[*LOOK, 0.1, *FILTER[1:], SENT[-1]]), "zh-CN")["said"] == "找到 2 个"


def test_what_only_the_loaded_model_tells_is_used_unless_the_visitor_moved_it(app, clip):
    """This one shows things from 0.25 on, which the page could not know."""
    untouched = [*LOOK, 0.45, *FILTER[1:]]
    assert camera.looked_at(app.workspace, sent(values=[*untouched, SENT[-1]]), "en")["said"] == "2 found"
    assert camera.looked_at(app.workspace, sent(values=[*LOOK, 0.4, *FILTER[1:], SENT[-1]]), "en")["said"] == "1 found"
    assert "8 frames, 8 looked at, 16 rows" in list(film._found(app, clip, 1, (*untouched, BEGUN), threading.Event(), "en"))[-1][0]


PICTURES = ("x", 5, camera.START + "!!", camera.START + "QUJD", camera.START + "A" * camera.MAX_SENT)


@pytest.mark.parametrize("bad", [None, "x", {}, *({"image": image, "values": SENT} for image in PICTURES),
                                 *({**sent(), "values": values} for values in (None, [], SENT[:5], SENT[:-1], [*LOOK, "high", *SENT[8:]]))])
def test_what_no_page_sends_is_refused(app, bad):
    with pytest.raises(UserError) as caught:
        camera.looked_at(app.workspace, bad, "en")
    assert caught.value.key == "camera_picture"


def test_pictures_that_unfold_too_far_and_other_formats_are_refused(app):
    big, png = sent(np.zeros((2100, 2100, 3), np.uint8)), io.BytesIO()
    Image.new("RGB", (8, 8)).save(png, "PNG")
    other = {"image": camera.START + base64.b64encode(png.getvalue()).decode(), "values": SENT}
    for each in (big, other):
        with pytest.raises(UserError):
            camera.looked_at(app.workspace, each, "en")


def test_a_model_by_path_is_refused(app):
    with pytest.raises(UserError) as caught:
        camera.looked_at(app.workspace, sent(values=["/etc/passwd", *SENT[1:]]), "en")
    assert caught.value.key == "model_gone"


def test_while_one_picture_is_looked_at_the_next_is_let_go(app, monkeypatch):
    look, held, release = camera.component(app.workspace).camera_look, threading.Event(), threading.Event()

    def slow(*_):
        held.set()
        release.wait(5)
        return {"image": "data:", "said": ""}

    monkeypatch.setattr(camera, "looked_at", slow)
    first = threading.Thread(target=look, args=(sent(),))
    first.start()
    held.wait(5)
    assert look(sent()) == {"busy": True}
    release.set()
    first.join()
    assert look(sent()) == {"image": "data:", "said": ""}


def test_faults_are_told_in_words_and_our_own_are_not_spelled_out(app, monkeypatch):
    look = camera.component(app.workspace).camera_look
    assert "no picture of a camera" in look("x")["error"]
    monkeypatch.setattr(camera, "looked_at", lambda *_: 1 / 0)
    assert "division" not in look(sent())["error"]


def test_tags_are_said_in_words():
    assert camera._said(Tags([0.9, 0.2]), ("猫", "狗"), (0.5, 0.5), "en") == "猫"


def test_the_camera_is_told_nothing_while_it_is_not_on_show():
    assert json.loads(camera.asked(False, SENT, "en")) == {"on": False}
    told = json.loads(camera.asked(True, SENT, "zh-TW"))
    assert told["values"] == list(SENT) and told["texts"]["start"] == "開啟攝影機" and "%" in told["texts"]["rate"]
