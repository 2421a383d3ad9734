import numpy as np
import pytest
from matplotlib.figure import Figure

from backlight.report.distributions import DistributionPanel, ValuesPanel
from backlight.report.rendering import png
from backlight.report.wrong import COLUMN
from backlight.tables import Table

RANDOM = np.random.default_rng(0)
LAYERS = {
    "few": [0.5, -2, 1],
    "spread": RANDOM.normal(size=300),
    "positive": 1e-5 * np.abs(RANDOM.normal(size=40)),
    "many": 1e3 * RANDOM.normal(size=6000),
    "one": [0.25],
    "silent": np.zeros(30),
}


def empty_axes():
    return Figure(figsize=(8, 4.5)).subplots()


@pytest.fixture
def axes():
    """Axes of a figure that no screen knows of."""
    return empty_axes()


def dimensions(values):
    return Table(
        name="layer",
        columns={"dimension": np.arange(len(values)), "mean": np.asarray(values, np.float64)},
        units={"mean": "nats/unit"},
    )


def stars(axes):
    """Give the places of the starred points; they are drawn after all points."""
    return axes.collections[1].get_offsets()


def names(axes):
    return [text for text in axes.texts if text.get_text()]


def test_bars_count_every_dimension(axes):
    values = np.random.default_rng(0).normal(size=300)

    DistributionPanel(axes, dimensions(values))

    counts, edges, _ = axes.patches[0].get_data()
    assert counts.sum() == 300
    assert len(counts) == 100
    assert (edges[0], edges[-1]) == (values.min(), values.max())


def test_the_mean_is_marked_and_told(axes):
    DistributionPanel(axes, dimensions([1, 2, 6]))

    assert axes.lines[0].get_xdata() == [3, 3]
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts == ["3 dimensions", "mean 3"]
    assert axes.get_xlabel() == "mean (nats/unit)"
    assert axes.get_ylabel() == "number of dimensions"


def test_the_twenty_largest_dimensions_are_starred_and_named(axes):
    values = np.random.default_rng(0).normal(size=200)

    ValuesPanel(axes, dimensions(values))

    largest = set(np.argsort(-np.abs(values))[:20].tolist())
    assert set(stars(axes)[:, 0].astype(int).tolist()) == largest
    np.testing.assert_array_equal(stars(axes)[:, 1], values[stars(axes)[:, 0].astype(int)])
    assert {int(text.get_text()) for text in names(axes)} == largest
    assert len(axes.collections[0].get_offsets()) == 200
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("dimension", "mean (nats/unit)")


def test_names_do_not_cover_each_other(axes):
    values = np.zeros(1000)
    values[500:520] = 1.0  # all in one place

    ValuesPanel(axes, dimensions(values))

    places = [text.get_position() for text in names(axes)]
    apart = [
        abs(x - other_x) > 0.04 or abs(y - other_y) > 0.03
        for index, (x, y) in enumerate(places)
        for other_x, other_y in places[:index]
    ]
    assert len(places) == 20
    assert all(apart)


def test_a_layer_of_few_dimensions_names_them_all(axes):
    ValuesPanel(axes, dimensions([0.5, -2, 1]))

    assert {text.get_text() for text in names(axes)} == {"0", "1", "2"}


@pytest.mark.parametrize("panel", [DistributionPanel, ValuesPanel])
@pytest.mark.parametrize("before", LAYERS)
@pytest.mark.parametrize("after", ["few", "positive", "silent"])
def test_a_panel_that_showed_another_table_looks_like_a_new_one(panel, before, after):
    new, used = empty_axes(), empty_axes()
    panel(new, dimensions(LAYERS[after]))
    shown = panel(used, dimensions(LAYERS[before]))

    shown.show(dimensions(LAYERS[after]))

    assert png(used.figure) == png(new.figure)


def crosses(axes):
    (found,) = (each for each in axes.collections if each.get_gid() == COLUMN)
    return found.get_offsets().tolist()


def test_numbers_that_are_likely_wrong_are_crossed_out_table_after_table(axes):
    plain = dimensions([0.5, -2, 1])
    marked = Table(
        name=plain.name,
        columns={**plain, COLUMN: np.array([0, 1, np.nan])},
        units=plain.units,
    )

    panel = ValuesPanel(axes, marked)
    assert crosses(axes) == [[1, -2]]

    panel.show(plain)  # such as of a run that did not measure it
    assert crosses(axes) == []
