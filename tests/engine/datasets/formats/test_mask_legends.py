"""Names for the values and colours of masks, from the files that tools put beside them."""


import numpy as np
import pytest
from PIL import Image

from engine.datasets.formats import mask_png
from engine.datasets.formats.mask_codes import voc_colour
from engine.types import IGNORE
from tests.engine.datasets.formats.mask_sets import codes, maker_of, mask_of, read, shapes


@pytest.fixture
def masked(tmp_path, picture):
    return maker_of(tmp_path / "set", picture)


@pytest.mark.parametrize(("name", "text"), [
    ("labelmap.txt", "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:255,0,0::\ncar:0,255,0::\n"),
    ("label_colors.txt", "0 0 0\tbackground\n255 0 0\troad\n0 255 0\tcar\n"),
    ("class_dict.csv", "name,r,g,b\nbackground,0,0,0\nroad,255,0,0\ncar,0,255,0\n"),
    ("classes.json", '{"background": [0, 0, 0], "road": [255, 0, 0], "car": [0, 255, 0]}'),
    ("classes.json", '[{"name": "background", "color": "#000000"}, {"name": "road", "color": "#ff0000"}, {"name": "car", "color": [0, 255, 0]}]'),
    ("dataset_meta.json", '{"label_map": {"0": "background", "1": "road", "2": "car"}, '
                          '"segmentation_colors": [[0, 0, 0], [255, 0, 0], [0, 255, 0]]}'),
])
def test_colours_are_named_by_a_legend(masked, name, text):
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0]], np.uint8)
    root = masked(lambda k: colours[shapes(k, (1, 2))])
    (root / name).write_text(text, encoding="utf-8")
    found = read(root)
    assert found.classes == ("background", "road", "car")
    assert found.problems == []
    assert np.array_equal(mask_of(found, "s0"), shapes(0, (1, 2)))


@pytest.mark.parametrize(("name", "text"), [
    ("classes.txt", "background\nroad\ncar\n"), ("labels.txt", "0: background\n1: road\n2: car\n"),
    ("class_names.txt", "__ignore__\n_background_\nroad\ncar\n"),
    ("_classes.csv", "Pixel Value, Class\n0, background\n1, road\n2, car\n"), ("classes.json", '["background", "road", "car"]'),
    ("id2label.json", '{"0": "background", "1": "road", "2": "car"}'), ("classes.txt", "road\ncar\n"),
    ("dataset_meta.json", '{"label_map": {"0": "background", "1": "road", "2": "car"}}')])
def test_indices_are_named_by_a_legend(masked, name, text):
    root = masked(lambda k: shapes(k, (1, 2)))
    (root / name).write_text(text, encoding="utf-8")
    found = read(root)
    assert found.classes == ("background", "road", "car")
    assert np.array_equal(mask_of(found, "s0"), shapes(0, (1, 2)))


def test_colours_of_gray_name_the_values(masked):
    root = masked(lambda k: shapes(k, (1, 2)))
    (root / "obj_class_to_machine_color.json").write_text('{"car": [2, 2, 2], "road": [1, 1, 1]}')
    found = read(root)
    assert found.classes == ("background", "car", "road")
    assert np.array_equal(mask_of(found, "s0"), np.array([0, 2, 1])[shapes(0, (1, 2))])


def test_two_names_stand_for_0_and_255(masked):
    root = masked(lambda k: 255 - 255 * shapes(k))
    (root / "classes.txt").write_text("membrane\ncell\n")
    found = read(root)
    assert found.classes == ("membrane", "cell")
    assert found.problems == []
    (root / "classes.txt").write_text("cell\n")
    assert read(root).classes == ("background", "cell")


def test_names_that_do_not_fit_are_not_used(masked):
    root = masked(lambda k: 255 * shapes(k))
    (root / "classes.txt").write_text("\n".join(f"thing {k}" for k in range(80)))
    found = read(root)
    assert found.classes == ("background", "foreground")
    assert codes(found) == ["mask_legend_unused"]


def test_values_that_a_legend_forgot_are_named_by_number(masked):
    root = masked(lambda k: shapes(k, (1, 2, 3)))
    (root / "id2label.json").write_text('{"0": "background", "1": "road"}')
    found = read(root)
    assert found.classes == ("background", "road", "class 2", "class 3")
    assert codes(found) == ["mask_values_unnamed"]


def test_a_class_called_void_is_void_unless_it_covers_the_most(masked):
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0]], np.uint8)
    root = masked(lambda k: colours[shapes(k, (1, 2))])
    (root / "label_colors.txt").write_text("0 0 0 ground\n255 0 0 void\n0 255 0 car\n")
    found = read(root)
    assert found.classes == ("ground", "car")
    assert (mask_of(found, "s0") == IGNORE).sum() == (shapes(0, (1,)) == 1).sum()
    (root / "label_colors.txt").write_text("0 0 0 void\n255 0 0 road\n0 255 0 car\n")
    assert read(root).classes == ("void", "road", "car")


def test_the_pascal_voc_palette_is_the_published_one():
    assert [f"{voc_colour(index):06x}" for index in (0, 1, 2, 3, 15, 20)] == ["000000", "800000", "008000", "808000", "c08080", "004080"]
    assert voc_colour(255) == 0xE0E0C0


@pytest.mark.parametrize("name", ["背景", "背景类", "背景類", "Background", "BG", "_background_"])
def test_the_background_has_one_name_in_all_languages(tmp_path, picture, name):
    mask = np.zeros((48, 64), np.uint8)
    mask[5:20, 5:20] = 1
    picture(tmp_path / "images" / "a.jpg", 64, 48)
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks" / "a.png")
    (tmp_path / "classes.txt").write_text(f"{name}\n猫\n", encoding="utf-8")
    assert mask_png.read(tmp_path).classes == ("background", "猫")
