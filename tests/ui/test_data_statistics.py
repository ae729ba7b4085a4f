"""Plots: what they draw for which numbers, and that names in them stay text."""

import re

import numpy as np
import pytest

from engine.datasets.statistics import statistics
from engine.datasets.store import Dataset
from engine.types import Instances, Reading, Sample, SemanticMask, Tags
from engine.workspace import Workspace
from ui import charts
from ui.charts import Cloud, Row
from ui.pages.data import statistics as page
from ui.pages.data.statistics import View

SERIES = {"train": ("train", "red"), "valid": ("valid", "blue")}


@pytest.fixture
def made(tmp_path, picture):
    workspace = Workspace(tmp_path / "workspace")

    def make(labels, classes, task):
        files = [picture(tmp_path / f"{i}.png", seed=i) for i in range(len(labels))]
        samples = [Sample(file, (64, 48), labels[i], ("train", "valid")[i % 2], name=file.name) for i, file in enumerate(files)]
        return Dataset.create(workspace.root / "datasets" / "one", "one", Reading(classes, iter(samples), task))
    return make


def widths(markup):
    return [float(width) for width in re.findall(r'<rect [^>]*width="([\d.]+)%"', markup)]


def test_bars_are_as_long_as_their_numbers():
    drawn = charts.bars([Row("a", {"train": 100, "valid": 50}, "150"), Row("b", {"train": 25}, "25")], SERIES, "classes")
    assert widths(drawn) == [100.0, 50.0, 25.0, 0.0]
    assert "a · train: 100" in drawn and 'aria-label="classes"' in drawn


def test_a_log_scale_keeps_the_rare_in_sight():
    assert charts._length(1, 100_000, True) > 0.05 > charts._length(1, 100_000, False) > 0
    assert charts._length(100_000, 100_000, True) == charts._length(100_000, 100_000, False) == 1.0
    assert charts._length(0, 10, True) == charts._length(3, 0, False) == 0.0


def test_series_without_any_number_are_left_out():
    assert "valid" not in charts.bars([Row("a", {"train": 1})], SERIES, "classes")
    assert "lb-legend" in charts.bars([Row("a", {"train": 1, "valid": 2})], SERIES, "classes")


def test_many_rows_are_cut_and_that_is_said():
    rows = [Row(f"c{i}", {"train": i}) for i in range(charts.MOST_ROWS + 3)]
    drawn = charts.bars(rows, SERIES, "classes", more="and 3 more")
    assert drawn.count('role="listitem"') == charts.MOST_ROWS and "and 3 more" in drawn


def test_the_brightest_cell_is_the_one_with_most():
    grid = np.zeros((4, 4))
    grid[1, 2], grid[3, 0] = 8, 2
    drawn = charts.heat(grid, "where", unit="{n} objects")
    strengths = dict(re.findall(r'x="(\d+)" y="\d+" width="1" height="1" fill="#EDEDED" fill-opacity="([\d.]+)"', drawn))
    assert strengths["2"] == "1.00" and float(strengths["0"]) < 0.5
    assert drawn.count("<rect") == 2 and "8 objects" in drawn


def test_where_everything_is_covered_only_differences_are_bright():
    drawn = charts.heat(np.array([[100, 101], [100, 104]]), "where")
    assert sorted(re.findall(r'fill-opacity="([\d.]+)"', drawn)) == ["0.10", "0.10", "0.33", "1.00"]


def test_a_fine_grid_is_drawn_coarsely_with_its_mean():
    coarse = charts.coarse(np.full((64, 64), 7))
    assert max(coarse.shape) <= charts.CELLS and np.allclose(coarse, 7)
    assert charts.heat(np.zeros((0, 0)), "nothing").count("<rect") == 0


def test_dots_lie_on_log_axes_inside_the_plot():
    cloud = Cloud("car", "red", [(1.0, 1.0), (1e-9, 0.5), (5.0, 0.1)])
    drawn = charts.scatter([cloud], "sizes", x_name="width", y_name="height", small=(0.0125, "tiny"))
    dots = [tuple(map(float, each)) for each in re.findall(r"M([\d.]+) ([\d.]+)h0", drawn)]
    assert dots[0] == (100.0, 0.0) and all(0 <= x <= 100 and 0 <= y <= 100 for x, y in dots)
    assert "lb-chart-band" in drawn and "tiny" in drawn and "<title>car</title>" in drawn


