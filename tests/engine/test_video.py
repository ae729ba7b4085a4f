"""Videos from strangers are read or told what is wrong with them; videos that are written keep size, time and what was drawn."""

import csv
import json
import os
import struct

import cv2
import numpy as np
import pytest
import torch

from engine import video
from engine.__main__ import main
from engine.commands.predict import found_images
from engine.models import create
from engine.overlay_labels import draw_labels
from engine.predict_video import Choices, Outputs, annotate, overlaid
from engine.types import Instances, SemanticMask, Tags, UserError
from engine.video import Reader, Writer

RED, GREEN = (200, 30, 30), (30, 200, 30)


def film(path, frames=12, size=(96, 64), fps=10.0):
    """Green grows over red from the left, 4 pixels a frame."""
    writer = Writer(path, size, fps)
    for i in range(frames):
        writer.write(picture_of(i, size), i / fps)
    writer.close()
    return path


def picture_of(i, size=(96, 64)):
    pixels = np.full((size[1], size[0], 3), RED, np.uint8)
    pixels[:, : 4 * i] = GREEN
    return pixels


def rewritten(source, target, times):
    """The same pictures at other times (ms)."""
    packets = cv2.VideoCapture(str(source), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    size = (96, 64)
    writer = cv2.VideoWriter(str(target), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"vp09"), 1000, size, [cv2.VIDEOWRITER_PROP_RAW_VIDEO, 1])
    for time in times:
        packet = packets.read()[1]
        writer.set(cv2.VIDEOWRITER_PROP_PTS, time)
        writer.set(cv2.VIDEOWRITER_PROP_KEY_FLAG, int(packets.get(cv2.CAP_PROP_LRF_HAS_KEY_FRAME)))
        writer.write(packet)
    writer.release()
    return target


def green(pixels):
    """How many columns are green."""
    return int((pixels[pixels.shape[0] // 2, :, 1] > 120).sum())


def key_of(path):
    with pytest.raises(UserError) as caught:
        list(Reader(path))
    assert caught.value.message("en") and path.name in str(caught.value)
    return caught.value.key


# ---- reading and writing


def test_what_is_written_is_read_again(tmp_path):
    with Reader(film(tmp_path / "a.mp4")) as reader:
        frames = list(reader)
    assert (reader.size, reader.fps, reader.frames) == ((96, 64), 10.0, 12)
    assert [frame.index for frame in frames] == list(range(12))
    assert [round(frame.time, 3) for frame in frames] == [i / 10 for i in range(12)]
    assert all(abs(green(frame.pixels) - 4 * frame.index) <= 1 for frame in frames)
    assert np.abs(frames[6].pixels[:, :20].astype(int) - GREEN).mean() < 6 and np.abs(frames[6].pixels[:, 30:].astype(int) - RED).mean() < 6


def test_odd_sizes_lose_nothing(tmp_path):
    with Reader(film(tmp_path / "a.mp4", 3, (97, 61))) as reader:
        assert reader.size == (98, 62)
        assert green(list(reader)[2].pixels) == 8
    with Reader(film(tmp_path / "b.mp4", 2, (1, 1))) as reader:
        assert reader.size == (2, 2)


def test_large_videos_are_written_smaller_with_the_same_shape(tmp_path):
    writer = Writer(tmp_path / "a.mp4", (3840, 2161), 25)
    writer.abandon()
    assert writer.size == (1280, 720) and not (tmp_path / "a.mp4").exists()


@pytest.mark.parametrize("code, suffix", [("MJPG", "avi"), ("VP80", "webm"), ("mp4v", "mp4"), ("VP80", "mkv")])
def test_other_containers_are_read(tmp_path, code, suffix):
    path = tmp_path / f"a.{suffix}"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*code), 10, (96, 64))
    for i in range(5):
        writer.write(np.ascontiguousarray(picture_of(i)[..., ::-1]))
    writer.release()
    with Reader(path) as reader:
        assert [round(green(frame.pixels) / 4) for frame in reader] == list(range(5))


def test_a_video_that_was_filmed_upright_stands_upright(tmp_path):
    content = bytearray(film(tmp_path / "a.mp4", 7).read_bytes())
    matrix = content.find(b"tkhd") + 4 + 4 + 5 * 4 + 8 + 8
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 0x40000000)  # a quarter turn
    (tmp_path / "b.mp4").write_bytes(content)
    with Reader(tmp_path / "b.mp4") as reader:
        last = list(reader)[-1].pixels
    assert reader.size == (64, 96) and last.shape == (96, 64, 3)
    assert (last[:20, 32, 1] > 120).all() and (last[30:, 32, 1] < 120).all(), "what was left is above"


