from itertools import pairwise

import numpy as np
import pytest
from matplotlib.colors import LogNorm

from backlight.report.maps import MAP
from backlight.report.wrong import COLUMN
from backlight.surveys.flow.figures.attention import draw_ablation, draw_distances, draw_heads
from backlight.tables import Table
from zoo.figures import caption
from zoo.flow_results import flow_results


def tables_of(**options):
    tables = flow_results(("attention",), **options).tables
    return tables["attention"], tables["attention_distance"]


def maps(figure):
    found = [
        (axes, each) for axes in figure.axes for each in axes.collections if each.get_gid() == MAP
    ]
    return [axes for axes, _ in found], [mesh.get_array() for _, mesh in found]


def labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def changed(table, **columns):
    return Table(name=table.name, columns={**table.columns, **columns}, units=table.units)


def test_maps_show_the_heads_of_each_layer():
    table, _ = tables_of(num_layers=9, layers=(2, 5, 8), num_heads=4)
    panels, values = maps(draw_heads(table, subtitle="tiny"))

    expected = [
        table["shrink"] / table["even_shrink"],
        table["entropy"] / table["even_entropy"],
        *(table[name] for name in ("largest", "saturation_share", "query_key_share")),
        *(table[name] for name in ("first_weight", "first_scores_share", "first_v_share")),
    ]
    for shown, numbers in zip(values, expected, strict=True):
        np.testing.assert_array_equal(shown, numbers.reshape(3, 4).T)
    assert labels(panels[-1].xaxis) == ["2", "5", "8"]
    assert labels(panels[0].yaxis) == ["0", "1", "2", "3"]


def test_shrink_is_coloured_around_what_even_weights_pass():
    table, _ = tables_of()
    figure = draw_heads(changed(table, shrink=np.full(table.num_rows, 1e-7)), subtitle="tiny")
    mesh = next(each for each in figure.axes[0].collections if each.get_gid() == MAP)

    assert isinstance(mesh.norm, LogNorm)
    assert mesh.norm(1.0) == pytest.approx(0.5)
    assert mesh.norm.vmax == pytest.approx(30)


def test_a_head_without_a_value_is_grey_and_the_caption_says_so():
    table, _ = tables_of()
    largest = table["largest"].copy()
    largest[3] = np.nan
    figure = draw_heads(changed(table, largest=largest), subtitle="tiny")

    assert maps(figure)[1][2].mask.sum() == 1
    assert "Grey: no value." in caption(figure)
    assert "Grey" not in caption(draw_heads(table, subtitle="tiny"))


@pytest.mark.parametrize(("num_layers", "num_heads"), [(80, 64), (30, 9)])
def test_numbers_of_layers_and_heads_do_not_cover_each_other(num_layers, num_heads):
    table, _ = tables_of(num_layers=num_layers, num_heads=num_heads)
    figure = draw_heads(table, subtitle="tiny")
    figure.draw_without_rendering()
    panels, _ = maps(figure)

    below = [label.get_window_extent() for label in panels[-1].get_xticklabels()]
    beside = [label.get_window_extent() for label in panels[0].get_yticklabels()]
    assert all(one.x1 < other.x0 for one, other in pairwise(below))
    assert all(one.y1 < other.y0 for one, other in pairwise(beside))


def test_distances_show_the_mean_over_heads_and_how_it_compares_with_pairs():
    _, table = tables_of(num_layers=2, num_heads=3)
    figure = draw_distances(table, subtitle="tiny")
    panels, (shares, ratios) = maps(figure)

    expected = table["share"].reshape(2, 3, 4).mean(axis=1)
    np.testing.assert_allclose(shares, expected)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_allclose(ratios, expected / [0.2, 0.2, 0.3, 0.3])
    assert labels(panels[0].yaxis) == ["0", "1"]
    assert labels(panels[0].xaxis) == ["0", "1", "2\u20133", "4\u20137"]
    assert labels(panels[1].xaxis)[2] == "2\u20133\n(30 %)"


def test_a_distance_beyond_a_layer_s_window_is_grey_and_pairs_are_not_told_for_all():
    _, table = tables_of(num_layers=2, num_heads=1)
    kept = table.select(~((table["layer"] == 0) & (table["distance_first"] == 4)))
    figure = draw_distances(kept, subtitle="tiny")
    panels, (shares, _) = maps(figure)

    assert np.argwhere(shares.mask).tolist() == [[0, 3]]
    assert labels(panels[1].xaxis) == ["0", "1", "2\u20133", "4\u20137"]
    assert "Grey: no pairs that far apart." in caption(figure)


def test_heads_whose_predictions_are_likely_wrong_have_a_dot():
    table, _ = tables_of(num_layers=3, num_heads=2)
    change = np.array([0.1, -0.2, 0.0, 0.3, 0.05, -0.4])
    wrong = np.array([0, 1, 1, 0, 0, np.nan])
    columns = {"relative_size": np.ones(6), "warning_index": np.array([1, 2, np.inf, 1, 1, 1])}
    table = changed(table, predicted_change=change, likely_wrong=wrong, **columns)

    figure = draw_ablation(table, subtitle="tiny")

    _, (values,) = maps(figure)
    np.testing.assert_array_equal(values, change.reshape(3, 2).T)
    (dots,) = (each for each in figure.axes[0].collections if each.get_gid() == COLUMN)
    assert dots.get_offsets().tolist() == [[1, 0], [0, 1]]  # layer and head
    assert "Dot, likely wrong: setting it to zero" in caption(figure)
