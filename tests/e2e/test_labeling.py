"""The labeling canvas in a real browser: draw, edit, undo, save, come back, export; by mouse, by touch, and without a connection."""

import contextlib
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
def tools(app, tmp_path):
    """Four images that nobody has labeled."""
    root = tmp_path / "set"
    (root / "train" / "images").mkdir(parents=True)
    for number in range(4):
        blocks = np.random.default_rng(number).integers(60, 200, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(blocks).resize(SIZE).save(root / "train" / "images" / f"img{number}.png")
    (root / "data.yaml").write_text(f"train: train/images\nnames: {json.dumps(CLASSES)}\n", encoding="utf-8")
    return Workspace(app.workspace).import_dataset(root, "tools")[0]


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

    def scale(self):
        return self.page.evaluate("() => document.querySelector('.lb-an').lab.studio.view.scale")

    def zoom(self, scale, x, y):
        """By the wheel, around a point of the image; to the scale exactly."""
        for _ in range(60):
            now = self.scale()
            if abs(now / scale - 1) < 1e-6:
                break
            self.page.mouse.move(*self.place(x, y))
            self.page.mouse.wheel(0, float(np.clip(-np.log(scale / now) / 0.0018, -120, 120)))
            self.page.wait_for_timeout(30)
        assert self.scale() == pytest.approx(scale, rel=1e-3)


def near(found, wanted, most):
    assert np.abs(np.array(found, float).ravel() - np.array(wanted, float).ravel()).max() <= most, (found, wanted)


def test_labels_are_drawn_edited_and_exported(tools, page, tmp_path):
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
    exports_what_was_drawn(tools, tmp_path)
    assert not page.foreign, "the page asked other hosts"


def draws_a_box_a_polygon_on_it_and_a_stroke(canvas):
    canvas.zoom(1, 200, 150)
    canvas.keys("r", "2")
    canvas.drag((40.4, 30.2), (160.7, 120.9))
    canvas.keys("p", "1")
    for x, y in ((160.7, 120.9), (250, 70), (240, 200), (90, 120.9)):
        canvas.click(x, y)  # the first vertex lies on a corner of the box, the last one on a side of it
    canvas.keys("Enter", "m", "3")
    canvas.drag((300, 220), (350, 250))
    found = canvas.shapes()
    assert [(shape["kind"], shape["cls"]) for shape in found] == [("box", 1), ("polygon", 0), ("mask", 2)]
    near(found[0]["box"], [40.4, 30.2, 160.7, 120.9], 1)
    near(found[1]["rings"][0], [160.7, 120.9, 250, 70, 240, 200, 90, 120.9], 1)


def edits_a_vertex(canvas):
    canvas.keys("v")
    canvas.click(200, 150)
    canvas.drag((250, 70), (270, 40))
    near(canvas.shapes()[1]["rings"][0], [160.7, 120.9, 270, 40, 240, 200, 90, 120.9], 1)


def undoes_three_and_redoes_two(canvas):
    canvas.keys("Control+z", "Control+z", "Control+z")
    assert [shape["kind"] for shape in canvas.shapes()] == ["box"]
    canvas.keys("Control+y", "Control+y")
    assert [shape["kind"] for shape in canvas.shapes()] == ["box", "polygon", "mask"]
    near(canvas.shapes()[1]["rings"][0], [160.7, 120.9, 250, 70, 240, 200, 90, 120.9], 1)


def goes_on_and_zooms_in(canvas, first):
    canvas.keys("d")
    canvas.ready(first + 1)
    canvas.zoom(4, 200, 150)
    canvas.keys("r", "1")
    canvas.drag((180.2, 140.3), (220.6, 160.8))
    near(canvas.shapes()[0]["box"], [180.2, 140.3, 220.6, 160.8], 0.25)
    canvas.keys("p", "2")
    for x, y in ((165.5, 125.5), (180.2, 140.3), (170.1, 165.4)):
        canvas.click(x, y)
    canvas.keys("Enter")
    near(canvas.shapes()[1]["rings"][0], [165.5, 125.5, 180.2, 140.3, 170.1, 165.4], 0.25)
    canvas.saved()


def exports_what_was_drawn(dataset, folder):
    out = folder / "coco"
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
    near(found["img0"][1][1]["segmentation"][0], [160.7, 120.9, 250, 70, 240, 200, 90, 120.9], 1)
    x, y, w, h = found["img1"][0][1]["bbox"]
    near([x, y, x + w, y + h], [180.2, 140.3, 220.6, 160.8], 0.25)
    near(found["img1"][1][1]["segmentation"][0], [165.5, 125.5, 180.2, 140.3, 170.1, 165.4], 0.25)


def test_a_lost_connection_and_a_killed_app_lose_nothing(tools, page, app):
    """The tab stays open all the while: the page comes back by itself, and what the browser kept is sent."""
    page.open_tab("Label")
    canvas = Canvas(page).ready()
    for edit in range(2):
        canvas.keys("r")
        canvas.drag((20, 20 + 40 * edit), (60, 50 + 40 * edit))
        canvas.saved()
        app.kill()
        assert len(tools.row(1).labels) == 3 * edit + 1
        canvas.drag((100, 20 + 40 * edit), (160, 50 + 40 * edit))
        page.locator(".lb-an-saved[data-state=lost]", has_text="Not saved").wait_for()
        canvas.drag((200, 20 + 40 * edit), (260, 50 + 40 * edit))
        app.start()
        for _ in range(60):
            if len(tools.row(1).labels) == 3 * edit + 3:
                break
            page.wait_for_timeout(1000)
        assert len(tools.row(1).labels) == 3 * edit + 3
        page.wait_for_timeout(3000)  # Gradio reloads the page when its server is a new one
        canvas.ready(1)


def test_rapid_edits_of_two_people_are_all_stored(tools, browser, page, app):
    """100 each, on images of their own and then on the same one, where they are asked each time."""
    page.goto(f"{app.url}/?lang=en&tab=label&image=1")
    other = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-US").new_page()
    other.goto(f"{app.url}/?lang=en&tab=label&image=2")
    mine, theirs = Canvas(page).ready(1), Canvas(other).ready(2)
    draw = """async ([count, offset]) => { const {studio} = document.querySelector('.lb-an').lab;
        document.querySelector('.lb-an').lab.act('box');
        for (let i = 0; i < count; i += 1) {
            const at = [5 + (i % 10) * 30, 5 + Math.floor(i / 10) * 25 + offset];
            studio.tool.down(at, {}); studio.tool.move([at[0] + 10, at[1] + 8], {}); studio.tool.up([at[0] + 10, at[1] + 8], {});
            await new Promise((done) => setTimeout(done, 10));
        } }"""
    both = """() => { setInterval(() => { const button = [...document.querySelectorAll('.lb-an-notice:not([hidden]) button')]
        .find((each) => each.textContent === 'Keep both'); button?.click(); }, 50); }"""
    for _ in range(5):
        mine.page.evaluate(draw, [10, 0])
        theirs.page.evaluate(draw, [10, 0])
    for canvas in (mine, theirs):
        canvas.saved()
    assert [len(tools.row(image).labels) for image in (1, 2)] == [50, 50]
    page.goto(f"{app.url}/?lang=en&tab=label&image=3")
    other.goto(f"{app.url}/?lang=en&tab=label&image=3")
    for canvas in (mine.ready(3), theirs.ready(3)):
        canvas.page.evaluate(both)
    for turn in range(5):
        mine.page.evaluate(draw, [10, 0.5 + turn])
        theirs.page.evaluate(draw, [10, 10.5 + turn])
    app.wait_for(lambda: len(tools.row(3).labels or ()) == 100, "all boxes of both", 60)
    other.context.close()


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


class Fingers(Canvas):
    """The same by touch events."""

    def __init__(self, page, wire):
        super().__init__(page)
        self.wire = wire

    def touch(self, kind, *points):
        self.wire.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y, "id": n} for n, (x, y) in enumerate(points)]})

    def slide(self, *points):
        self.touch("touchStart", self.place(*points[0]))
        for point in points[1:]:
            self.touch("touchMove", self.place(*point))
        self.touch("touchEnd")

    def tap(self, *selectors):
        for selector in selectors:
            self.page.locator(selector).tap()

    def tool(self, name):
        """Takes a tool and waits until it is taken: a tap becomes a click a moment later, or on a busy machine not at all."""
        for _ in range(4):
            self.tap(f"[data-tool={name}]")
            with contextlib.suppress(Exception):
                self.page.wait_for_selector(f"[data-tool={name}][aria-pressed=true]", timeout=3000)
                return
        raise AssertionError(f"{name} was not taken")

    def holds(self, count):
        """A tap becomes a click a moment later."""
        self.page.wait_for_function("(count) => document.querySelector('.lb-an').lab.studio.doc.shapes.length === count", arg=count, timeout=5000)

    def step(self, what, edits):
        """One step of undo or redo, after which so many edits are left to undo. A tap that a busy machine took for a long press is tried again."""
        for _ in range(4):
            self.tap(f"[data-do={what}]")
            with contextlib.suppress(Exception):
                self.page.wait_for_function("(edits) => document.querySelector('.lb-an').lab.studio.history.past.length === edits", arg=edits,
                                            timeout=3000)
                return
        raise AssertionError(f"{what} by touch did nothing")

    def choose(self, name):
        self.page.locator(".lb-an-quick").select_option(name)

    def spread(self, factor, x, y):
        """Two fingers around a point of the image."""
        middle, gap = self.place(x, y), 40 if factor > 1 else 120
        self.touch("touchStart", (middle[0] - gap, middle[1]), (middle[0] + gap, middle[1]))
        for step in np.linspace(1, factor, 5)[1:]:
            self.touch("touchMove", (middle[0] - gap * step, middle[1]), (middle[0] + gap * step, middle[1]))
        self.touch("touchEnd")
        near(self.place(x, y), middle, 2)


