from functools import cache

import numpy as np
import pytest
from matplotlib.collections import FillBetweenPolyCollection

from backlight.report.lines import range_name
from backlight.surveys.flow.figures.depth import FIT, draw_depth_profile, draw_residual
from backlight.surveys.flow.figures.norm_lines import CHANCE
from backlight.surveys.flow.figures.norms import draw_norms
from zoo.figures import caption
from zoo.flow_reports import SURROGATES, flow_report


def tables_of(view, **options):
    return flow_report((view,), **options).tables


@cache
def profile(**options):
    """Draw a figure that tests only look at."""
    tables = tables_of("residual", **options)
    names = ("depth", "depth_by_position", "depth_slope")
    return draw_depth_profile(*(tables[name] for name in names), subtitle="tiny"), tables


@cache
def norms(**options):
    """Draw a figure that tests only look at."""
    table = tables_of("norms", **options)["norms"]
    return draw_norms(table, subtitle="tiny"), table


def lines(axes, *, gid=None):
    return [line for line in axes.lines if line.get_gid() == gid and len(line.get_ydata()) > 0]


def bands(axes):
    return [each for each in axes.collections if isinstance(each, FillBetweenPolyCollection)]


def in_panel(axes):
    return [text.get_text() for text in axes.texts]


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


def test_the_mean_part_of_an_rms_norm_is_said_to_be_zero_and_not_drawn():
    figure, _ = norms(kind="rms")
    axes = figure.axes[0]

    assert not axes.lines
    assert in_panel(axes) == ["0 by construction:\nan RMS norm does not centre"]


@pytest.mark.parametrize("column", ["r_mean", "r_radial"])
def test_parts_of_layer_norms_are_drawn_beside_chance(column):
    figure, table = norms(kind="layer")
    axes = figure.axes[("r_mean", "r_radial").index(column)]

    for name, line in zip(("norm1", "norm2", "final_norm"), lines(axes), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), table[column][table["norm"] == name])
    for line in lines(axes, gid=CHANCE):
        np.testing.assert_array_equal(line.get_ydata(), table[f"{column}_chance"][0])
    assert len(lines(axes, gid=CHANCE)) == 3


def test_surrogates_are_drawn_by_how_far_their_direction_is_off_and_by_their_length():
    figure, table = norms(kind="layer")
    own = table.select(table["norm"] == "norm2")

    for place, name in enumerate(SURROGATES):
        cosines, ratios = figure.axes[5 + place], figure.axes[10 + place]
        assert cosines.get_title().startswith(f"{name}\n")
        np.testing.assert_array_equal(lines(cosines)[1].get_ydata(), 1 - own[f"{name}_cosine"])
        np.testing.assert_array_equal(lines(ratios)[1].get_ydata(), own[f"{name}_norm_ratio"])
        chance = lines(cosines, gid=CHANCE)[1].get_ydata()
        np.testing.assert_allclose(chance, 0.001, rtol=1e-9)
    assert len({axes.get_ylim() for axes in figure.axes[5:10]}) == 1
    assert len({axes.get_ylim() for axes in figure.axes[10:15]}) == 1


def test_a_direction_that_is_exact_is_said_to_be_so():
    figure, _ = norms(kind="rms")

    said = {axes.get_title().partition("\n")[0] for axes in figure.axes[5:10] if in_panel(axes)}
    assert said == {"projected", "radial_only"}


def test_norms_of_single_heads_are_drawn_as_the_mean_between_the_least_and_the_largest():
    figure, table = norms(head_norms=("attn.q_norm",), num_layers=4)
    axes = figure.axes[1]
    own = table.select(table["norm"] == "attn.q_norm")
    by_layer = own["r_radial"].reshape(4, -1)

    place = list(dict.fromkeys(table["norm"].tolist())).index("attn.q_norm")
    np.testing.assert_allclose(lines(axes)[place].get_ydata(), by_layer.mean(axis=1))
    heights = bands(axes)[place].get_paths()[0].vertices[:, 1]
    assert heights.min() == by_layer.min()
    assert heights.max() == by_layer.max()
    assert "mean over heads" in caption(figure)


def test_the_final_norm_stands_behind_the_last_layer():
    figure, _ = norms(num_layers=20)
    axes = figure.axes[1]

    assert axes.get_xticklabels()[-1].get_text() == "final"
    assert lines(axes)[-1].get_xdata()[0] > 19
    numbers = [label.get_text() for label in axes.get_xticklabels()[:-1]]
    assert all(0 <= int(number) <= 19 for number in numbers)


def test_the_key_names_every_norm_and_its_width():
    figure, _ = norms(kind="layer", head_norms=("attn.k_norm",))

    names = [text.get_text() for text in figure.axes[4].get_legend().get_texts()]
    assert names == [
        "norm1\nlayer norm of 64",
        "norm2\nlayer norm of 64",
        "attn.k_norm\nlayer norm of 64, by head",
        "final_norm\nlayer norm of 64",
        "chance",
    ]
