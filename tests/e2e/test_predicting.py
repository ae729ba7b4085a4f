"""The predict page in a real browser beyond single images: a video that plays, a camera that stops, slices, and a browser without a camera."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine import checkpoint
from engine.models import create, models
from engine.video import Reader, Writer
from engine.workspace import Workspace
from tests.e2e.conftest import BROWSERS, FLAGS

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
CLASSES = ("猫", "狗")
SOUGHT = "() => window.sought && document.querySelector('#lb-predict-result p[role=status]')?.innerText.includes('candidates')"
NO_CAMERA = "() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('none', '%s')); }"


@pytest.fixture(scope="module")
def browser():
    """As in the other tests, with a camera that shows a test picture."""
    sync_api = pytest.importorskip("playwright.sync_api")
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no Chromium found")
        pytest.skip("no Chromium found")
    with sync_api.sync_playwright() as playwright:
        fake = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
        yield playwright.chromium.launch(executable_path=program, args=[*FLAGS, *fake])


@pytest.fixture
def half_sure(app):
    """A detector that was never trained and is half sure of everything."""
    torch.manual_seed(0)
    network, spec = create("deimv2_atto", len(CLASSES)), models.get("deimv2_atto")
    with torch.no_grad():
        for name, values in network.named_parameters():
            if "score_head" in name and name.endswith("bias"):
                values.zero_()
    file = Workspace(app.workspace).weights / "half-sure.pt"
    checkpoint.save({"model": network.state_dict(), "model_name": "deimv2_atto", "options": {"num_classes": len(CLASSES)}, "task": "detect",
                     "classes": list(CLASSES), "preprocess": {"resize": "stretch", "size": 64, "mean": list(spec.mean), "std": list(spec.std)},
                     "thresholds": {"score": 0.3}, "metrics": {}, "config": {}, "version": "test"}, file)
    return file


@pytest.fixture
def clip(tmp_path):
    writer, random = Writer(tmp_path / "cats.mp4", (160, 120), 10), np.random.default_rng(0)
    ground = random.integers(0, 255, (120, 400, 3), np.uint8)
    for i in range(120):
        writer.write(ground[:, 2 * i : 2 * i + 160], i / 10)
    writer.close()
    return tmp_path / "cats.mp4"


def test_videos_cameras_and_slices(page, clip, half_sure, tmp_path):
    page.open_tab("Predict")
    page.locator("#lb-predict-model input").wait_for()
    slices_find_more(page, tmp_path)
    score = page.locator("#lb-predict-threshold input[type=number]")
    score.fill("0.6")
    score.press("Tab")
    a_video_plays(page, clip)
    a_video_stops(page)
    the_camera_runs_and_stops(page)
    assert not page.foreign, "the page asked other hosts"


def test_what_a_visitor_set_stays_while_the_model_is_the_same(page, half_sure, tmp_path):
    page.open_tab("Predict")
    score = page.locator("#lb-predict-threshold input[type=number]")
    page.wait_for_function("() => document.querySelector('#lb-predict-threshold input[type=number]').value === '0.3'")
    drop(page, *pictures(tmp_path, "a", "b", "c"), torn(tmp_path))
    page.locator("#lb-predict-strip button").nth(2).click()
    page.locator("#lb-predict-result p[role=status]", has_text="c.png").wait_for()
    score.fill("0.1")
    score.press("Tab")
    the_third_is_seen_again(page, score)
    nothing_is_sought_behind_a_video(page)
    assert score.input_value() == "0.1"
    drop(page, *pictures(tmp_path, "d", "e"))
    page.locator("#lb-predict-result p[role=status]", has_text="d.png").wait_for()
    assert score.input_value() == "0.1" and page.locator("#lb-predict-result [role=alert]").count() == 0


def test_images_that_come_before_the_list_of_models_are_looked_at(page, half_sure, tmp_path):
    """On a slow connection the page is quicker than its list of models."""
    entered = page.evaluate("""() => {
        const {components, dependencies} = window.gradio_config, tab = components.find(({props}) => props?.elem_id === 'lb-page-predict').id;
        return dependencies.find(({targets, backend_fn}) => backend_fn && targets.some(([id, event]) => id === tab && event === 'select')).id;
    }""")
    held = []

    def hold(route):
        if f'"fn_index":{entered},' in (route.request.post_data or "") and not held:
            held.append(route)
        else:
            route.continue_()

    page.route("**/gradio_api/**", hold)
    page.open_tab("Predict")
    drop(page, *pictures(tmp_path, "a"))
    page.wait_for_timeout(1500)
    assert held, "the page asks for its list of models"
    held[0].continue_()
    page.locator("#lb-predict-result .lb-picture img").wait_for(timeout=30_000)
    assert page.locator(".toast-body.error").count() == 0
    page.set_viewport_size({"width": 390, "height": 844})
    heights = [page.locator(part).bounding_box()["y"] for part in ("#lb-predict-files", "#lb-predict-result", "#lb-predict-threshold")]
    assert heights == sorted(heights), "on a narrow screen the answer stands next to the question"


def the_third_is_seen_again(page, score):
    watch(page)
    page.locator("#lb-predict-tta input").check()
    page.wait_for_function(SOUGHT)
    assert score.input_value() == "0.1" and told_of(page).startswith("c.png")
    assert [each.get_attribute("aria-pressed") for each in page.locator("#lb-predict-strip button").all()] == ["false", "false", "true"]
    assert "torn.png" in page.locator("#lb-predict-result [role=alert]").inner_text()


def nothing_is_sought_behind_a_video(page):
    """They are looked at anew when the visitor comes back to them."""
    choose(page, "Video")
    page.locator("#lb-predict-tta input").uncheck()
    page.wait_for_timeout(3000)
    watch(page)
    choose(page, "Images")
    page.wait_for_function(SOUGHT)
    assert told_of(page).startswith("c.png")


def watch(page):
    """From now on the page notes that images are looked at."""
    page.evaluate("""() => {
      window.sought = false;
      new MutationObserver(() => { window.sought ||= Boolean(document.querySelector('#lb-predict-result .lb-result-busy')); })
        .observe(document.body, {subtree: true, childList: true});
    }""")


def told_of(page):
    return page.locator("#lb-predict-result p[role=status]").inner_text()


def pictures(folder, *names):
    for seed, name in enumerate(names):
        Image.fromarray(np.random.default_rng(seed).integers(0, 255, (200, 300, 3), np.uint8)).save(folder / f"{name}.png")
    return [folder / f"{name}.png" for name in names]


def torn(folder):
    (folder / "torn.png").write_bytes(b"no picture")
    return folder / "torn.png"


def drop(page, *files):
    if (remove := page.locator("#lb-predict-files button[aria-label=Clear]")).count():
        remove.click()
    page.locator("#lb-predict-files input[type=file]").set_input_files(files)


def slices_find_more(page, tmp_path):
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (200, 300, 3), np.uint8)).save(tmp_path / "large.png")
    page.locator("#lb-predict-files input[type=file]").set_input_files(tmp_path / "large.png")
    page.locator("#lb-predict-result .lb-picture img").wait_for()
    told = page.locator("#lb-predict-result p[role=status]")
    before = told.inner_text()
    assert "of 40 candidates" in before
    page.locator("#lb-predict-slices input").click()
    page.get_by_role("option", name="By itself, in large images").click()
    page.wait_for_function("(before) => document.querySelector('#lb-predict-result p[role=status]')?.innerText !== before", arg=before)
    assert "of 40 candidates" not in told.inner_text()
    page.locator("#lb-predict-slices input").click()
    page.get_by_role("option", name="Off", exact=True).click()
    page.locator("#lb-predict-result p[role=status]", has_text="of 40 candidates").wait_for()


def a_video_plays(page, clip):
    choose(page, "Video")
    page.locator("#lb-predict-video-file input[type=file]").set_input_files(clip)
    page.locator("#lb-predict-video-file", has_text="cats").wait_for()
    page.locator("#lb-predict-video-every input[type=number]").fill("10")
    page.locator("#lb-predict-video-every input[type=number]").press("Tab")
    page.locator("#lb-predict-video-start").click()
    page.locator("#lb-predict-video video").wait_for()
    assert "120 frames, 12 looked at" in page.locator("#lb-predict-video").inner_text()
    played = page.evaluate("""async () => {
      const film = document.querySelector('#lb-predict-video video');
      await film.play();
      await new Promise((done) => film.addEventListener('timeupdate', () => film.currentTime > 0.3 && done()));
      film.pause();
      return [film.videoWidth, film.videoHeight, film.duration, film.error?.message ?? null];
    }""")
    assert played[:2] == [160, 120] and abs(played[2] - 12) < 0.3 and played[3] is None
    with page.expect_download() as download:
        page.locator("#lb-predict-video-found").click()
    told = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert told["classes"] == list(CLASSES) and [frame["frame"] for frame in told["frames"]] == list(range(0, 120, 10))
    with page.expect_download() as download:
        page.locator("#lb-predict-video-video").click()
    assert download.value.suggested_filename == "cats.mp4"
    with Reader(Path(shutil.copy(download.value.path(), clip.with_name("back.mp4")))) as reader:
        assert reader.size == (160, 120) and reader.frames == 120


def a_video_stops(page):
    page.locator("#lb-predict-video-every input[type=number]").fill("1")
    page.locator("#lb-predict-video-every input[type=number]").press("Tab")
    page.locator("#lb-predict-video-start").click()
    page.locator("#lb-predict-video .lb-film img").wait_for()
    page.locator("#lb-predict-video-stop").click()
    page.locator("#lb-predict-video", has_text="Stopped").wait_for()
    assert page.locator("#lb-predict-video-start").is_enabled() and page.locator("#lb-predict-video-stop").is_hidden()


def the_camera_runs_and_stops(page):
    choose(page, "Camera")
    camera = page.locator("#lb-predict-camera")
    camera.get_by_role("button", name="Start camera").click()
    camera.locator("img:not([hidden])").wait_for()
    camera.locator("p", has_text="images/s").wait_for()
    first = camera.locator("img").get_attribute("src")
    page.wait_for_function("(first) => document.querySelector('#lb-predict-camera img').src !== first", arg=first)
    camera.get_by_role("button", name="Stop camera").click()
    camera.get_by_role("button", name="Start camera").wait_for()
    assert camera.locator("img").is_hidden()
    last = camera.locator("img").get_attribute("src")
    page.wait_for_timeout(1500)
    assert camera.locator("img").get_attribute("src") == last, "no picture comes after Stop"
    camera.get_by_role("button", name="Start camera").click()
    camera.locator("img:not([hidden])").wait_for()
    choose(page, "Images")
    camera.wait_for(state="hidden")
    choose(page, "Camera")
    camera.get_by_role("button", name="Start camera").wait_for()
    for reason, words in (("NotFoundError", "No camera was found"), ("NotAllowedError", "was not allowed"), ("NotReadableError", "in use by")):
        page.evaluate(NO_CAMERA % reason)
        camera.get_by_role("button", name="Start camera").click()
        camera.get_by_role("alert").filter(has_text=words).wait_for()


def choose(page, source):
    page.locator("#lb-predict-source label", has_text=source).click()