def test_labels_are_drawn_by_touch_on_a_narrow_screen(tools, browser, app, tmp_path):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, locale="en-US")
    page = context.new_page()
    page.goto(f"{app.url}/?lang=en&tab=label&image=1")
    canvas = Fingers(page, context.new_cdp_session(page)).ready(1)
    touched_shapes(canvas)
    canvas.tool("select")
    canvas.slide((200, 150))
    canvas.slide((250, 70), (260, 60), (270, 40))
    near(canvas.shapes()[1]["rings"][0], [160.7, 120.9, 270, 40, 240, 200, 90, 120.9], 1.5)
    for edits in (3, 2, 1):
        canvas.step("undo", edits)
    canvas.holds(1)
    for edits in (2, 3):
        canvas.step("redo", edits)
    canvas.holds(3)
    near(canvas.shapes()[1]["rings"][0], [160.7, 120.9, 250, 70, 240, 200, 90, 120.9], 1)
    canvas.saved()
    canvas.tap("[data-do=next]")
    canvas.ready(2)
    zoomed_to_four(canvas)
    canvas.holds(2)
    canvas.saved()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    page.reload()
    canvas.ready(2)
    assert len(canvas.shapes()) == 2
    exports_what_was_drawn(tools, tmp_path)
    context.close()


