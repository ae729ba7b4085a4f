"""A model beside the canvas, from images without labels: classes are pasted, a model suggests, a person accepts; pointing and filling."""

import shutil

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from engine import checkpoint
from engine.datasets import labeling_suggested
from engine.datasets.labeling_lists import Suspect, put_suspects
from engine.models import create, models
from engine.types import Instances
from engine.workspace import Workspace
from tests.e2e.test_labeling import Canvas, near

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
CLASSES = ("disc", "square")


def scene(seed):
    """A bright disc on a dark ground with noise."""
    noise = np.random.default_rng(seed).integers(0, 30, (240, 320, 3), dtype=np.uint8)
    cv2.circle(noise, (100, 120), 40, (220, 180, 60), -1)
    return noise


@pytest.fixture
def pictures(tmp_path):
    root = tmp_path / "pictures"
    root.mkdir()
    for number in range(4):
        Image.fromarray(scene(number)).save(root / f"scene{number}.png")
    return root


@pytest.fixture
def discs(app, pictures):
    made = Workspace(app.workspace).import_dataset(pictures, "discs")[0]
    for name in CLASSES:
        made.add_class(name)
    return made


@pytest.fixture
def model(app):
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


def opened(page, app, image):
    page.goto(f"{app.url}/?lang=en&tab=label&image={image}")
    canvas = Canvas(page).ready(image)
    page.wait_for_function("() => document.querySelector('.lb-an').lab.assist.shownModels")
    return canvas


def states(page):
    return page.evaluate("() => document.querySelector('.lb-an').lab.studio.doc.shapes.map(({state}) => state)")


def suggested(*scores):
    return labeling_suggested.Suggestion("stub", "2026-11-21T10:00:00Z", [
        {"kind": "box", "cls": 0, "box": [20 + 60 * place, 20, 60 + 60 * place, 60], "state": "suggested", "score": score}
        for place, score in enumerate(scores)])


def test_a_model_suggests_and_a_person_decides(discs, model, page, app):
    canvas = opened(page, app, 1)
    canvas.keys("i")
    page.wait_for_function("() => document.querySelector('.lb-an').lab.studio.waiting().length", timeout=120_000)
    assert set(states(page)) == {"suggested"}
    assert discs.row(1).labels is None
    canvas.keys("e", " ")
    canvas.saved()
    assert len(discs.row(1).labels) == 1
    assert states(page).count("suggested") == len(states(page)) - 1
    page.locator("[data-side=assist]").click()
    page.get_by_role("button", name="Discard").click()
    canvas.saved()
    assert states(page) == ["truth"]
    page.get_by_role("button", name="All unlabeled").click()
    page.locator(".lb-an-job", has_text="suggestions in 3 images").wait_for()
    assert len(labeling_suggested.with_suggestions(discs)) == 3
    assert [discs.row(image).labels for image in (2, 3, 4)] == [None] * 3
    page.get_by_role("button", name="Accept above this score in up to 3 images").click()
    page.locator(".lb-an-hint", has_text="Accepted in 3 images").wait_for()
    assert all(len(discs.row(image).labels) for image in (2, 3, 4))
    assert labeling_suggested.unseen(discs) == 3
    canvas.keys("d")
    canvas.ready(2)
    page.locator(".lb-an-hint", has_text="accepted unseen").wait_for()
    canvas.keys("y")
    canvas.saved()
    assert labeling_suggested.unseen(discs) == 2
    assert not page.foreign, "the page asked other hosts"


def test_a_threshold_hides_suggestions_and_those_stay_suggestions(discs, page, app):
    labeling_suggested.put(discs, 1, suggested(0.9, 0.6, 0.3))
    canvas = opened(page, app, 1)
    page.locator("[data-side=assist]").click()
    slider = page.locator(".lb-an-cutoff input")
    slider.fill("0.5")
    page.get_by_role("button", name="Accept shown (2)").click()
    canvas.saved()
    assert len(discs.row(1).labels) == 2
    assert discs.row(1).labels.scores is None
    assert [round(each["score"], 2) for each in labeling_suggested.of(discs, 1).shapes] == [0.3]
    canvas.keys("Control+z")
    canvas.saved()
    assert [discs.row(1).labels, len(labeling_suggested.of(discs, 1).shapes)] == [None, 3]


