"""The form of Train in a real browser: what a person chooses stays, and the page comes to rest."""

import contextlib

import numpy as np
import pytest
from PIL import Image

from engine.datasets.outlines import rle_of_mask
from engine.datasets.store import Dataset
from engine.types import Instances, Reading, Sample
from engine.workspace import Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
CARD = "#lb-train-model label:has(input[value={}])"


@pytest.fixture(scope="module")
def sets(app, tmp_path_factory):
    """One with outlines, for which models of two tasks suit, and a newer one with boxes only."""
    workspace, folder = Workspace(app.workspace), tmp_path_factory.mktemp("pictures")
    for name, outlined in (("outlined", True), ("boxed", False)):
        samples = [sample(folder / f"{name}{number}.png", number, outlined) for number in range(8)]
        with workspace.stage() as stage:
            workspace.adopt(Dataset.create(stage / name, name, Reading(("disc",), iter(samples), "instance" if outlined else "detect")))
    return {each.name: each.id for each in workspace.datasets()}


def sample(file, number, outlined):
    area = np.zeros((48, 64), bool)
    area[8 + number : 24 + number, 10:30] = True
    Image.fromarray(np.where(area[..., None], 200, np.random.default_rng(number).integers(0, 60, (48, 64, 3))).astype(np.uint8)).save(file)
    found = Instances([[10, 8 + number, 30, 24 + number]], [0], None, (rle_of_mask(area),) if outlined else None)
    return Sample(file, (64, 48), found, "train" if number < 6 else "valid", None, file.name)


def opened(page, app, dataset):
    page.goto(f"{app.url}/?lang=en&tab=train&train=new&dataset={dataset}")
    page.locator("#lb-train-plan table").wait_for()


def rests(page):
    """No event is sent any more. The page's heartbeat is none."""
    sent = []
    page.on("request", lambda request: sent.append(request.url) if "/queue/join" in request.url or "/run/predict" in request.url else None)
    for _ in range(30):
        sent.clear()
        page.wait_for_timeout(2000)
        if not sent:
            return True
    return False


def chosen(page):
    return page.locator("#lb-train-model input:checked").get_attribute("value")


def test_a_chosen_model_stays_and_the_page_comes_to_rest(sets, page, app):
    opened(page, app, sets["outlined"])
    page.locator(CARD.format("deimv2_atto")).click()
    page.locator(CARD.format("deimv2_femto")).click()
    page.locator(CARD.format("deimv2_pico")).click()
    assert rests(page), "events call each other for ever"
    assert chosen(page) == "deimv2_pico"
    page.reload()
    page.locator("#lb-train-plan table").wait_for()
    assert rests(page) and chosen(page) == "deimv2_pico"


def test_a_model_that_is_chosen_while_another_set_comes_stays(sets, page, app):
    opened(page, app, sets["boxed"])
    assert rests(page), "events call each other for ever"
    with on_its_way(page):
        page.locator("#lb-dataset input").click()
        page.get_by_role("option", name="outlined", exact=True).click()
        page.locator(CARD.format("deimv2_femto")).click()
    page.locator(CARD.format("di_maskdino_atto")).wait_for()
    assert rests(page), "events call each other for ever"
    assert chosen(page) == "deimv2_femto"


@contextlib.contextmanager
def on_its_way(page):
    """What the page asks the server meanwhile is on its way until the end."""
    held = []
    page.route("**/gradio_api/**", lambda route: held.append(route) if route.request.method == "POST" else route.continue_())
    yield
    assert held
    page.unroute("**/gradio_api/**")  # which lets all of them go
