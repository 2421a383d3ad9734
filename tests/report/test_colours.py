import numpy as np
import pytest
from matplotlib.colors import LogNorm

from backlight.report.colours import around_one, around_zero, of_sizes, shades


def test_sizes_are_on_a_logarithmic_scale_from_the_smallest_to_the_largest():
    norm = of_sizes(np.array([0.01, 3.0, 0.0, np.nan, np.inf]), decades=6)

    assert isinstance(norm, LogNorm)
    assert (norm.vmin, norm.vmax) == (0.01, 3.0)


def test_the_scale_of_sizes_ends_some_decades_below_the_largest():
    assert of_sizes(np.array([1e-30, 1.0]), decades=6).vmin == pytest.approx(1e-6)


def test_one_value_is_in_the_middle_of_its_scale():
    assert of_sizes(np.array([7.0, 7.0]), decades=6)(7.0) == pytest.approx(0.5)


def test_signed_colours_are_symmetric_around_zero():
    norm = around_zero(np.array([-0.2, 5.0]))

    assert norm(0.0) == pytest.approx(0.5)
    assert norm(-1.0) == pytest.approx(1 - norm(1.0))
    assert (norm(-5.0), norm(5.0)) == (0.0, 1.0)


def test_without_values_there_is_no_scale():
    assert of_sizes(np.array([]), decades=6) is None
    assert of_sizes(np.array([0.0, np.nan]), decades=6) is None
    assert around_zero(np.array([])) is None


def test_ratios_are_on_a_scale_around_one_that_ends_somewhere():
    assert around_one(np.array([0.9, 1.1, np.nan]), most=30).vmax == pytest.approx(2)
    assert around_one(np.array([1e-9, 1.0]), most=30).vmin == pytest.approx(1 / 30)


def test_shades_go_from_dark_to_bright():
    reds = [int(shade[1:3], 16) + int(shade[3:5], 16) for shade in shades(5)]

    assert reds == sorted(reds)
    assert len(set(shades(5))) == 5