def test_suspicious_labels_are_opened_by_a_key_and_confirmed(discs, page, app):
    for image in (2, 3):
        discs.set_labels(image, Instances([[30, 30, 70, 80]], [0]))
    put_suspects(discs, [Suspect(3, "class", 0.9, (30, 30, 70, 80), 0, 1), Suspect(2, "unpredicted", 0.7, (30, 30, 70, 80), 0)], "stub")
    canvas = opened(page, app, 1)
    canvas.keys(".")
    canvas.ready(3)
    page.locator(".lb-an-hint", has_text="Perhaps another class: disc / square").wait_for()
    canvas.keys("2")
    canvas.saved()
    assert discs.row(3).labels.classes.tolist() == [1]
    canvas.keys(".")
    canvas.ready(2)
    canvas.keys("y")
    canvas.saved()
    canvas.keys(".")
    page.locator(".lb-an-hint", has_text="list of suspicious labels is finished").wait_for()


def test_the_most_useful_images_come_first(discs, model, page, app):
    canvas = opened(page, app, 1)
    page.locator("[data-side=assist]").click()
    page.evaluate("() => { window.before = document.querySelector('.lb-an').lab.strip.images; }")
    page.get_by_role("button", name="Label the 20 most useful").click()
    page.locator(".lb-an-job", has_text="The 4 most useful images come first now").wait_for()
    page.wait_for_function("""() => { const {strip} = document.querySelector('.lb-an').lab;
        return strip.wanted.order === 'uncertain' && strip.images !== window.before; }""")
    order = page.evaluate("() => document.querySelector('.lb-an').lab.strip.images.map(([id]) => id)")
    assert sorted(order) == [1, 2, 3, 4]
    canvas.ready(order[0])
    canvas.keys("d")
    canvas.ready(order[1])
    page.locator("[data-do=filters]").click()
    page.get_by_label("Part of the file name").fill("scene2")
    page.get_by_label("Part of the file name").press("Enter")
    page.wait_for_function("() => document.querySelector('.lb-an').lab.strip.total === 1")
    canvas.ready(3)


def test_an_object_is_pointed_at_and_a_region_is_filled(discs, page, app):
    canvas = opened(page, app, 1)
    canvas.keys("q", "1")
    canvas.click(100, 120)
    page.locator(".lb-an-notice", has_text="Enter takes the outline").wait_for()
    page.wait_for_function("() => document.querySelector('.lb-an').lab.studio.tool.shown?.()")
    assert canvas.shapes() == []
    canvas.keys("Enter")
    near(canvas.shapes()[0]["box"], [60, 80, 141, 161], 3)
    assert canvas.shapes()[0]["kind"] == "polygon"
    canvas.keys("2", "f")
    canvas.click(100, 120)
    assert canvas.shapes()[1]["kind"] == "mask"
    near(canvas.shapes()[1]["box"], [60, 80, 141, 161], 1)
    canvas.saved()
    assert len(discs.row(1).labels) == 2


def test_from_bare_images_to_a_training(discs, pictures, page, app, tmp_path):
    page.open_tab("Data")
    page.locator("#lb-data-file").wait_for(state="hidden")  # folded away where there are sets
    page.get_by_role("button", name="Add a data set").click()
    page.locator("#lb-data-file input[type=file]").set_input_files(shutil.make_archive(str(tmp_path / "bare"), "zip", pictures))
    page.locator("#lb-data-seen .lb-good").wait_for()
    page.locator("#lb-data-import").click()
    page.locator("#lb-data-header", has_text="bare").wait_for()
    page.open_tab("Label")
    canvas = Canvas(page).ready()
    page.locator(".lb-an-classes").get_by_role("button", name="Paste a list of classes").last.click()
    page.get_by_label("Paste a list of classes").last.fill("disc\n正方形\n\ndisc\n")
    page.get_by_role("button", name="Add classes").click()
    page.locator(".lb-an-classes [data-class='1']", has_text="正方形").wait_for()
    for image in range(1, 5):
        canvas.ready(image)
        canvas.keys("r", "1")
        canvas.drag((60, 80), (140, 160))
        canvas.saved()
        canvas.keys("d")
    made = next(each for each in Workspace(app.workspace).datasets() if each.name == "bare")
    assert made.classes == ("disc", "正方形")
    assert [len(row.labels) for row in made.page(0, 10)] == [1] * 4
    page.open_tab("Train")
    page.locator("#lb-train-plan table").wait_for()
    page.locator("#lb-train-start:not([disabled])").wait_for()
