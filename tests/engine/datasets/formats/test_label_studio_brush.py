"""Label Studio's own run lengths, against bytes that another implementation (label-studio-brush-rle-rs 0.1) wrote."""

import numpy as np
import pytest

from engine.datasets.formats.label_studio_brush import decode, encode

# its encode_rle(values, 8, [3, 4, 8, 16]): an 8x6 picture, rows 1..3 and columns 2..5 painted, every pixel four times 255
PAINTED = [0, 0, 0, 192, 57, 27, 254, 39, 0, 191, 255, 124, 2, 255, 253, 240, 11, 255, 249, 28, 0]
# and 4x3 pixels of numpy.random.default_rng(0).integers(0, 256, (3, 4, 4)): blocks of single values
NOISE = [0, 0, 0, 48, 57, 27, 248, 11, 224, 65, 1, 132, 6, 200, 25, 224, 117, 128, 30, 5, 24, 4, 32, 107, 129, 178, 4, 16, 31, 0, 94, 128,
         32, 2, 40, 23, 0, 116, 1, 154, 2, 112, 21, 32, 30, 128, 250, 0, 80, 3, 160, 120, 0, 132, 0, 152, 22, 192, 19, 128, 118, 0, 32, 7,
         96, 40, 129, 188, 1, 96, 15, 0, 61, 0, 100, 6, 128, 9, 192, 14, 0, 128, 5, 48, 15, 32, 44, 129, 84, 7, 72]


def painted():
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:6] = True
    return mask


def test_runs_of_another_implementation_are_understood():
    assert (decode(PAINTED, (8, 6)) == painted()).all()


def test_blocks_of_single_values_are_understood_too():
    values = np.random.default_rng(0).integers(0, 256, (3, 4, 4), dtype=np.uint8)
    assert (decode(NOISE, (4, 3)) == (values[..., 3] > 0)).all()


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (64, 48), (301, 257)])
def test_what_is_encoded_decodes_the_same(size):
    rng = np.random.default_rng(sum(size))
    for mask in (rng.random(size[::-1]) > 0.5, np.zeros(size[::-1], bool), np.ones(size[::-1], bool)):
        assert (decode(encode(mask), size) == mask).all()


@pytest.mark.parametrize("data", [[], PAINTED[:-4], [255] * 30, [*PAINTED[:4], 255, *PAINTED[5:]], ["a"], [256], 5, 10**12, [10**30]])
def test_what_describes_no_mask_of_that_size_is_a_value_error(data):
    with pytest.raises(ValueError, match=r"."):
        decode(data, (8, 6))
    with pytest.raises(ValueError, match=r"."):
        decode(PAINTED, (80, 60))


def test_a_claim_of_a_huge_picture_costs_nothing():
    with pytest.raises(ValueError, match="4294967295"):
        decode([255] * 8, (8, 6))