def test_frames_of_uneven_times_keep_them(tmp_path):
    times = [0, 200, 230, 430, 460, 1460]
    source = rewritten(film(tmp_path / "a.mp4", 6), tmp_path / "b.mp4", times)
    with Reader(source) as reader:
        frames = list(reader)
    assert [round(frame.time * 1000) for frame in frames] == times
    writer = Writer(tmp_path / "c.mp4", reader.size, 10)
    for frame in frames:
        writer.write(frame.pixels, frame.time)
    writer.close()
    with Reader(tmp_path / "c.mp4") as copy:
        shown = {round(frame.time * 10): round(green(frame.pixels) / 4) for frame in copy}
    assert shown[0] == 0 and shown[2] == 1 and shown[4] == 3 and shown[14] == 4 and shown[15] == 5 and len(shown) == 16


def test_a_jump_in_time_does_not_fill_the_disk(tmp_path):
    writer = Writer(tmp_path / "a.mp4", (32, 32), 10)
    for time in (0, 0.1, 5000, 5000.1, 1, 5000.2):
        writer.write(np.zeros((32, 32, 3), np.uint8), time)
    writer.close()
    with Reader(tmp_path / "a.mp4") as reader:
        assert len(list(reader)) == 5


def test_more_frames_a_second_than_a_screen_shows_are_left_out(tmp_path):
    with Reader(film(tmp_path / "a.mp4", 24, (32, 32), fps=240)) as reader:
        assert reader.fps == 60 and len(list(reader)) in (6, 7)


# ---- files that are no good


def test_playlists_are_not_videos_so_that_no_other_file_is_opened(tmp_path):
    film(tmp_path / "secret.mp4", 3)
    for name, content in (("a.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.mp4\n"),
                          ("b.mp4", "ffconcat version 1.0\nfile secret.mp4\n"),
                          ("c.mp4", "[playlist]\nFile1=http://127.0.0.1:1/x\n"), ("d.mp4", ""), ("e.mp4", "plain text")):
        (tmp_path / name).write_text(content)
        assert key_of(tmp_path / name) == "not_a_video"


def test_names_that_read_like_addresses_are_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    film(tmp_path / "http:a.mp4", 2)
    (tmp_path / "concat:x.mp4").write_bytes((tmp_path / "http:a.mp4").read_bytes())
    for name in ("http:a.mp4", "concat:x.mp4"):
        assert len(list(Reader(name))) == 2


