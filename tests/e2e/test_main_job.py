"""The main job in a real browser: a zip becomes a data set, the data set a model, and the model finds objects."""

import json
import shutil
import time
import zipfile
from pathlib import Path

import pytest

from engine.datasets.samples import generate

EPOCHS = 32
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_from_a_zip_to_a_model_that_finds_objects(page, app, tmp_path):
    assert "libtorch" not in Path(f"/proc/{app.process.pid}/maps").read_text(), "the page opens without waiting for torch"
    generate("detect", tmp_path / "scenes", images=24, seed=1)
    converted = convert(page, shutil.make_archive(str(tmp_path / "scenes"), "zip", tmp_path / "scenes"), tmp_path / "scenes-coco.zip")
    bring_in(page, converted)
    run = start_training(page, app)
    sees_the_plot_move(page, app)
    finds_the_run_after_a_reload(page, run)
    survives_the_death_of_the_app(page, app, run)
    app.wait_for(lambda: run.state()["phase"] == "done", "the run to end", 300)
    page.locator("#lb-monitor-title", has_text="done").wait_for()
    page.locator("#lb-monitor-previews img").first.wait_for()
    finds_boxes(page)
    assert not page.foreign, "the page asked other hosts"


def convert(page, archive, target):
    page.open_tab("Tools")
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
    page.open_tab("Data")
    page.locator("#lb-data-file input[type=file]").set_input_files(archive)
    page.locator("#lb-data-seen .lb-good").wait_for()
    page.locator("#lb-data-import").click()
    page.locator("#lb-data-header", has_text="scenes-coco").wait_for()


def start_training(page, app):
    """A tiny run, started by a double click: one run all the same."""
    page.open_tab("Train")
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


def sees_the_plot_move(page, app):
    lines = page.locator("#lb-plot-loss svg.marks")
    lines.wait_for()
    before = lines.inner_html()
    app.wait_for(lambda: lines.inner_html() != before, "the loss plot to move")


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
    app.wait_for(lambda: run.state()["step"] > step or run.state()["phase"] == "done", "the run to go on without the app")
    page.goto("about:blank")  # the old page reloads itself when the app is back, which would cut off the visit below
    app.start()
    page.goto(f"{app.url}/?lang=en&tab=train&run={run.id}")  # on a fast machine it may be done by now
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
