from functools import cache

import numpy as np
import pytest

from backlight.surveys.flow.figures.norms import CHANCE, draw_norms
from zoo.figures import bands, caption
from zoo.flow_results import SURROGATES, flow_results


def tables_of(view, **options):
    return flow_results((view,), **options).tables


@cache
def norms(**options):
    """Draw a figure that tests only look at."""
    table = tables_of("norms", **options)["norms"]
    return draw_norms(table, subtitle="tiny"), table


def lines(axes, *, gid=None):
    return [line for line in axes.lines if line.get_gid() == gid and len(line.get_ydata()) > 0]


def in_panel(axes):
    return [text.get_text() for text in axes.texts]


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