def touched_shapes(canvas):
    """As by mouse; the view is at 0.9, and 1 image pixel is 0.9 of the screen."""
    canvas.choose("tumor")
    canvas.tool("box")
    canvas.slide((40.4, 30.2), (100, 80), (160.7, 120.9))
    canvas.choose("剪刀")
    canvas.tool("polygon")
    for point in ((160.7, 120.9), (250, 70), (240, 200), (90, 120.9)):
        canvas.slide(point)
    canvas.slide((160.7, 120.9))  # on the first vertex again: that closes it
    canvas.choose("<b>x</b>")
    canvas.tool("brush")
    canvas.slide((300, 220), (320, 230), (350, 250))
    canvas.holds(3)
    found = canvas.shapes()
    assert [(shape["kind"], shape["cls"]) for shape in found] == [("box", 1), ("polygon", 0), ("mask", 2)]
    near(found[0]["box"], [40.4, 30.2, 160.7, 120.9], 1)


def zoomed_to_four(canvas):
    before = canvas.scale()
    canvas.spread(3, 200, 150)
    assert canvas.scale() == pytest.approx(3 * before, rel=0.05)
    canvas.spread(4 / canvas.scale(), 200, 150)
    assert canvas.scale() == pytest.approx(4, rel=0.05)
    assert canvas.shapes() == []
    canvas.choose("剪刀")
    canvas.tool("box")
    canvas.slide((180.2, 140.3), (200, 150), (220.6, 160.8))
    canvas.choose("tumor")
    canvas.tool("polygon")
    for point in ((165.5, 125.5), (180.2, 140.3), (170.1, 165.4), (165.5, 125.5)):
        canvas.slide(point)


def test_shapes_are_changed_copied_hidden_and_locked(tools, page, app):
    page.goto(f"{app.url}/?lang=en&tab=label&image=1")
    canvas = Canvas(page).ready(1)
    kinds = lambda: [shape["kind"] for shape in canvas.shapes()]  # noqa: E731
    canvas.keys("r", "1")
    canvas.drag((50, 50), (150, 150))
    canvas.drag((120, 80), (250, 180))
    canvas.keys("v")
    canvas.drag((30, 30), (300, 250))  # a frame around both
    canvas.keys("j")
    assert kinds() == ["polygon"]
    canvas.keys("o")
    for point in ((70, 70), (100, 70), (100, 100), (70, 100)):
        canvas.click(*point)
    canvas.keys("Enter")
    assert page.evaluate("() => document.querySelector('.lb-an').lab.studio.doc.shapes[0].holes.length") == 1
    canvas.click(200, 130)
    canvas.keys("u", "k")
    assert kinds() == ["polygon", "polygon"]
    canvas.keys("w")
    assert kinds() == ["mask", "mask"]
    canvas.keys("Control+d", "3")
    assert len(kinds()) == 4
    canvas.keys("Delete", "l")
    assert len(kinds()) == 2
    canvas.keys("h")
    assert page.evaluate("() => document.querySelector('.lb-an').lab.studio.shown().length") == 0
    canvas.keys("h", "t", "Control+a", "l")
    canvas.drag((200, 130), (220, 160))
    canvas.saved()
    before = canvas.shapes()
    canvas.keys("d")
    canvas.ready(2)
    canvas.keys("Control+p")
    canvas.saved()
    assert [shape["box"] for shape in canvas.shapes()] == [shape["box"] for shape in before]
    page.locator("[aria-label='Display']").first.click()
    for name, value in (("Brightness", "40"), ("Contrast", "30"), ("Window: darkest", "20"), ("Window: brightest", "200")):
        page.get_by_label(name).fill(value)
    canvas.keys("?")
    page.locator("dialog[open]", has_text="Point at an object").wait_for()
    canvas.keys("Escape")
    assert len(tools.row(2).labels) == len(before)
