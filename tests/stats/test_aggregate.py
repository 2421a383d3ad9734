import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from backlight.stats.aggregate import aggregate, normalize, signed_power

EXAMPLE = np.array([0.5, -0.3, 0.2])
VECTORS = arrays(np.float64, st.integers(1, 20), elements=st.floats(-1e6, 1e6))


def test_a_power_keeps_signs():
    values = np.array([10.0, 5, 1, -8])

    np.testing.assert_allclose(signed_power(values, 2), [100, 25, 1, -64])
    np.testing.assert_allclose(signed_power(values, 0.5), [10**0.5, 5**0.5, 1, -(8**0.5)])


def test_normalised_numbers_are_those_of_the_worked_example():
    np.testing.assert_allclose(normalize(EXAMPLE, "sum_abs"), [1.5, -0.9, 0.6])
    np.testing.assert_allclose(normalize(EXAMPLE, "sum"), [3.75, -2.25, 1.5])
    np.testing.assert_array_equal(normalize(EXAMPLE, "none"), EXAMPLE)


@given(values=VECTORS)
def test_absolute_values_average_one_after_sum_abs(values):
    scaled = normalize(values, "sum_abs")

    if values.any():
        np.testing.assert_allclose(np.abs(scaled).mean(), 1, rtol=1e-9)
    else:
        np.testing.assert_array_equal(scaled, values)


@pytest.mark.parametrize("norm", ["sum", "sum_abs"])
def test_numbers_whose_sum_is_zero_are_left_as_they_are(norm):
    np.testing.assert_array_equal(normalize(np.zeros(3), norm), np.zeros(3))
    np.testing.assert_array_equal(normalize(np.array([1.0, -1.0]), "sum"), [1, -1])


def test_power_comes_before_normalisation():
    found = aggregate(EXAMPLE, power=2, norm="sum_abs")

    squares = np.array([0.25, -0.09, 0.04])
    np.testing.assert_allclose(found, 3 * squares / 0.38)


def test_without_a_power_numbers_are_raised_to_none():
    np.testing.assert_array_equal(aggregate(EXAMPLE), EXAMPLE)


def test_what_was_measured_is_not_changed():
    measured = EXAMPLE.copy()

    aggregate(measured, power=2, norm="sum")

    np.testing.assert_array_equal(measured, [0.5, -0.3, 0.2])


def test_numbers_that_are_not_known_do_not_count_in_a_normalisation():
    found = normalize(np.array([1.0, np.nan, 3.0]), "sum")

    np.testing.assert_allclose(found, [0.5, np.nan, 1.5])
