"""The Data page in a real browser: select, move, take back, check, mend, deal, rename, keep a version."""

import numpy as np
import pytest
from PIL import Image

from engine.workspace import Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture
def cones(app, tmp_path):
    """Thirty images, all to train on; one has a box that leaves it."""
    root = tmp_path / "set"
    for part in ("images", "labels"):
        (root / "train" / part).mkdir(parents=True)
    for number in range(30):
        blocks = np.random.default_rng(number).integers(0, 255, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(blocks).resize((64, 48)).save(root / "train" / "images" / f"img{number:02d}.png")
        (root / "train" / "labels" / f"img{number:02d}.txt").write_text(f"{number % 2} {'0.9' if number == 3 else '0.5'} 0.5 0.4 0.4\n")
    (root / "data.yaml").write_text("train: train/images\nnames: [cone, cube]\n")
    return Workspace(app.workspace).import_dataset(root, "cones")[0]


def test_a_set_is_looked_through_mended_and_brought_back(cones, page, app):
    page.open_tab("Data")
    page.locator("#lb-data-grid img[src]").first.wait_for()
    moves_selected_images_and_takes_that_back(page, cones)
    walks_through_the_viewer(page)
    finds_a_problem_and_mends_it(page, cones)
    deals_images_anew(page, cones, app)
    renames_a_class(page, cones)
    keeps_a_version_and_restores_it(page, cones)
    assert not page.foreign, "the page asked other hosts"


def moves_selected_images_and_takes_that_back(page, cones):
    boxes = page.locator("#lb-data-grid .lb-tile-pick input")
    boxes.nth(1).check(force=True)
    boxes.nth(3).click(modifiers=["Shift"], force=True)
    page.locator("#lb-data-grid [data-count]", has_text="3 selected").wait_for()
    page.locator("#lb-data-grid [data-move]").select_option("valid")
    page.locator("#lb-data-grid [data-move-go]").click()
    page.locator(".lb-last-change", has_text="moved to valid: 3").wait_for()
    assert cones.counts()["valid"]["images"] == 3
    page.locator(".lb-last-change button").click()
    page.locator(".lb-last-change").wait_for(state="detached")
    assert list(cones.counts()) == ["train"]


def walks_through_the_viewer(page):
    page.locator("#lb-data-grid .lb-tile-open").nth(0).click()
    page.locator(".lb-viewer", has_text="1 of 30").wait_for()
    page.keyboard.press("ArrowRight")
    page.locator(".lb-viewer", has_text="2 of 30").wait_for()
    page.keyboard.press("Escape")
    page.locator(".lb-viewer").wait_for(state="detached")


def finds_a_problem_and_mends_it(page, cones):
    page.open_tab("Health")
    page.locator("#lb-health-check").click()
    page.locator("#lb-health-check", has_text="Check again").wait_for()  # until then everything below is drawn anew
    page.locator("#lb-health-problems details:not([open]) > summary", has_text="What the import did").click()
    page.locator("#lb-health-problems details[open] > summary", has_text="What the import did").wait_for()
    page.locator('#lb-health-problems [data-place="train/labels/img03.txt:1"]').click()
    page.locator(".lb-viewer", has_text="img03.png").wait_for()
    page.keyboard.press("Escape")
    page.locator('#lb-health-problems [data-send="fix"][data-code="no_valid_split"]').click()
    page.locator(".lb-last-change", has_text="Repairs accepted").wait_for()
    page.locator('#lb-health-problems [data-code="no_valid_split"]').first.wait_for(state="detached")
    assert cones.counts()["valid"]["images"] == 6 and not cones.report_is_stale()


def deals_images_anew(page, cones, app):
    page.open_tab("Splits")
    page.locator("#lb-split-preview", has_text="would move").wait_for()
    share = page.locator("#lb-share-train input[type=number]")
    share.fill("60")
    share.press("Tab")
    page.locator("#lb-split-preview", has_text="images would move").wait_for()
    shares = [page.locator(f"#lb-share-{split} input[type=number]") for split in ("train", "valid", "test")]
    app.wait_for(lambda: sum(int(each.input_value()) for each in shares) == 100, "the other shares to give way")
    assert share.input_value() == "60"
    page.locator("#lb-split-apply").click()
    page.locator(".lb-last-change", has_text="dealt").wait_for()
    assert cones.counts()["train"]["images"] == 18


def renames_a_class(page, cones):
    page.open_tab("Classes")
    field = page.locator("#lb-classes input[name=name-1]")
    field.fill("<b>block</b>")
    field.press("Enter")
    page.locator(".lb-last-change", has_text="<b>block</b>").wait_for()
    assert cones.classes == ("cone", "<b>block</b>")


def keeps_a_version_and_restores_it(page, cones):
    page.open_tab("Versions")
    page.locator("#lb-versions input").fill("clean")
    page.locator("#lb-versions input").press("Enter")
    page.locator(".lb-version", has_text="clean").wait_for()
    page.locator(".lb-version [data-action=restore]").click()
    page.locator("#lb-versions [data-send=restore]").click()
    page.locator(".lb-version").nth(1).wait_for()
