import numpy as np
import pytest
from matplotlib.figure import Figure

from backlight.report.distributions import (
    draw_against,
    draw_distribution,
    draw_distribution_on,
    draw_values,
    draw_values_on,
)
from backlight.report.scales import CommonScale
from backlight.tables import Table


@pytest.fixture
def axes():
    """Axes of a figure that no screen knows of."""
    return Figure(figsize=(8, 4.5)).subplots()


def dimensions(values):
    return Table(
        name="layer",
        columns={"dimension": np.arange(len(values)), "mean": np.asarray(values, np.float64)},
        units={"mean": "nats/unit"},
    )


def stars(axes):
    """Give the places of the starred points; they are drawn after all points."""
    return axes.collections[1].get_offsets()


def test_bars_count_every_dimension(axes):
    values = np.random.default_rng(0).normal(size=300)

    draw_distribution(axes, dimensions(values))

    counts, edges, _ = axes.patches[0].get_data()
    assert counts.sum() == 300
    assert len(counts) == 100
    assert (edges[0], edges[-1]) == (values.min(), values.max())


def test_the_mean_is_marked_and_told(axes):
    draw_distribution(axes, dimensions([1, 2, 6]))

    assert axes.lines[0].get_xdata() == [3, 3]
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts == ["3 dimensions", "mean 3"]
    assert axes.get_xlabel() == "mean (nats/unit)"
    assert axes.get_ylabel() == "number of dimensions"


def test_bars_on_a_common_scale_span_it_from_end_to_end(axes):
    scale = CommonScale(low=1e-6, high=1.0, linear=None)

    draw_distribution_on(axes, dimensions([1e-6, 1e-3, 1.0]), scale)

    counts, edges, _ = axes.patches[0].get_data()
    assert counts.sum() == 3
    np.testing.assert_allclose([edges[0], edges[-1]], [1e-6, 1.0])
    assert axes.get_xscale() == "log"


def test_a_signed_scale_is_numbered_at_its_ends_and_zero(axes):
    scale = CommonScale.of(np.array([-1e-4, 0, 3e-4]))

    draw_values_on(axes, dimensions([-1e-4, 0, 3e-4]), scale)

    assert axes.yaxis.get_majorticklocs().tolist() == [-1e-4, 0, 3e-4]


def test_the_twenty_largest_dimensions_are_starred_and_named(axes):
    values = np.random.default_rng(0).normal(size=200)

    draw_values(axes, dimensions(values))

    largest = set(np.argsort(-np.abs(values))[:20].tolist())
    assert set(stars(axes)[:, 0].astype(int).tolist()) == largest
    np.testing.assert_array_equal(stars(axes)[:, 1], values[stars(axes)[:, 0].astype(int)])
    assert {int(text.get_text()) for text in axes.texts} == largest
    assert len(axes.collections[0].get_offsets()) == 200
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("dimension", "mean (nats/unit)")


def test_names_do_not_cover_each_other(axes):
    values = np.zeros(1000)
    values[500:520] = 1.0  # all in one place

    draw_values(axes, dimensions(values))

    places = [text.get_position() for text in axes.texts]
    apart = [
        abs(x - other_x) > 0.04 or abs(y - other_y) > 0.03
        for index, (x, y) in enumerate(places)
        for other_x, other_y in places[:index]
    ]
    assert all(apart)


def test_a_layer_of_few_dimensions_names_them_all(axes):
    draw_values(axes, dimensions([0.5, -2, 1]))

    assert {text.get_text() for text in axes.texts} == {"0", "1", "2"}


def test_on_a_common_scale_five_are_starred_and_none_is_named(axes):
    values = np.arange(1.0, 31)

    draw_values_on(axes, dimensions(values), CommonScale.of(values))

    assert sorted(stars(axes)[:, 0].astype(int).tolist()) == [25, 26, 27, 28, 29]
    assert not axes.texts
    assert axes.get_yscale() == "log"


def test_direction_is_drawn_against_strength_as_shares_of_the_largest(axes):
    table = Table(
        name="dimensions",
        columns={"mean": np.array([-1.0, 2.0]), "mean_abs": np.array([1.0, 4.0])},
    )

    draw_against(axes, table)

    assert axes.collections[0].get_offsets().tolist() == [[0.25, -0.25], [1.0, 0.5]]
    assert [list(line.get_ydata()) for line in axes.lines] == [[0, 1], [0, 0], [0, -1]]


def test_a_silent_layer_is_drawn_against_nothing(axes):
    table = Table(name="dimensions", columns={"mean": np.zeros(2), "mean_abs": np.zeros(2)})

    draw_against(axes, table)

    assert axes.collections[0].get_offsets().tolist() == [[0, 0], [0, 0]]
