import numpy as np
import pytest
from matplotlib.figure import Figure

from backlight.report.lines import draw_band, interval
from backlight.tables import Table


@pytest.fixture
def axes():
    return Figure().subplots()


def by_layer(mean_abs, error):
    return Table(
        name="layers",
        columns={
            "layer": np.arange(len(mean_abs)),
            "mean_abs": np.array(mean_abs),
            "mean_abs_se": np.array(error),
        },
        units={"mean_abs": "nats/unit", "mean_abs_se": "nats/unit"},
    )


def test_a_statistic_is_drawn_against_depth_with_its_95_percent_band(axes):
    table = by_layer([3.0, 2.0, 1.0], [0.1, 0.2, 0.05])

    draw_band(axes, table["layer"], table, "mean_abs", colour="blue", label="strength")

    assert axes.lines[0].get_ydata().tolist() == [3, 2, 1]
    assert axes.lines[0].get_label() == "strength"
    band = axes.collections[0].get_paths()[0].vertices
    for layer, (value, error) in enumerate(zip([3, 2, 1], [0.1, 0.2, 0.05], strict=True)):
        heights = band[band[:, 0] == layer, 1]
        np.testing.assert_allclose(heights.min(), value - 1.96 * error)
        np.testing.assert_allclose(heights.max(), value + 1.96 * error)


def test_an_unknown_error_has_no_band(axes):
    table = by_layer([3.0, 2.0], [np.nan, np.nan])

    draw_band(axes, table["layer"], table, "mean_abs", colour="blue")

    assert not axes.collections[0].get_paths()


def test_of_a_positive_value_no_band_reaches_zero():
    low, high = interval(np.array([1.0, -1.0, 2.0]), np.array([10.0, 10.0, 0.1]))

    np.testing.assert_allclose(low, [1e-3, -20.6, 1.804])
    np.testing.assert_allclose(high, [20.6, 18.6, 2.196])
