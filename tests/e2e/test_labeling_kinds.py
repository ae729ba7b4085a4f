"""Beside the canvas, with models that were really trained: painted areas and tags are suggested; labels of another kind; a cross-check."""

import re

import cv2
import numpy as np
import pytest
from PIL import Image

from engine import runs, suggest_jobs
from engine.config import TrainConfig
from engine.datasets import labeling_suggested
from engine.datasets.outlines import box_of, rle_of_mask
from engine.datasets.store import Dataset
from engine.train import train
from engine.types import NOTHING, RLE, Instances, Polygons, Reading, Sample, SemanticMask, Tags
from engine.workspace import Workspace
from tests.e2e.conftest import App
from tests.e2e.test_labeling import Canvas

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
SIZE = (128, 96)
TRAINED, OPEN = 8, 2  # images with labels, and without
TINY = {"weights": "none", "epochs": 2, "batch": 1, "image_size": 64, "lr": 3e-3, "backbone_lr": 3e-3, "ema": 0.5, "augment": "none",
        "precision": "none", "layout": "contiguous", "device": "cpu"}


def scene(folder, number):
    """A disc and a square on noise; (file, pixels bool[H,W] of each)."""
    random, file = np.random.default_rng(number), folder / f"{number}.png"
    pixels, areas = random.integers(0, 40, (SIZE[1], SIZE[0], 3), dtype=np.uint8), np.zeros((2, SIZE[1], SIZE[0]), np.uint8)
    x, y = int(random.integers(70, 106)), int(random.integers(24, 72))
    cv2.circle(areas[0], (x, y), 20, 1, -1)
    cv2.rectangle(areas[1], (8, 8 + 4 * number), (40, 40 + 4 * number), 1, -1)
    pixels[areas[0] > 0], pixels[areas[1] > 0] = (230, 180, 40), (40, 180, 240)
    Image.fromarray(pixels).save(file)
    return file, areas.astype(bool)


def painted(areas):
    classes = np.full(SIZE[::-1], NOTHING, np.uint16)
    classes[areas[0]], classes[areas[1]] = 0, 1
    return SemanticMask(classes=classes)


def outlined(areas):
    """The square is a polygon that lies loosely in its box."""
    x1, y1, x2, y2 = box_of(rle_of_mask(areas[1]))
    square = Polygons((np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], float),))
    return Instances([box_of(rle_of_mask(areas[0])), [x1 - 4, y1 - 4, x2, y2]], [0, 1], None, (rle_of_mask(areas[0]), square))


