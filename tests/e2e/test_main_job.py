"""The main job in a real browser: a zip becomes a data set, the data set a model, and the model finds objects."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

import pytest

from engine.datasets.samples import generate
from engine.runs import Run

REPOSITORY = Path(__file__).resolve().parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync")
EPOCHS = 60
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        hint = "no Chromium found; install it with: apt-get install chromium (Debian), or put a Chrome on the PATH"
        if os.environ.get("CI") == "true":
            pytest.fail(hint)
        pytest.skip(hint)
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=program, args=list(FLAGS))


class App:
    """The real app, as its own process on a free port."""

    def __init__(self, workspace):
        self.workspace = workspace
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        command = [sys.executable, "app.py", "--port", str(self.port), "--workspace", str(self.workspace), "--lang", "en"]
        with (self.workspace.parent / "app.log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})
        wait_for(self.answers, "the app to answer")

    def answers(self):
        assert self.process.poll() is None, (self.workspace.parent / "app.log").read_text()
        try:
            return urllib.request.urlopen(self.url, timeout=2).status == 200  # noqa: S310
        except OSError:
            return False

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def runs(self):
        return [run for run in map(Run, sorted((self.workspace / "runs").iterdir())) if run.exists()]


@pytest.fixture
def app(tmp_path):
    served = App(tmp_path / "workspace")
    yield served
    served.kill()
    for run in served.runs():
        run.request_stop()
    wait_for(lambda: all(run.state()["phase"] not in ("starting", "running", "stopping") for run in served.runs()), "the runs to stop")


@pytest.fixture
def page(browser, app):
    context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-US")
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.foreign = []
    page.on("request", lambda request: page.foreign.append(request.url) if not request.url.startswith((app.url, "data:", "blob:")) else None)
    page.goto(f"{app.url}/?lang=en")
    yield page
    if folder := os.environ.get("LIGHTBOX_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / "last.png", full_page=True)
    context.close()


def test_from_a_zip_to_a_model_that_finds_objects(page, app, tmp_path):
    generate("detect", tmp_path / "scenes", images=24, seed=1)
    converted = convert(page, shutil.make_archive(str(tmp_path / "scenes"), "zip", tmp_path / "scenes"), tmp_path / "scenes-coco.zip")
    bring_in(page, converted)
    run = start_training(page, app)
    sees_the_plot_move(page)
    finds_the_run_after_a_reload(page, run)
    survives_the_death_of_the_app(page, app, run)
    wait_for(lambda: run.state()["phase"] == "done", "the run to end", 300)
    page.locator("#lb-monitor-title", has_text="done").wait_for()
    page.locator("#lb-monitor-previews img").first.wait_for()
    finds_boxes(page)
    assert not page.foreign, "the page asked other hosts"


def convert(page, archive, target):
    open_tab(page, "Tools")
    page.locator("#lb-convert-file input[type=file]").set_input_files(archive)
    page.locator("#lb-convert-to label", has_text="COCO").first.click()
    page.locator("#lb-convert-file", has_text=Path(archive).name.removesuffix(".zip")).wait_for()
    page.locator("#lb-convert-start").click()
    page.locator("#lb-convert-download").wait_for()
    with page.expect_download() as download:
        page.locator("#lb-convert-download").click()
    download.value.save_as(target)
    with zipfile.ZipFile(target) as packed:
        documents = [name for name in packed.namelist() if name.endswith("_annotations.coco.json")]
        assert documents
        assert min(each["id"] for each in json.loads(packed.read(documents[0]))["categories"]) == 0
    return target


def bring_in(page, archive):
    open_tab(page, "Data")
    page.locator("#lb-data-file input[type=file]").set_input_files(archive)
    page.locator("#lb-data-seen .lb-good").wait_for()
    page.locator("#lb-data-import").click()
    page.locator("#lb-data-header", has_text="scenes-coco").wait_for()


def start_training(page, app):
    """A tiny run, started by a double click: one run all the same."""
    open_tab(page, "Train")
    page.locator("#lb-train-plan table").wait_for()
    page.locator("#lb-train-length label", has_text="Epochs").click()
    page.locator("#lb-option-epochs input").fill(str(EPOCHS))
    page.locator("#lb-option-image_size input").fill("64")
    page.locator("#lb-option-batch input").fill("4")
    page.locator("#lb-train-plan table", has_text="Steps in all").wait_for()
    page.locator("#lb-train-start").dblclick()
    begun = time.monotonic()
    page.locator("#lb-monitor-headline").wait_for()
    assert time.monotonic() - begun < 5
    time.sleep(1)
    assert len(app.runs()) == 1
    return app.runs()[0]


def sees_the_plot_move(page):
    lines = page.locator("#lb-plot-loss svg.marks")
    lines.wait_for()
    before = lines.inner_html()
    wait_for(lambda: lines.inner_html() != before, "the loss plot to move")


def finds_the_run_after_a_reload(page, run):
    page.reload()
    page.locator("#lb-monitor-headline").wait_for()
    assert page.locator(f'#lb-monitor-title [title="{run.id}"]').is_visible()
    page.locator("#lb-plot-loss svg.marks").wait_for()


def survives_the_death_of_the_app(page, app, run):
    """The run goes on while the app is dead, and the next app shows it."""
    assert run.state()["phase"] in ("starting", "running"), run.state()
    app.kill()
    step = run.state()["step"]
    wait_for(lambda: run.state()["step"] > step or run.state()["phase"] == "done", "the run to go on without the app")
    page.goto("about:blank")  # the old page reloads itself when the app is back, which would cut off the visit below
    app.start()
    page.goto(f"{app.url}/?lang=en&tab=train")
    page.locator(f'#lb-monitor-title [title="{run.id}"]').wait_for()


def finds_boxes(page):
    page.locator("#lb-train-use").click()
    page.locator("#lb-predict-sample").click()
    page.locator("#lb-predict-result .lb-picture img").wait_for()
    score = page.locator("#lb-predict-threshold input[type=number]")
    score.fill("0.01")
    score.press("Tab")
    page.locator("#lb-predict-result .lb-picture rect").first.wait_for(state="attached")
    page.locator("#lb-predict-result tr[data-i]").first.wait_for()
    with page.expect_download() as download:
        page.locator("#lb-predict-json").click()
    found = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert found["images"][0]["instances"]


def open_tab(page, name):
    page.get_by_role("tab", name=name, exact=True).click()


def wait_for(condition, what, seconds=90):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.2)
    raise AssertionError(f"waited {seconds} s for {what}")