def test_a_video_that_breaks_off_gives_what_is_there_or_says_that_nothing_is(tmp_path):
    content = film(tmp_path / "a.mp4").read_bytes()
    webm = tmp_path / "a.webm"
    writer = cv2.VideoWriter(str(webm), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"VP80"), 10, (96, 64))
    for i in range(12):
        writer.write(picture_of(i))
    writer.release()
    for source in (content, webm.read_bytes()):
        for length in range(8, len(source), max(1, len(source) // 23)):
            (tmp_path / "cut.mp4").write_bytes(source[:length])
            try:
                assert 1 <= len(list(Reader(tmp_path / "cut.mp4"))) <= 12
            except UserError as error:
                assert error.key in ("video_unreadable", "video_without_frames")


def test_damaged_bytes_do_not_bring_anything_down(tmp_path):
    content, random = film(tmp_path / "a.mp4").read_bytes(), np.random.default_rng(0)
    for _ in range(60):
        torn = np.frombuffer(content, np.uint8).copy()
        torn[random.integers(8, len(torn), 12)] = random.integers(0, 256, 12)
        (tmp_path / "b.mp4").write_bytes(torn.tobytes())
        try:
            frames = list(Reader(tmp_path / "b.mp4"))
            assert all(later.time > earlier.time for earlier, later in zip(frames, frames[1:], strict=False))
        except UserError as error:
            assert error.key.startswith("video_")


@pytest.mark.parametrize("limit, value, key", [("MAX_FILE_BYTES", 100, "video_file_too_large"), ("MAX_PIXELS", 96 * 64 - 1, "video_frame_too_large"),
                                               ("MAX_FRAMES", 11, "video_too_long"), ("MAX_SECONDS", 1.1, "video_too_long")])
def test_limits_are_named(tmp_path, monkeypatch, limit, value, key):
    film(tmp_path / "a.mp4")
    monkeypatch.setattr(video, limit, value)
    with pytest.raises(UserError) as caught:
        list(Reader(tmp_path / "a.mp4"))
    assert caught.value.key == key


def test_the_limit_holds_for_what_is_read_whatever_the_file_says(tmp_path, monkeypatch):
    film(tmp_path / "a.mp4")
    reader = Reader(tmp_path / "a.mp4")
    monkeypatch.setattr(video, "MAX_FRAMES", 5)
    with pytest.raises(UserError) as caught:
        list(reader)
    assert caught.value.key == "video_too_long"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_pipes_folders_and_missing_files_are_told(tmp_path):
    os.mkfifo(tmp_path / "p.mp4")
    (tmp_path / "f.mp4").mkdir()
    assert key_of(tmp_path / "p.mp4") == key_of(tmp_path / "f.mp4") == "special_file"
    assert key_of(tmp_path / "none.mp4") == "path_missing"


# ---- with a model


class Edge:
    """Sees the green part of a frame."""

    name, classes, exclusive = "edge", ("=绿色", "红色"), False

    def __init__(self):
        self.calls = 0

    def __call__(self, pixels):
        self.calls += 1
        return Instances([[0, 0, max(1, green(pixels)), pixels.shape[0]], [1, 1, 2, 2]], [0, 1], [0.9, 0.2])


def done(predictor, source, folder, choices=Choices(), task="detect"):  # noqa: B008
    folder.mkdir(exist_ok=True)
    outputs = Outputs.beside(folder, "out")
    return outputs, list(annotate(predictor, task, source, outputs, choices))


def test_each_frame_is_drawn_and_told(tmp_path):
    choices = Choices(show=lambda labels: labels.above(0.5))
    outputs, steps = done(Edge(), film(tmp_path / "a.mp4", size=(320, 200)), tmp_path / "o", choices)
    assert [(step.done, step.total) for step in steps] == [(i + 1, 12) for i in range(12)] and steps[-1].objects == 12
    told = json.loads(outputs.found.read_text(encoding="utf-8"))
    assert {key: told[key] for key in ("model", "task", "classes", "file", "width", "height", "fps", "every")} == {
        "model": "edge", "task": "detect", "classes": ["=绿色", "红色"], "file": "a.mp4", "width": 320, "height": 200, "fps": 10.0, "every": 1}
    assert [(frame["frame"], frame["time_s"], len(frame["instances"])) for frame in told["frames"]] == [(i, i / 10, 1) for i in range(12)]
    assert abs(told["frames"][5]["instances"][0]["box"][2] - 20) <= 1
    with outputs.table.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 12 and rows[3]["frame"] == "3" and rows[3]["class"] == "'=绿色" and rows[3]["time_s"] == "0.3"
    with Reader(outputs.video) as copy:
        frames = [frame.pixels for frame in copy]
    labels = Instances([[0, 0, 36, 200]], [0], [0.9])
    wanted, unnamed = (draw_labels(picture_of(9, (320, 200)), labels, Edge.classes, names=names).astype(int) for names in (True, False))
    name = np.abs(wanted - unnamed).max(-1) > 40
    assert len(frames) == 12 and np.abs(frames[9] - wanted).mean() < 6
    assert name.sum() > 200 and np.abs(frames[9] - wanted)[name].mean() < np.abs(frames[9] - unnamed)[name].mean() / 3, "the name can be read"


def test_boxes_fade_as_far_as_asked():
    labels, plain = Instances([[10, 10, 80, 50]], [0], [0.9]), picture_of(0)
    full, half, none = (overlaid(plain, labels, ("a",), Choices(opacity=opacity)).astype(int) for opacity in (None, 0.5, 0.0))
    assert np.array_equal(none, plain) and np.abs(half - (plain + full) / 2).max() <= 0.5 and (full != plain).any()


def test_between_the_frames_that_are_looked_at_the_boxes_stay(tmp_path):
    predictor = Edge()
    outputs, steps = done(predictor, film(tmp_path / "a.mp4"), tmp_path / "o", Choices(every=5, show=lambda labels: labels.above(0.5)))
    assert predictor.calls == 3 and steps[-1].looked_at == 3
    assert [frame["frame"] for frame in json.loads(outputs.found.read_text(encoding="utf-8"))["frames"]] == [0, 5, 10]
    with Reader(outputs.video) as copy:
        assert len(list(copy)) == 12
    held = draw_labels(picture_of(7), Instances([[0, 0, 20, 64]], [0], [0.9]), Edge.classes)
    assert np.abs(steps[7].picture.astype(int) - held).mean() < 6


def test_frames_are_read_as_they_are_needed_and_who_stops_leaves_nothing(tmp_path):
    predictor, folder = Edge(), tmp_path / "o"
    folder.mkdir()
    steps = annotate(predictor, "detect", film(tmp_path / "a.mp4"), Outputs.beside(folder, "out"), Choices())
    next(steps)
    next(steps)
    assert predictor.calls == 2 and all(file.name.startswith(".") for file in folder.iterdir())
    steps.close()
    assert not list(folder.iterdir())


def test_a_video_that_breaks_off_is_drawn_as_far_as_it_goes_and_this_is_told(tmp_path):
    content = film(tmp_path / "a.mp4", 40).read_bytes()
    moov = content[content.find(b"moov") - 4 :]
    torn = bytearray(content)
    torn[len(content) - len(moov) - (len(content) - len(moov)) // 2 : len(content) - len(moov)] = bytes((len(content) - len(moov)) // 2)
    (tmp_path / "b.mp4").write_bytes(torn)
    _, steps = done(Edge(), tmp_path / "b.mp4", tmp_path / "o")
    assert steps[-1].done < 36 and steps[-1].total == 40 and steps[-1].breaks_off
    assert not done(Edge(), tmp_path / "a.mp4", tmp_path / "p")[1][-1].breaks_off


def test_a_model_that_fails_leaves_nothing_and_says_why(tmp_path):
    class Fails(Edge):
        def __call__(self, pixels):
            raise UserError("slices_value", value="x", least=1)

    (tmp_path / "o").mkdir()
    with pytest.raises(UserError):
        done(Fails(), film(tmp_path / "a.mp4"), tmp_path / "o")
    assert not list((tmp_path / "o").iterdir())


@pytest.mark.parametrize("task, labels, row", [
    ("semantic", SemanticMask(layers=np.stack([np.ones((64, 96), bool), np.zeros((64, 96), bool)])), ["=绿色", "6144", "1.0"]),
    ("classify", Tags([0.8, 0.1]), ["=绿色", "0.8", "1"])])
def test_areas_and_tags_have_their_tables_too(tmp_path, task, labels, row):
    class Says(Edge):
        def __call__(self, pixels):
            return labels

    outputs, _ = done(Says(), film(tmp_path / "a.mp4", 2), tmp_path / "o", Choices(thresholds=(0.5, 0.5)), task)
    with outputs.table.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[1] == ["0", "0.0", f"'{row[0]}", *row[1:]]


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    torch.save({"model": create("deimv2_atto", 2).state_dict()}, tmp_path / "a.pth")
    return tmp_path / "a.pth"


def test_the_command_line_takes_videos_beside_images(tmp_path, weights, picture, capsys):
    shots = tmp_path / "shots"
    picture(shots / "a.png")
    film(shots / "a.mp4", 5)
    (shots / "torn.mov").write_bytes(b"\0\0\0\x18ftypqt  " + bytes(200))
    (shots / "notes.txt").write_text("no")
    assert sorted(file.name for file in found_images([str(shots)])) == ["a.mp4", "a.png", "torn.mov"]
    out = tmp_path / "o"
    command = ["predict", str(weights), str(shots), "--model", "deimv2_atto", "--image-size", "96", "--device", "cpu", "--out", str(out)]
    assert main([*command, "--threshold", "0.3", "--every", "2", "--classes", "猫,狗"]) == 0
    said = capsys.readouterr()
    told = json.loads((out / "predictions.json").read_text(encoding="utf-8"))
    assert [image["file"] for image in told["images"]] == [str(shots / "a.png")]
    video_of = told["videos"][0]
    assert len(told["videos"]) == 1 and video_of["file"] == str(shots / "a.mp4") and video_of["frames"] == 5 and video_of["video"] == "a.mp4"
    assert "torn.mov" in said.err and "a.mp4: 5 frames, 3 looked at" in said.out
    assert [frame["frame"] for frame in json.loads((out / "a.json").read_text(encoding="utf-8"))["frames"]] == [0, 2, 4]
    assert main([*command, "--every", "0"]) == 2
    assert main([*command[:2], str(shots / "torn.mov"), *command[3:]]) == 2


def test_a_folder_of_images_alone_says_nothing_of_videos(tmp_path, weights, picture):
    picture(tmp_path / "s" / "a.png")
    assert main(["predict", str(weights), str(tmp_path / "s"), "--model", "deimv2_atto", "--image-size", "96", "--out", str(tmp_path / "o")]) == 0
    assert "videos" not in json.loads((tmp_path / "o" / "predictions.json").read_text())
