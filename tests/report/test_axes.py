import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from backlight.report.axes import (
    CommonScale,
    draw_against,
    draw_by_layer,
    draw_density_by_layer,
    draw_dimensions,
    draw_dimensions_on,
    draw_distribution,
    draw_distribution_on,
)
from backlight.tables import Table

SPREADS = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=30).map(
    lambda values: np.array(values, dtype=np.float64)
)


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

    draw_distribution(axes, dimensions(values), "mean", colour="blue", num_bins=100)

    counts, edges, _ = axes.patches[0].get_data()
    assert counts.sum() == 300
    assert len(counts) == 100
    assert (edges[0], edges[-1]) == (values.min(), values.max())


def test_the_mean_is_marked_and_told(axes):
    draw_distribution(axes, dimensions([1, 2, 6]), "mean", colour="blue", num_bins=10)

    assert axes.lines[0].get_xdata() == [3, 3]
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts == ["3 dimensions", "mean 3"]
    assert axes.get_xlabel() == "mean (nats/unit)"
    assert axes.get_ylabel() == "number of dimensions"


def test_bars_on_a_common_scale_span_it_from_end_to_end(axes):
    scale = CommonScale(low=1e-6, high=1.0, linear=None)

    draw_distribution_on(
        axes, dimensions([1e-6, 1e-3, 1.0]), "mean", scale, colour="blue", num_bins=50
    )

    counts, edges, _ = axes.patches[0].get_data()
    assert counts.sum() == 3
    np.testing.assert_allclose([edges[0], edges[-1]], [1e-6, 1.0])
    assert axes.get_xscale() == "log"


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


def test_a_signed_scale_is_numbered_at_its_ends_and_zero(axes):
    scale = CommonScale.of(np.array([-1e-4, 0, 3e-4]))

    draw_dimensions_on(axes, dimensions([-1e-4, 0, 3e-4]), "mean", scale, colour="blue")

    assert axes.yaxis.get_majorticklocs().tolist() == [-1e-4, 0, 3e-4]


def test_the_twenty_largest_dimensions_are_starred_and_named(axes):
    values = np.random.default_rng(0).normal(size=200)

    draw_dimensions(axes, dimensions(values), "mean", colour="blue")

    largest = set(np.argsort(-np.abs(values))[:20].tolist())
    assert set(stars(axes)[:, 0].astype(int).tolist()) == largest
    np.testing.assert_array_equal(stars(axes)[:, 1], values[stars(axes)[:, 0].astype(int)])
    assert {int(text.get_text()) for text in axes.texts} == largest
    assert len(axes.collections[0].get_offsets()) == 200
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("dimension", "mean (nats/unit)")


def test_names_do_not_cover_each_other(axes):
    values = np.zeros(1000)
    values[500:520] = 1.0  # all in one place

    draw_dimensions(axes, dimensions(values), "mean", colour="blue")

    places = [text.get_position() for text in axes.texts]
    apart = [
        abs(x - other_x) > 0.04 or abs(y - other_y) > 0.03
        for index, (x, y) in enumerate(places)
        for other_x, other_y in places[:index]
    ]
    assert all(apart)


def test_a_layer_of_few_dimensions_names_them_all(axes):
    draw_dimensions(axes, dimensions([0.5, -2, 1]), "mean", colour="blue")

    assert {text.get_text() for text in axes.texts} == {"0", "1", "2"}


def test_on_a_common_scale_five_are_starred_and_none_is_named(axes):
    values = np.arange(1.0, 31)

    draw_dimensions_on(axes, dimensions(values), "mean", CommonScale.of(values), colour="blue")

    assert sorted(stars(axes)[:, 0].astype(int).tolist()) == [25, 26, 27, 28, 29]
    assert not axes.texts
    assert axes.get_yscale() == "log"


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


@pytest.mark.parametrize("log", [True, False])
def test_a_statistic_is_drawn_against_depth_with_its_95_percent_band(axes, log):
    table = by_layer([3.0, 2.0, 1.0], [0.1, 0.2, 0.05])

    draw_by_layer(axes, table, "mean_abs", colour="blue", label="strength", log=log)

    assert axes.lines[0].get_ydata().tolist() == [3, 2, 1]
    band = axes.collections[0].get_paths()[0].vertices
    for layer, (value, error) in enumerate(zip([3, 2, 1], [0.1, 0.2, 0.05], strict=True)):
        heights = band[band[:, 0] == layer, 1]
        np.testing.assert_allclose(heights.min(), value - 1.96 * error)
        np.testing.assert_allclose(heights.max(), value + 1.96 * error)
    assert axes.get_yscale() == ("log" if log else "linear")
    assert axes.get_ylabel() == "mean abs (nats/unit)"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["strength"]


def test_an_unknown_error_has_no_band(axes):
    table = by_layer([3.0, 2.0], [np.nan, np.nan])

    draw_by_layer(axes, table, "mean_abs", colour="blue", label="strength", log=False)

    assert set(axes.collections[0].get_paths()[0].vertices[:, 1]) == {2, 3}


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


def histograms(rows):
    layer, lower, upper, count = zip(*rows, strict=True)
    return Table(
        name="histograms",
        columns={
            "layer": np.array(layer),
            "lower": np.array(lower, np.float64),
            "upper": np.array(upper, np.float64),
            "count": np.array(count),
        },
        units={"lower": "nats", "upper": "nats"},
    )


def test_shares_of_sizes_add_up_to_100_percent_in_each_layer(axes):
    table = histograms(
        [
            (0, -2.0, -1.0, 30),
            (0, 1.0, 2.0, 10),
            (0, 2.0, 4.0, 60),
            (3, 1.0, 2.0, 5),
            (3, 0.0, 1e-45, 15),
        ]
    )

    mesh = draw_density_by_layer(axes, table)

    shares = np.ma.filled(mesh.get_array(), 0.0)
    # Rows are octaves from the lowest; both signs of a size are one row.
    np.testing.assert_allclose(shares.sum(axis=0), [100, 100])
    np.testing.assert_allclose(shares, [[40, 100], [60, 0]])
    assert axes.get_yscale() == "log"
    assert axes.get_ylabel().startswith("absolute value (nats)")


def test_a_run_in_which_all_was_zero_can_be_drawn(axes):
    mesh = draw_density_by_layer(axes, histograms([(0, 0.0, 1e-45, 20), (1, 0.0, 1e-45, 20)]))

    np.testing.assert_allclose(np.ma.filled(mesh.get_array(), 0.0).sum(axis=0), [100, 100])
