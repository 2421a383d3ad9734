import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from backlight.report.scales import CommonScale, brief, make_logarithmic, power_of_ten

SPREADS = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=30).map(
    lambda values: np.array(values, dtype=np.float64)
)


@given(values=SPREADS, num_bins=st.integers(1, 60))
def test_a_common_scale_has_a_bin_for_every_value(values, num_bins):
    scale = CommonScale.of(values)

    edges = scale.edges(num_bins)

    assert len(edges) == num_bins + 1
    assert (np.diff(edges) > 0).all()
    tolerance = 1e-9 * max(1.0, np.abs(values).max())
    assert edges[0] <= values.min() + tolerance
    assert edges[-1] >= values.max() - tolerance


def test_positive_values_get_a_logarithmic_scale_numbered_at_powers_of_ten():
    scale = CommonScale.of(np.array([1e-6, 1e-2]))

    np.testing.assert_allclose(scale.edges(4), [1e-6, 1e-5, 1e-4, 1e-3, 1e-2])
    np.testing.assert_allclose(scale.transform(np.array([1e-6, 1e-3])), [-6, -3])
    np.testing.assert_allclose(np.log10(scale.ticks()), [-6, -4, -2])
    assert len(scale.marks()) == 4 * 8


def test_a_narrow_logarithmic_scale_is_numbered_at_its_ends():
    scale = CommonScale.of(np.array([2e-4, 7e-4]))

    assert scale.ticks() == [2e-4, 7e-4]
    np.testing.assert_allclose(scale.marks(), np.arange(2, 8) * 1e-4)


def test_signed_values_get_a_scale_that_is_linear_around_zero():
    scale = CommonScale.of(np.append(np.linspace(-1, 1, 99), 1000.0))

    assert scale.linear == pytest.approx(0.9, abs=0.05)
    assert scale.ticks() == [-1, 0, 1000]
    assert not scale.marks()
    places = scale.transform(np.array([-0.01, 0.0, 0.01, 1000.0, 10000.0]))
    np.testing.assert_allclose(np.diff(places[:3]), 0.01 / scale.linear, rtol=1e-3)
    assert places[4] - places[3] == pytest.approx(np.log(10), rel=1e-3)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-5, "10\u207b\u2075"),
        (-3e-5, "\u22123\u00b710\u207b\u2075"),
        (0.03, "0.03"),
        (0.01, "10\u207b\u00b2"),
        (0.0, "0"),
        (1.0, "1"),
        (10.0, "10"),
        (-24.0, "\u221220"),
        (6e12, "6\u00b710\u00b9\u00b2"),
    ],
)
def test_ends_of_scales_are_written_with_one_digit(value, text):
    assert power_of_ten(value) == text


def test_a_logarithmic_scale_shows_all_lines_and_heeds_no_marks_at_the_edge():
    axes = Figure().subplots()
    axes.plot([0, 1], [1e3, 1e6])
    axes.plot([0.5], [0.97], "x", transform=axes.get_xaxis_transform())

    make_logarithmic(axes)

    assert axes.get_yscale() == "log"
    assert axes.get_ylim()[0] == pytest.approx(1e3 / 1.6)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.8432, "0.84"),
        (0.00412, "0.0041"),
        (2.04e-7, "2e-7"),
        (123.0, "120"),
        (1000.0, "1000"),
        (1.23e6, "1.2e6"),
        (0.0, "0"),
    ],
)
def test_norms_are_written_with_two_digits(value, text):
    assert brief(value) == text
