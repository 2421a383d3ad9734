import numpy as np
import pytest

from backlight.labs.characters.curves import curve


def test_a_curve_averages_over_ten_steps_and_over_the_seeds_that_got_there():
    losses = np.arange(24.0).reshape(2, 12)
    losses[1, 11] = np.nan
    points = curve(losses)
    assert points["step"].tolist() == [4.5, 10.5]
    assert points["loss"].tolist() == pytest.approx([(4.5 + 16.5) / 2, (10 + 11 + 22) / 3])