LABELS = {"semantic": painted, "classify": lambda areas: Tags(np.array([1, 1])), "instance": outlined}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A painted set and one of tags, with a tiny model of each, and one with outlines."""
    root = tmp_path_factory.mktemp("kinds")
    made = Workspace(root / "workspace")
    scenes = [scene(root, number) for number in range(TRAINED + OPEN)]
    for task, labels in LABELS.items():
        known = len(scenes) if task == "instance" else TRAINED
        samples = [Sample(file, SIZE, labels(areas) if number < known else None, "train" if number < TRAINED - 2 else "valid", None, file.name)
                   for number, (file, areas) in enumerate(scenes)]
        with made.stage() as stage:
            made.adopt(Dataset.create(stage / task, task, Reading(("disc", "square"), iter(samples), task)))
    learn(made, "semantic", model="unet", options={"architecture": "linknet", "encoder": "resnet18"})
    learn(made, "classify", model="timm", options={"backbone": "resnet18", "mode": "multilabel"})
    return made


def learn(workspace, task, **settings):
    config = TrainConfig(**{**TINY, **settings}, task=task, data=str(workspace.dataset(task).folder))
    run = runs.create(workspace.runs_folder / f"tiny-{task}", config)
    for event in train(run.config(), run.folder):
        if event.kind == "recorded":
            run.write_config(event.values["config"])
    run.write_state(phase="done")


@pytest.fixture(scope="module")
def app(workspace):
    served = App(workspace.runs_folder.parent)
    yield served
    served.kill()


def opened(page, app, dataset, image):
    page.goto(f"{app.url}/?lang=en&tab=label&dataset={dataset}&image={image}")
    canvas = Canvas(page).ready(image)
    page.wait_for_function("() => document.querySelector('.lb-an').lab.assist.shownModels")
    return canvas


def waiting(page):
    return page.evaluate("() => document.querySelector('.lb-an').lab.studio.waiting().map(({kind, cls, score}) => [kind, cls, score])")


def test_painted_areas_are_suggested_and_one_class_is_accepted(workspace, page, app, tmp_path):
    dataset, image = workspace.dataset("semantic"), TRAINED + 1
    canvas = opened(page, app, "semantic", image)
    canvas.keys("i")
    page.wait_for_function("() => document.querySelector('.lb-an').lab.studio.waiting().length", timeout=120_000)
    found = waiting(page)
    assert sorted((kind, cls) for kind, cls, _ in found) == [("mask", 0), ("mask", 1)] and all(0.25 <= score <= 1 for *_, score in found)
    assert all(re.search(r"\d+%", text) for text in page.locator(".lb-an-shapes .lb-an-row").all_text_contents())
    assert dataset.row(image).labels is None and labeling_suggested.of(dataset, image).source == "tiny-semantic"
    page.locator(".lb-an-shapes .lb-an-row", has_text="square").click()
    canvas.keys(" ")
    canvas.saved()
    assert [cls for _, cls, _ in waiting(page)] == [0]
    truth = scene(tmp_path, image - 1)[1][1]
    kept = np.asarray(dataset.row(image).labels.classes)
    assert set(np.unique(kept)) == {1, NOTHING} and (truth & (kept == 1)).sum() > 0.5 * truth.sum()
    assert [each["cls"] for each in labeling_suggested.of(dataset, image).shapes] == [0]
    canvas.keys("Control+z")
    canvas.saved()
    assert dataset.row(image).labels is None and len(waiting(page)) == 2


def test_tags_are_suggested_and_one_is_accepted(workspace, page, app):
    dataset, image = workspace.dataset("classify"), TRAINED + 1
    canvas = opened(page, app, "classify", image)
    page.locator(".lb-an-cutoff input").fill("0.1")
    canvas.keys("i")
    page.wait_for_function("() => document.querySelector('.lb-an').lab.studio.hints().length === 2", timeout=120_000)
    hints = page.locator(".lb-an-tag-hint")
    assert hints.evaluate_all("(all) => all.every((each) => getComputedStyle(each).borderStyle === 'dashed' && /^\\d+%$/.test(each.textContent))")
    assert dataset.row(image).labels is None
    page.locator(".lb-an-classes [data-class='1']").click()
    canvas.saved()
    assert hints.count() == 1
    values = dataset.row(image).labels.values
    assert values[1] == 1 and np.isnan(values[0])
    tags = labeling_suggested.of(dataset, image).tags
    assert tags[1] is None and tags[0] >= 0.1


def test_labels_of_another_kind_are_filled_in_for_one_image_and_for_all_and_taken_back(workspace, page, app):
    dataset = workspace.dataset("instance")
    canvas = opened(page, app, "instance", 2)
    page.locator("[data-do=derive]").click()
    page.get_by_role("button", name=f"All {TRAINED + OPEN} images that would change").first.wait_for()
    kinds = page.locator("[data-derive$='/one']").evaluate_all("(all) => all.map((each) => each.dataset.derive)")
    assert kinds == ["boxes_from_masks/one", "masks_from_polygons/one", "polygons_from_masks/one"]
    page.locator("[data-derive='masks_from_polygons/one']").click()
    page.locator(".lb-an-badge", has_text="derived").wait_for()
    assert [isinstance(dataset.row(image).labels.shapes[1], RLE) for image in (1, 2, 3)] == [False, True, False]
    at = page.evaluate("() => { const {studio} = document.querySelector('.lb-an').lab, [x1, y1, x2, y2] = studio.doc.shapes[1].box; "
                       "return [(x1 + x2) / 2, (y1 + y2) / 2]; }")
    page.mouse.move(*canvas.place(*at))
    page.wait_for_function("() => document.querySelector('.lb-an-stage').title.includes('nobody has edited it')")
    page.locator("[data-do=derive]").click()
    page.get_by_role("button", name=f"All {TRAINED + OPEN - 1} images that would change").click()
    page.locator(".lb-an-notice", has_text=f"Filled in labels of {TRAINED + OPEN - 1} images").wait_for()
    assert all(isinstance(dataset.row(image).labels.shapes[1], RLE) for image in dataset.ids())
    page.locator(".lb-an-notice").get_by_role("button", name="Undo").click()
    page.locator(".lb-an-hint", has_text="Undone").wait_for()
    assert [isinstance(dataset.row(image).labels.shapes[1], RLE) for image in (1, 2, 3)] == [False, True, False]
    canvas.ready(2)


def test_label_errors_are_found_by_models_that_are_trained_for_it(workspace, page, app):
    dataset = workspace.dataset("instance")
    opened(page, app, "instance", 1)
    page.locator("[data-side=assist]").click()
    page.get_by_role("button", name="Find label errors by cross-checking").click()
    page.get_by_role("dialog").get_by_text(re.compile(r"3 times, for 10 labeled images: about 15 minutes")).wait_for()
    page.get_by_label("minutes of training in total").fill("1")
    page.get_by_role("button", name="Start cross-checking").click()
    page.locator(".lb-an-job", has_text=re.compile(r"Cross-checking: \d+% \(model 1 of 3\)")).wait_for()
    page.locator(".lb-an-job").get_by_role("button", name="Cancel").click()
    page.locator(".lb-an-job", has_text="Stopped. Start it again").wait_for(timeout=60_000)
    assert suggest_jobs.state(dataset)["phase"] == "stopped" and suggest_jobs.state(dataset)["work"] == "kfold"
    suggest_jobs.start(workspace, dataset.id, "", work="kfold", folds=2, minutes=0.1, image_size=64)
    opened(page, app, "instance", 1)
    page.locator("[data-suspect]").first.wait_for()
    page.locator(".lb-an-job", has_text="suspicious labels in").wait_for()
    assert page.locator("[data-suspect]").first.is_visible()
    assert not (dataset.folder / "cross-checking").exists()
    assert not page.foreign, "the page asked other hosts"
