from functools import cache

import numpy as np
import pytest

from backlight.surveys.flow.drawn.grids import range_name
from backlight.surveys.flow.figures.depth import (
    FIT,
    draw_depth_profile,
    draw_residual,
)
from zoo.figures import bands, caption
from zoo.flow_results import flow_results


def tables_of(view, **options):
    return flow_results((view,), **options).tables


@cache
def profile(**options):
    """Draw a figure that tests only look at."""
    tables = tables_of("residual", **options)
    names = ("depth", "depth_by_position", "depth_slope")
    return draw_depth_profile(*(tables[name] for name in names), subtitle="tiny"), tables


def lines(axes, *, gid=None):
    return [line for line in axes.lines if line.get_gid() == gid and len(line.get_ydata()) > 0]


def test_the_profile_shows_the_norms_with_bands_of_95_percent():
    figure, tables = profile()
    axes, table = figure.axes[0], tables["depth"]

    np.testing.assert_array_equal(axes.lines[0].get_ydata(), table["gradient_norm"])
    (band,) = bands(axes)
    heights = band.get_paths()[0].vertices[:, 1]
    highest = (table["gradient_norm"] + 1.96 * table["gradient_norm_se"]).max()
    assert heights.max() == pytest.approx(highest)
    assert axes.get_yscale() == "log"
    assert axes.get_ylabel() == "gradient norm (nats/unit)"


def test_the_fitted_line_falls_with_depth_by_the_slope_backward():
    figure, tables = profile(num_layers=5, range=50.0)

    (line,) = lines(figure.axes[0], gid=FIT)
    steps = np.diff(np.log(line.get_ydata()))
    np.testing.assert_allclose(steps, -tables["depth_slope"]["slope"][0])
    (words,) = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert words.startswith(f"slope +{np.log(50) / 5:.4f}")
    assert "95 %" in words


def test_of_one_sequence_there_are_no_bands_and_no_interval():
    figure, _ = profile(num_sequences=1)

    (words,) = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert "95 %" not in words
    assert not any(band.get_paths() for band in bands(figure.axes[0]))


def test_positions_have_the_same_colours_in_both_panels():
    figure, tables = profile()
    groups, slopes = figure.axes[1], figure.axes[2]

    table = tables["depth_by_position"]
    firsts = np.unique(table["position_first"])
    assert len(lines(groups, gid=None)) == len(firsts)
    points = [line for line in slopes.lines if line.get_marker() == "o"]
    assert [line.get_color() for line in groups.lines] == [dot.get_color() for dot in points[1:]]
    names = [label.get_text() for label in slopes.get_yticklabels()]
    assert names == ["all", "0", "1", "2\u20133", "4\u20137"]
    shown = [float(dot.get_xdata()[0]) for dot in points]
    np.testing.assert_array_equal(shown, tables["depth_slope"]["slope"])


@pytest.mark.parametrize(
    ("first", "last", "name"),
    [(0, 0, "0"), (2, 3, "2\u20133"), (65536, np.nan, "65,536+"), (1024, 2047, "1,024\u20132,047")],
)
def test_ranges_have_names(first, last, name):
    assert range_name(first, last) == name


@pytest.mark.parametrize("parallel", [False, True], ids=["one after the other", "parallel"])
def test_the_paths_of_each_half_are_those_of_the_table(parallel):
    table = tables_of("residual", parallel=parallel, num_layers=6, layers=(0, 3, 5))["residual"]
    figure = draw_residual(table, subtitle="tiny")
    halves = ["attention", "mlp", *(["block"] if parallel else [])]
    panels = np.array(figure.axes).reshape(3, len(halves))

    for place, half in enumerate(halves):
        own = table.select(table["half"] == half)
        direct, transform = panels[0, place].lines
        np.testing.assert_array_equal(direct.get_xdata(), [0, 3, 5])
        np.testing.assert_array_equal(direct.get_ydata(), own["direct_norm"])
        np.testing.assert_array_equal(transform.get_ydata(), own["transform_norm"])
        np.testing.assert_array_equal(panels[1, place].lines[0].get_ydata(), own["transform_share"])
        np.testing.assert_array_equal(panels[2, place].lines[0].get_ydata(), own["cosine"])
    assert ("Parallel blocks" in caption(figure)) == parallel


def test_panels_of_norms_of_all_halves_show_all_values():
    table = tables_of("residual", num_layers=8)["residual"]
    figure = draw_residual(table, subtitle="tiny")

    for axes in figure.axes[:2]:
        assert axes.get_ylim()[0] < table["transform_norm"].min()
