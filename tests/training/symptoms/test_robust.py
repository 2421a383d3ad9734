import numpy as np
import pytest

from backlight.training.symptoms.robust import (
    first_stretch,
    middle,
    slope,
    surprise,
    trailing_middle,
)


def test_the_median_ignores_what_is_not_known():
    values = np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, np.nan], [np.inf, 2.0, 4.0]])

    np.testing.assert_array_equal(middle(values, axis=1), [2.0, np.nan, 3.0])
    assert np.isnan(middle(np.empty(0)))
    assert middle(np.empty((3, 0)), axis=1).shape == (3,)


def test_what_came_before_does_not_hold_the_value_itself():
    values = np.array([1.0, 1.0, 1.0, 9.0, 1.0])

    centre, spread = trailing_middle(values, window=3, least=2)

    np.testing.assert_array_equal(centre, [np.nan, np.nan, 1.0, 1.0, 1.0])
    np.testing.assert_array_equal(spread[2:], 0.0)


def test_a_median_absolute_deviation_is_scaled_to_a_standard_deviation():
    values = np.random.default_rng(0).standard_normal(1000)

    _, spread = trailing_middle(values, window=400, least=400)

    assert np.nanmean(spread) == pytest.approx(1.0, abs=0.05)


def test_a_surprise_is_counted_in_spreads_and_at_least_in_floors():
    values = np.concatenate([np.tile([0.0, 1.0], 10), [11.0]])

    jump, spreads = surprise(values, window=20, least=20, floor=0.1)

    assert jump[-1] == 10.5
    assert spreads[-1] == pytest.approx(10.5 / (1.4826 * 0.5))
    assert surprise(np.zeros(30), window=20, least=5, floor=0.1)[1][-1] == 0


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
