import numpy as np
import pytest
from pycocotools import mask as oracle

from engine.datasets import outlines
from engine.types import RLE, Polygons

SQUARE = np.array([[2, 2], [10, 2], [10, 8], [2, 8]], np.float64)
HOLE = np.array([[4, 4], [6, 4], [6, 6], [4, 6]], np.float64)


def random_mask(seed=0, size=(37, 53)):
    return np.random.default_rng(seed).random((size[0] // 4 + 1, size[1] // 4 + 1)).repeat(4, 0).repeat(4, 1)[:size[0], :size[1]] > 0.5


@pytest.mark.parametrize("seed", range(5))
def test_run_lengths_are_read_as_the_reference_reads_them(seed):
    mask = random_mask(seed)
    packed = oracle.encode(np.asfortranarray(mask, np.uint8))
    rle = outlines.rle_of_runs(outlines.runs_of(packed["counts"]), mask.shape)
    assert rle == outlines.rle_of_mask(mask)
    assert np.array_equal(outlines.mask_of(rle, (53, 37)), mask)
    assert outlines.area_of(rle, (0, 0, 0, 0)) == mask.sum()
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    assert outlines.box_of(rle) == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)


@pytest.mark.parametrize("counts", ["~~~~", "\x00", "P" * 100, "é", "0" * 10])
def test_run_lengths_that_are_none_are_refused_before_c_code_sees_them(counts):
    with pytest.raises(ValueError, match=""):
        outlines.rle_of_runs(outlines.runs_of(counts), (48, 64))


@pytest.mark.parametrize(("runs", "size"), [([10, 20], (48, 64)), ([-1, 3073], (48, 64)), ([1.5, 3070.5], (48, 64)), ([4], (-2, -2)),
                                            ([10**12], (10**6, 10**6)), ([True] * 4, (2, 2)), (["4"], (2, 2))])
def test_runs_have_to_fill_the_mask_exactly(runs, size):
    with pytest.raises((ValueError, TypeError)):
        outlines.rle_of_runs(runs, size)


def test_holes_are_cut_out():
    shape = Polygons((SQUARE,), (HOLE,))
    assert outlines.area_of(shape, (0, 0, 0, 0)) == 8 * 6 - 4
    mask = outlines.mask_of(shape, (16, 12))
    assert mask[5, 8]
    assert not mask[5, 5]


def test_several_rings_become_one_with_the_same_area():
    other = SQUARE + (12, 1)
    ring = outlines.joined(Polygons((SQUARE, other), (HOLE,)))
    joined = outlines.mask_of(Polygons((ring,)), (40, 20))
    apart = outlines.mask_of(Polygons((SQUARE, other), (HOLE,)), (40, 20))
    assert (joined ^ apart).sum() <= 8
    assert abs(int(joined.sum()) - int(apart.sum())) <= 8


def test_a_mask_becomes_outlines_that_cover_it():
    mask = np.zeros((60, 80), bool)
    mask[10:40, 20:60] = True
    mask[20:30, 30:45] = False
    mask[50:55, 5:15] = True
    traced = outlines.as_polygons(outlines.rle_of_mask(mask), None)
    assert len(traced.rings) == 2
    assert len(traced.holes) == 1
    again = outlines.mask_of(traced, (80, 60))
    assert (again & mask).sum() / (again | mask).sum() > 0.9


def test_an_object_without_outline_is_its_box():
    assert outlines.as_polygons(None, (1, 2, 5, 9)).rings[0].tolist() == [[1, 2], [5, 2], [5, 9], [1, 9]]
    assert outlines.as_polygons(Polygons(()), (1, 2, 5, 9)).rings[0].tolist() == [[1, 2], [5, 2], [5, 9], [1, 9]]
    assert outlines.area_of(None, (1, 2, 5, 9)) == 28
    assert outlines.box_of(Polygons((SQUARE, SQUARE + 5))) == (2, 2, 15, 13)
    assert isinstance(outlines.rle_of_mask(np.zeros((3, 4), bool)), RLE)
