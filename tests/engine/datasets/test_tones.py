import numpy as np
import pytest

from engine.datasets import tones


@pytest.mark.parametrize("kind", [np.uint16, np.int16, np.int32, np.uint32, np.float32, np.float64, ">u2"])
def test_the_middle_ninety_nine_percent_are_spread_over_eight_bits(kind):
    values = np.random.default_rng(0).normal(1500, 300, (60, 80, 3)).clip(0).astype(kind)
    low, high = np.percentile(values, (0.5, 99.5))
    expected = np.round((values.astype(float).clip(low, high) - low) / (high - low) * 255)
    shown = tones.to_8_bits(values)
    assert shown.dtype == np.uint8
    assert np.abs(shown - expected).max() <= 1


def test_a_few_extreme_samples_do_not_darken_the_rest():
    values = np.tile(np.linspace(0, 4000, 200), (100, 1)).astype(np.uint16)
    values[0, :20] = 65535
    assert tones.to_8_bits(values)[50].max() == 255
    assert 120 < tones.to_8_bits(values).mean() < 135


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_values_that_fit_eight_bits_stay(kind):
    values = np.arange(256).reshape(16, 16).astype(kind)
    assert np.array_equal(tones.to_8_bits(values), values.astype(np.uint8))
    assert np.array_equal(tones.to_8_bits(values.clip(3, 30)), values.clip(3, 30).astype(np.uint8))
    assert tones.to_8_bits(values.clip(3, 30), keep=False).max() == 255


@pytest.mark.parametrize(("value", "shown"), [(0, 0), (1, 1), (128, 128), (65535, 255), (-5, 0), (0.4, 0)])
def test_a_picture_of_one_value_keeps_it_as_far_as_it_fits(value, shown):
    assert (tones.to_8_bits(np.full((4, 5), value, np.float64)) == shown).all()


def test_zero_and_one_and_floats_up_to_one_become_black_and_white():
    assert set(np.unique(tones.to_8_bits(np.eye(8, dtype=np.uint16)))) == {0, 255}
    assert tones.to_8_bits(np.linspace(0, 1, 100).reshape(10, 10)).max() == 255


def test_where_the_percentiles_meet_the_ends_take_their_place():
    values = np.zeros((100, 100), np.uint16)
    values[0, 0], values[0, 1] = 4000, 2000
    assert list(tones.to_8_bits(values)[0, :3]) == [255, 128, 0]


def test_what_is_no_number_is_black_and_spoils_nothing():
    values = np.linspace(-1, 3, 10_000, dtype=np.float32).reshape(100, 100)
    spoilt = values.copy()
    spoilt[0, 0], spoilt[0, 1], spoilt[0, 2] = np.nan, np.inf, -np.inf
    shown = tones.to_8_bits(spoilt)
    assert list(shown[0, :3]) == [0, 255, 0]
    assert np.abs(shown[1:].astype(int) - tones.to_8_bits(values)[1:]).max() <= 1
    assert (tones.to_8_bits(np.full((3, 3), np.nan)) == 0).all()


def test_the_range_of_all_doubles_and_the_smallest_one_are_survived():
    assert set(np.unique(tones.to_8_bits(np.array([[-1.7e308, 1.7e308]])))) == {0, 255}
    tones.to_8_bits(np.array([[0.0, 5e-324]]))


def test_a_large_picture_is_judged_by_a_part_of_its_rows_and_columns(monkeypatch):
    values = np.random.default_rng(1).integers(0, 50_000, (300, 400)).astype(np.uint16)
    whole = tones.to_8_bits(values).astype(int)
    monkeypatch.setattr(tones, "MAX_LOOKED_AT", 10_000)
    assert np.abs(tones.to_8_bits(values) - whole).max() <= 2
    assert np.abs(tones.to_8_bits(values.astype(np.float32)) - whole).max() <= 2


@pytest.mark.parametrize("kind", [np.int16, np.uint16, np.float64])
def test_the_three_windows_of_dicom_follow_the_standard(kind):
    values = np.arange(0, 4000, 7).reshape(4, -1).astype(kind)
    x, centre, width = values.astype(float), 1000.0, 500.0
    linear = np.where(x <= centre - 0.5 - (width - 1) / 2, 0, np.where(x > centre - 0.5 + (width - 1) / 2, 255,
                      ((x - (centre - 0.5)) / (width - 1) + 0.5) * 255))
    exact = np.where(x <= centre - width / 2, 0, np.where(x > centre + width / 2, 255, ((x - centre) / width + 0.5) * 255))
    sigmoid = 255 / (1 + np.exp(-4 * (x - centre) / width))
    for function, expected in (("LINEAR", linear), ("LINEAR_EXACT", exact), ("SIGMOID", sigmoid)):
        assert np.abs(tones.window(values, centre, width, function) - expected).max() <= 0.5 + 1e-6
    assert list(tones.window(np.array([[9, 10, 11]], kind), 10.5, 1)[0]) == [0, 0, 255]
