import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from backlight.report.scales import CommonScale, brief, make_logarithmic

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


def test_positive_values_get_a_logarithmic_scale():
    scale = CommonScale.of(np.array([1e-6, 1e-2]))

    assert (scale.name, scale.options) == ("log", {})
    np.testing.assert_allclose(scale.edges(4), [1e-6, 1e-5, 1e-4, 1e-3, 1e-2])


def test_signed_values_get_a_scale_that_is_linear_around_zero():
    scale = CommonScale.of(np.append(np.linspace(-1, 1, 99), 1000.0))

    assert scale.name == "asinh"
    assert scale.linear == pytest.approx(0.9, abs=0.05)
    assert scale.options == {"linear_width": scale.linear}


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
