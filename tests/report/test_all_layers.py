"""Panels of all layers are one picture; what is in a panel is checked by its place in it."""

import numpy as np
import pytest
from matplotlib.collections import PolyCollection

from backlight.report.all_layers import draw_all_against, draw_all_values, draw_distributions
from backlight.report.colours import STAR
from backlight.report.grid import Side, empty_grid
from backlight.report.rendering import png
from backlight.tables import Table

RANDOM = np.random.default_rng(0)


def tables(*layers, mode="mean"):
    return {
        2 * number: Table(
            name="layer",
            columns={"dimension": np.arange(len(values)), mode: np.asarray(values, np.float64)},
            units={mode: "nats/unit"},
        )
        for number, values in enumerate(layers)
    }


def words(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def bars(figure):
    """Return the outlines of the bars of each panel: frames are drawn first."""
    polygons = [each for each in figure.axes[0].collections if isinstance(each, PolyCollection)]
    return [path.vertices for path in polygons[1].get_paths()]


def points(figure, place):
    scatters = [each for each in figure.axes[0].collections if len(each.get_offsets()) > 1]
    return np.asarray(scatters[place].get_offsets())


def test_every_layer_has_a_panel_with_its_name_and_the_sides_are_named_once():
    figure = draw_distributions("All layers", tables([1.0, 2, 3], [4.0, 5], mode="mean_abs"))

    seen = words(figure)
    assert {"layer 0", "layer 2"} <= set(seen)
    for name in ("mean abs (nats/unit)", "number of dimensions"):
        assert seen.count(name) == 1
    assert figure.texts[0].get_text() == "All layers"


def test_bars_of_all_layers_are_as_high_as_there_are_values_on_one_scale():
    figure = draw_distributions("t", tables([1.0] * 10 + [100.0], [1.0], mode="mean_abs"))

    first, second = bars(figure)
    top = {1: 1.0, 10: 2.0}  # the scale is logarithmic above 1
    low = first[:, 1].min()
    rise = second[:, 1].max() - low
    assert first[:, 1].max() - low == pytest.approx(rise * top[10] / top[1])
    lowest, highest = first[:, 0].min(), first[:, 0].max()
    assert second[:, 0].min() > highest  # beside it, and not over it
    assert np.ptp(second[:, 0]) == pytest.approx(highest - lowest)


def test_points_of_all_layers_are_shown_and_five_of_each_are_starred():
    layers = [RANDOM.normal(size=40), 100 * RANDOM.normal(size=40)]

    figure = draw_all_values("t", tables(*layers))

    everything, largest = points(figure, 0), points(figure, 1)
    assert len(everything) == 80
    assert len(largest) == 10
    for panel, values in enumerate(layers):
        own = everything[40 * panel : 40 * (panel + 1)]
        assert (np.argsort(own[:, 1]) == np.argsort(values)).all()
        starred = largest[5 * panel : 5 * (panel + 1)]
        order = np.argsort(-np.abs(values), kind="stable")[:5]
        np.testing.assert_allclose(starred, own[order])
    stars = [each for each in figure.axes[0].collections if len(each.get_offsets()) == 10]
    assert stars[0].get_facecolor()[0][:3] == pytest.approx(
        tuple(int(STAR[i : i + 2], 16) / 255 for i in (1, 3, 5))
    )


def test_direction_is_drawn_against_strength_as_shares_of_the_largest():
    layer = Table(
        name="dimensions",
        columns={"mean": np.array([-1.0, 2.0, 4.0]), "mean_abs": np.array([1.0, 4.0, 4.0])},
    )

    figure = draw_all_against("t", {0: layer})

    first, second, third = points(figure, 0)
    assert (third - second)[0] == pytest.approx(0, abs=1e-9)
    assert (third - first)[1] == pytest.approx(2.5 * (third - second)[1])


def test_silent_layers_and_layers_of_one_value_can_be_drawn():
    silent = Table(name="d", columns={"mean": np.zeros(2), "mean_abs": np.zeros(2)})

    for figure in (
        draw_all_against("t", {0: silent, 1: silent}),
        draw_distributions("t", tables(np.zeros(3), np.zeros(3))),
        draw_all_values("t", tables(np.zeros(3), np.zeros(3))),
        draw_all_values("t", tables([2.0], [2.0])),
    ):
        assert png(figure)


def test_panels_do_not_overlap_and_stay_within_the_figure():
    side = Side(name="s", low=0.0, high=1.0, ticks=(0, 1), labels=("0", "1"))

    grid = empty_grid("t", range(13), across=side, up=side)

    ends = np.array([0.0, 1.0])
    boxes = [grid.places(panel, ends, ends) for panel in range(13)]
    size = grid.figure.get_size_inches()
    for panel, (low, high) in enumerate(boxes):
        assert (low > 0).all()
        assert (high < size).all()
        for other_low, other_high in boxes[:panel]:
            assert (high < other_low).any() or (low > other_high).any()
