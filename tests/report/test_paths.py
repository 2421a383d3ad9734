"""How figures and pages show what paths add up to: of the table, and of each kind of site apart."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from backlight.report.page.paths import path_views
from backlight.report.page.views import Lines, Rows
from backlight.report.path_drawing import draw_paths
from backlight.report.paths import kinds_of
from backlight.runs.results import Results
from backlight.tables import Table

LAYERS = [0, 12, 0, 12]
SITES = [f"layers.{layer}.{kind}" for layer, kind in zip(LAYERS, "xxyy", strict=True)]
TABLE = Table(
    name="completeness",
    columns={
        "site": np.array(SITES),
        "layer": np.array(LAYERS),
        "first_order": np.array([0.1, 0.2, 0.3, 0.4]),
        "path": np.array([1.0, 2.0, 3.0, 4.0]),
        "true_change": np.array([1.1, 2.0, 3.3, 4.0]),
        "residual": np.array([0.1, 0.0, 0.1, 0.0]),
        "residual_median": np.array([0.2, 1e-3, 0.2, np.nan]),
        "residual_max": np.array([0.3, 0.01, 0.3, np.nan]),
    },
    units=dict.fromkeys(("first_order", "path", "true_change"), "nats"),
)


def results_of(*tables):
    return Results(
        path=None,
        data={},
        statistics={},
        metadata={},
        tables={table.name: table for table in tables},
        config={},
    )


def test_kinds_of_sites_are_told_apart_by_all_but_the_layer():
    kinds = kinds_of(TABLE)

    assert list(kinds) == ["x", "y"]
    assert kinds["y"]["site"].tolist() == SITES[2:]
    # The number of a layer is that of its name's part, and of no other that ends in it.
    deep = {"site": np.array(["h.11.mlp.1", "h.1.mlp.1"]), "layer": np.array([11, 1])}
    assert list(kinds_of(Table(name="completeness", columns=deep))) == ["h.*.mlp.1"]


def test_a_run_without_paths_has_no_figure_and_no_view():
    assert list(draw_paths(results_of(), name="x.png", title="model")) == []
    assert list(path_views(results_of())) == []


def test_the_figure_has_changes_above_and_what_is_missing_below_for_each_kind():
    (drawing,) = draw_paths(results_of(TABLE), name="x.png", title="model")
    figure = drawing.make()

    assert drawing.name == "x.png"
    assert isinstance(figure, Figure)
    above, other, below, _ = figure.axes
    assert [above.get_title(), other.get_title()] == ["x", "y"]
    lines = {line.get_label(): np.asarray(line.get_ydata()).tolist() for line in above.lines}
    assert lines["true change"] == [1.1, 2.0]
    assert lines["sum along the path"] == [1.0, 2.0]
    assert lines["first order"] == [0.1, 0.2]
    missing = {line.get_label(): np.asarray(line.get_ydata()).tolist() for line in below.lines}
    assert missing["median passage"] == pytest.approx([20, 0.1])
    assert missing["of the averages"][1] > 0  # zero has no place on a logarithmic axis
    assert below.get_yscale() == "log"


def test_the_page_has_charts_of_each_kind_and_the_table():
    lines, rows = path_views(results_of(TABLE))

    assert isinstance(lines, Lines)
    assert isinstance(rows, Rows)
    assert [chart.title for chart in lines.charts] == ["x", "x", "y", "y"]
    truth = lines.charts[2].series[0]
    assert (truth.name, truth.y.tolist(), truth.x.tolist()) == ("true change", [3.3, 4.0], [0, 12])
    assert [each.joined for each in lines.charts[2].series] == [True, False, True]
    assert lines.charts[1].scales == ("linear", "log")
    assert rows.table is TABLE
    only = TABLE.select(np.array([0]))
    (alone,) = path_views(results_of(only))  # one point makes no chart
    assert "Missing: |sum along the path" in alone.note
