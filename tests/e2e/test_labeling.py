"""The labeling canvas in a real browser: draw, edit, undo, save, come back, export; by mouse, by touch, and without a connection."""

import json

import numpy as np
import pytest
from PIL import Image

from engine.datasets.formats import formats
from engine.workspace import Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
SIZE = (400, 300)
CLASSES = ("剪刀", "tumor", "<b>x</b>")


@pytest.fixture
def tools(tmp_path):
    """Four images that nobody has labeled."""
    root = tmp_path / "set"
    (root / "train" / "images").mkdir(parents=True)
    for number in range(4):
        blocks = np.random.default_rng(number).integers(60, 200, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(blocks).resize(SIZE).save(root / "train" / "images" / f"img{number}.png")
    (root / "data.yaml").write_text(f"train: train/images\nnames: {json.dumps(CLASSES)}\n", encoding="utf-8")
    return Workspace(tmp_path / "workspace").import_dataset(root, "tools")[0]


class Canvas:
    """Works on the canvas in pixels of the image."""

    def __init__(self, page):
        self.page = page

    def ready(self, image=None):
        self.page.wait_for_function("""(id) => { const lab = document.querySelector('.lb-an')?.lab;
            return lab?.studio.painter.picture && (!id || lab.image === id); }""", arg=image)
        self.page.wait_for_function("() => document.querySelector('.lb-an-stage').getBoundingClientRect().width > 50")
        return self

    def place(self, x, y):
        return self.page.evaluate("""([x, y]) => { const {left, top} = document.querySelector('.lb-an-stage').getBoundingClientRect();
            const [sx, sy] = document.querySelector('.lb-an').lab.studio.view.toScreen([x, y]); return [left + sx, top + sy]; }""", [x, y])

    def click(self, x, y):
        self.page.mouse.click(*self.place(x, y))

    def drag(self, *points):
        self.page.mouse.move(*self.place(*points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self.place(*point), steps=4)
        self.page.mouse.up()

    def keys(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def shapes(self):
        return self.page.evaluate("""() => document.querySelector('.lb-an').lab.studio.doc.shapes
            .map(({kind, cls, box, rings}) => ({kind, cls, box, rings}))""")

    def image(self):
        return self.page.evaluate("() => document.querySelector('.lb-an').lab.image")

    def saved(self):
        self.page.wait_for_function("() => !document.querySelector('.lb-an').lab.outbox.busy")
        self.page.locator(".lb-an-saved[data-state=saved]").wait_for()

    def zoom(self, scale, x, y):
        """By the wheel, around a point of the image."""
        for _ in range(60):
            now = self.page.evaluate("() => document.querySelector('.lb-an').lab.studio.view.scale")
            if now >= scale:
                break
            self.page.mouse.move(*self.place(x, y))
            self.page.mouse.wheel(0, -120)
            self.page.wait_for_timeout(30)


def near(found, wanted, most):
    assert np.abs(np.array(found, float).ravel() - np.array(wanted, float).ravel()).max() <= most, (found, wanted)


def test_labels_are_drawn_edited_and_exported(tools, page, app):
    page.open_tab("Label")
    canvas = Canvas(page).ready()
    first = canvas.image()
    draws_a_box_a_polygon_on_it_and_a_stroke(canvas)
    edits_a_vertex(canvas)
    undoes_three_and_redoes_two(canvas)
    canvas.saved()
    goes_on_and_zooms_in(canvas, first)
    page.reload()
    page.open_tab("Label")
    page.locator(".lb-an-strip [data-id]").first.click()
    canvas.ready(first)
    assert [shape["kind"] for shape in canvas.shapes()] == ["box", "polygon", "mask"]
    exports_what_was_drawn(tools, app.workspace)
    assert not page.foreign, "the page asked other hosts"


def draws_a_box_a_polygon_on_it_and_a_stroke(canvas):
    canvas.keys("r", "2")
    canvas.drag((40.4, 30.2), (160.7, 120.9))
    canvas.keys("p", "1")
    for x, y in ((100, 60), (250, 70), (240, 200), (90, 180)):
        canvas.click(x, y)
    canvas.keys("Enter", "m", "3")
    canvas.drag((300, 220), (350, 250))
    found = canvas.shapes()
    assert [(shape["kind"], shape["cls"]) for shape in found] == [("box", 1), ("polygon", 0), ("mask", 2)]
    near(found[0]["box"], [40.4, 30.2, 160.7, 120.9], 1)
    near(found[1]["rings"][0], [100, 60, 250, 70, 240, 200, 90, 180], 1)


def edits_a_vertex(canvas):
    canvas.keys("v")
    canvas.click(200, 150)
    canvas.drag((250, 70), (270, 40))
    near(canvas.shapes()[1]["rings"][0], [100, 60, 270, 40, 240, 200, 90, 180], 1)


def undoes_three_and_redoes_two(canvas):
    canvas.keys("Control+z", "Control+z", "Control+z")
    assert [shape["kind"] for shape in canvas.shapes()] == ["box"]
    canvas.keys("Control+y", "Control+y")
    assert [shape["kind"] for shape in canvas.shapes()] == ["box", "polygon", "mask"]
    near(canvas.shapes()[1]["rings"][0], [100, 60, 250, 70, 240, 200, 90, 180], 1)


def goes_on_and_zooms_in(canvas, first):
    canvas.keys("d")
    canvas.ready(first + 1)
    canvas.zoom(8, 200, 150)
    canvas.keys("r", "1")
    canvas.drag((180.2, 140.3), (220.6, 160.8))
    near(canvas.shapes()[0]["box"], [180.2, 140.3, 220.6, 160.8], 0.25)
    canvas.saved()


def exports_what_was_drawn(dataset, workspace):
    out = workspace.parent / "coco"
    out.mkdir()
    list(formats.get("coco").write(dataset.classes, dataset.samples(), out, "copy"))
    content = json.loads(next(out.rglob("*.json")).read_text(encoding="utf-8"))
    names = {category["id"]: category["name"] for category in content["categories"]}
    images = {image["id"]: image["file_name"] for image in content["images"]}
    found = {}
    for each in content["annotations"]:
        found.setdefault(next(part for part in ("img0", "img1") if part in images[each["image_id"]]), []).append((names[each["category_id"]], each))
    assert [name for name, _ in found["img0"]] == ["tumor", "剪刀", "<b>x</b>"]
    x, y, w, h = found["img0"][0][1]["bbox"]
    near([x, y, x + w, y + h], [40.4, 30.2, 160.7, 120.9], 1)
    near(found["img0"][1][1]["segmentation"][0], [100, 60, 250, 70, 240, 200, 90, 180], 1)
    x, y, w, h = found["img1"][0][1]["bbox"]
    near([x, y, x + w, y + h], [180.2, 140.3, 220.6, 160.8], 0.25)


def test_a_lost_connection_and_a_killed_app_lose_nothing(tools, page, app):
    page.open_tab("Label")
    canvas = Canvas(page).ready()
    canvas.keys("r")
    canvas.drag((20, 20), (60, 60))
    canvas.saved()
    app.kill()
    assert len(tools.page(0, 1)[0].labels) == 1
    canvas.drag((100, 100), (160, 160))
    page.locator(".lb-an-saved[data-state=lost]", has_text="Not saved").wait_for()
    app.start()
    page.goto(f"{app.url}/?lang=en&tab=label")  # as somebody would who comes back: what this browser kept is sent
    for _ in range(60):
        if len(tools.page(0, 1)[0].labels) == 2:
            break
        page.wait_for_timeout(1000)
    assert len(tools.page(0, 1)[0].labels) == 2


def test_two_people_on_one_image_are_told_and_both_versions_stay(tools, browser, page, app):
    page.open_tab("Label")
    mine = Canvas(page).ready()
    other = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-US").new_page()
    other.goto(f"{app.url}/?lang=en&tab=label")
    theirs = Canvas(other).ready(mine.image())
    mine.keys("r")
    theirs.keys("r")
    mine.drag((20, 20), (60, 60))
    mine.saved()
    theirs.drag((100, 100), (160, 160))
    other.locator(".lb-an-notice", has_text="Somebody else has changed this image").wait_for()
    assert len(tools.page(0, 1)[0].labels) == 1
    other.get_by_role("button", name="Keep both").click()
    theirs.saved()
    assert len(theirs.shapes()) == 2
    near(sorted(tools.page(0, 1)[0].labels.boxes.tolist()), [[20, 20, 60, 60], [100, 100, 160, 160]], 1)
    other.context.close()


def test_labels_are_drawn_by_touch_on_a_narrow_screen(tools, browser, app):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, locale="en-US")
    page = context.new_page()
    page.goto(f"{app.url}/?lang=en&tab=label")
    canvas, wire = Canvas(page).ready(), context.new_cdp_session(page)

    def touch(kind, *points):
        wire.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]})

    def slide(*points):
        touch("touchStart", canvas.place(*points[0]))
        for point in points[1:]:
            touch("touchMove", canvas.place(*point))
        touch("touchEnd")

    page.locator("[data-tool=box]").tap()
    slide((50, 50), (100, 80), (200, 150))
    page.locator("[data-tool=polygon]").tap()
    for point in ((100, 100), (300, 100), (300, 250)):
        slide(point)
    slide((100, 100))
    page.locator("[data-tool=brush]").tap()
    slide((320, 220), (340, 240), (360, 250))
    found = canvas.shapes()
    assert [shape["kind"] for shape in found] == ["box", "polygon", "mask"]
    near(found[0]["box"], [50, 50, 200, 150], 1.5)
    near(found[1]["rings"][0], [100, 100, 300, 100, 300, 250], 1.5)
    before, middle = page.evaluate("() => document.querySelector('.lb-an').lab.studio.view.scale"), canvas.place(200, 150)
    touch("touchStart", (middle[0] - 30, middle[1]), (middle[0] + 30, middle[1]))
    touch("touchMove", (middle[0] - 90, middle[1]), (middle[0] + 90, middle[1]))
    touch("touchEnd")
    assert page.evaluate("() => document.querySelector('.lb-an').lab.studio.view.scale") == pytest.approx(3 * before, rel=0.05)
    near(canvas.place(200, 150), middle, 2)
    assert len(canvas.shapes()) == 3
    canvas.saved()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    context.close()