def test_columns_have_a_title_each_and_ticks_where_they_belong():
    drawn = charts.columns([0, 4, 2], ["0", "1", "2"], "objects", ticks=[(0.5, "1")])
    assert drawn.count("<rect") == 2 and "1: 4" in drawn and "left:50.0%" in drawn


def test_a_matrix_shows_pairs_and_its_diagonal_apart():
    drawn = charts.matrix(["a", "<b>"], np.array([[5, 2], [2, 3]]), "together")
    assert drawn.count("lb-diagonal") == 2 and drawn.count("color-mix") == 2
    assert "a + &lt;b&gt;: 2" in drawn and "<b>" not in drawn


def test_names_in_plots_stay_text():
    evil = '<script>x</script>"'
    row = charts.bars([Row(evil, {"train": 1}, evil)], {"train": (evil, "red")}, evil)
    dots = charts.scatter([Cloud(evil, "red", [(0.5, 0.5)])], evil, x_name=evil, y_name=evil)
    assert "<script>" not in row + dots + charts.columns([1], [evil], evil) + charts.matrix([evil, evil], np.eye(2), evil)


def test_a_set_of_boxes_gets_all_plots_of_boxes(made):
    dataset = made([Instances([[0, 0, 32, 24], [10, 10, 12, 12]], [0, 1])] * 3, ("car", "<i>cone"), "detect")
    drawn = page.plots_html(statistics(dataset), dataset.task, View(), "en")
    for title in ("Objects of each class", "Where objects lie", "Sizes of objects", "Objects in an image", "Side of objects", "Shape of objects",
                  "Image sizes"):
        assert title in drawn
    assert "<i>cone" not in drawn and "2.0 on average, 2 at most" in drawn


def test_a_class_may_be_looked_at_alone_and_an_unknown_one_is_all(made):
    facts = statistics(made([Instances([[0, 0, 32, 24], [40, 30, 60, 44]], [0, 1])], ("car", "cone"), "detect"))
    everything, alone = (page.plots_html(facts, "detect", View(heat=heat), "en") for heat in ("", "1"))
    assert '<option value="1" selected>' in alone and "#56B4E9" in alone
    assert page.plots_html(facts, "detect", View(heat="99; x"), "en") == everything


def test_what_a_browser_chose_is_read_with_care():
    assert View.of({"form": {"heat": "3", "log": ["1"]}}) == View("3", True)
    assert View.of({"form": {"heat": "3", "log": []}}) == View("3", False)
    assert View.of({}) == View.of({"form": "x"}) == View("", False)


def test_bars_turn_logarithmic_by_themselves_when_classes_differ_much():
    assert page.imbalanced([3000, 10]) and not page.imbalanced([30, 10, 0]) and not page.imbalanced([])


def test_tags_get_a_table_of_pairs(made):
    dataset = made([Tags(np.array([1, 1, 0])), Tags(np.array([1, 0, 0]))], ("a", "b", "c"), "classify")
    drawn = page.plots_html(statistics(dataset), dataset.task, View(), "en")
    assert "Images of each class" in drawn and "lb-matrix" in drawn and "a + b: 1" in drawn and "Sizes of objects" not in drawn


def test_masks_get_their_share_of_pixels(made):
    mask = np.zeros((48, 64), np.uint16)
    mask[:12] = 1
    dataset = made([SemanticMask(mask)], ("background", "road"), "semantic")
    drawn = page.plots_html(statistics(dataset), dataset.task, View(), "en")
    assert "Share of pixels" in drawn and "25.0 %" in drawn and "75.0 %" in drawn


def test_a_set_without_any_label_still_shows_its_images(made):
    dataset = made([None, None], ("a",), "detect")
    drawn = page.plots_html(statistics(dataset), dataset.task, View(), "en")
    assert "64 × 48" in drawn and "Where objects lie" not in drawn


@pytest.mark.parametrize(("sizes", "aspect"), [
    ((), 1.0), (((640, 480, 5),), 4 / 3), (((100, 100, 1), (200, 100, 3), (300, 100, 1)), 2.0), (((100, 100, 2), (300, 100, 2)), 2.0),
    (((10_000, 10, 4),), 4.0), (((10, 10_000, 4),), 0.4), (((5, 0, 1),), 4.0)])
def test_the_usual_aspect_is_the_median_over_images_within_what_a_page_can_show(sizes, aspect):
    assert page.usual_aspect(sizes) == pytest.approx(aspect)
