"""Heat maps and contours on pictures."""

import cv2
import numpy as np
import pytest

from engine.datasets.outlines import mask_of, rle_of_mask
from engine.overlay_labels import HEAT, draw_heat, draw_labels, enlarged, heat_table
from engine.types import Instances, SemanticMask

GRAY = np.full((40, 60, 3), 120, np.uint8)


def test_what_is_cold_stays_as_it_is_and_what_is_hot_has_the_last_colour():
    heat = np.zeros((40, 60), np.float32)
    heat[10:20, 30:40] = 1
    drawn = draw_heat(GRAY, heat, opacity=1.0)
    assert (drawn[30:, :20] == 120).all()
    assert tuple(drawn[15, 35]) == tuple(int(HEAT[-1][i : i + 2], 16) for i in (1, 3, 5))
    assert (draw_heat(GRAY, heat, opacity=0.0) == GRAY).all()


def test_a_coarse_map_lies_where_its_cells_lie():
    heat = np.zeros((2, 3), np.float32)
    heat[1, 2] = 1
    changed = np.abs(draw_heat(GRAY, heat).astype(int) - 120).sum(2)
    y, x = np.unravel_index(changed.argmax(), changed.shape)
    assert y >= 20
    assert x >= 40


def test_the_colours_grow_lighter_all_the_way():
    """Readable in gray, and so by everybody."""
    light = cv2.cvtColor(heat_table()[None], cv2.COLOR_RGB2LAB)[0, :, 0].astype(int)
    assert (np.diff(light) >= -1).all()
    assert light[-1] - light[0] > 180


def test_the_table_is_close_to_the_published_one():
    wanted = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[None], cv2.COLORMAP_VIRIDIS)[0, :, ::-1].astype(int)
    assert np.abs(heat_table().astype(int) - wanted).max() <= 20


@pytest.mark.parametrize("layers", [True, False])
def test_contours_stand_on_the_rim_and_grow_with_the_picture(layers):
    area = np.zeros((400, 600), bool)
    area[100:300, 100:400] = True
    mask = SemanticMask(layers=area[None]) if layers else SemanticMask(classes=np.where(area, 0, 0xFFFE).astype(np.uint16))
    for picture in (np.full((400, 600, 3), 120, np.uint8), np.full((1600, 2400, 3), 120, np.uint8)):
        scale = picture.shape[0] // 400
        drawn = draw_labels(picture, mask, ("a",), contours=True) != picture
        assert not drawn[200 * scale, 200 * scale].any()
        assert drawn[100 * scale, 200 * scale].any()
        width = drawn[100 * scale : 200 * scale, 200 * scale].any(axis=1).sum()
        assert width == (1 if scale == 1 else 5)


def test_objects_given_as_run_lengths_grow_with_their_picture():
    area = np.zeros((40, 60), bool)
    area[10:30, 5:50] = True
    area[15:20, 10:20] = False
    labels = Instances(np.array([[5, 10, 50, 30]]), np.zeros(1), shapes=(rle_of_mask(area),))
    picture, grown = enlarged(GRAY, labels, 180)
    assert picture.shape == (120, 180, 3)
    assert grown.boxes.tolist() == [[15, 30, 150, 90]]
    wanted = cv2.resize(area.astype(np.uint8), (180, 120), interpolation=cv2.INTER_NEAREST) > 0
    found = mask_of(grown.shapes[0], (180, 120)) > 0
    assert (wanted & found).sum() / (wanted | found).sum() > 0.9
    assert (draw_labels(picture, grown, ("a",)) != picture).any()
