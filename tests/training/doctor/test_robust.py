import numpy as np
import pytest

from backlight.training.doctor import robust
from backlight.training.doctor.robust import (
    first_stretch,
    middle,
    past,
    rises_above_past,
    slope,
)


def test_the_median_ignores_what_is_not_known():
    values = np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, np.nan], [np.inf, 2.0, 4.0]])

    np.testing.assert_array_equal(middle(values, axis=1), [2.0, np.nan, 3.0])
    assert np.isnan(middle(np.empty(0)))
    assert middle(np.empty((3, 0)), axis=1).shape == (3,)


def column(values):
    return np.asarray(values, dtype=float)[:, None]


def test_what_came_before_does_not_hold_the_value_itself():
    centre, spread = past(column([1, 1, 1, 9, 1]), np.arange(5), window=3, least=2)

    np.testing.assert_array_equal(centre[:, 0], [np.nan, np.nan, 1.0, 1.0, 1.0])
    np.testing.assert_array_equal(spread[2:], 0.0)


def test_a_median_absolute_deviation_is_scaled_to_a_standard_deviation():
    values = np.random.default_rng(0).standard_normal(1000)

    _, spread = past(column(values), np.arange(1000), window=400, least=400)

    assert np.nanmean(spread) == pytest.approx(1.0, abs=0.05)


def test_it_does_not_matter_in_which_pieces_a_long_log_is_looked_at(monkeypatch):
    values = np.random.default_rng(0).standard_normal((300, 2))
    whole = past(values, np.arange(300), window=20, least=8)
    slopes = slope(np.arange(2.0), values)
    monkeypatch.setattr(robust, "_PIECE", 100)

    assert len(list(robust.in_pieces(300, 40))) == 150
    np.testing.assert_array_equal(past(values, np.arange(300), window=20, least=8), whole)
    np.testing.assert_array_equal(slope(np.arange(2.0), values), slopes)


def test_the_median_is_that_of_numpy_where_all_is_known():
    values = np.random.default_rng(0).standard_normal((7, 6, 5))

    for axis in (None, 0, 1, 2):
        np.testing.assert_allclose(middle(values, axis=axis), np.median(values, axis=axis))


def test_rows_above_the_least_of_their_past_are_found():
    values = column([np.nan, 5, 1, 2, 9, 2, np.nan, 9, 9])

    assert rises_above_past(values, 6.0, window=3).tolist() == [4, 7, 8]


def test_one_wild_layer_does_not_move_the_slope():
    layers = np.arange(6.0)
    values = np.stack([0.5 * layers, np.array([0.0, 1.0, 2.0, 90.0, 4.0, 5.0])])

    np.testing.assert_allclose(slope(layers, values), [0.5, 1.0])


@pytest.mark.parametrize(
    ("holds", "least", "stretch"),
    [
        ("-xx-xxx-x", 3, (4, 6)),
        ("xxx", 3, (0, 2)),
        ("-x-x", 1, (1, 1)),
        ("xx-", 3, None),
        ("xx", 3, (0, 1)),
        ("x", 3, (0, 0)),
        ("", 3, None),
    ],
)
def test_the_first_stretch_that_is_long_enough_counts(holds, least, stretch):
    assert (
        first_stretch(np.array([each == "x" for each in holds], dtype=bool), least=least) == stretch
    )
