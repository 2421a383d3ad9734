"""Figures as plain data on a page: charts hold what their columns say."""

import numpy as np
import pytest

from backlight.labs.call import lab
from backlight.report.page.document import document
from backlight.report.page.plots import chart_of, views
from backlight.report.page.views import Lines, Page, Rows
from backlight.report.plots import Panel, Plot, plots_from_json, plots_to_json
from backlight.runs.results import Results, load_results
from backlight.tables import Table

TABLE = Table(
    name="curves",
    columns={
        "rule": np.array(["bp", "bp", "fa", "fa"]),
        "step": np.array([1, 10, 1, 10]),
        "rate": np.array([0.5, 0.25, 0.5, 0.25]),
        "loss": np.array([4.0, 2.0, 4.1, 3.0]),
        "loss_low": np.array([3.9, 1.9, 4.0, 2.9]),
        "loss_high": np.array([4.1, 2.1, 4.2, 3.1]),
        "wide_network": np.array([4.0, 2.2, 4.0, 2.2]),
    },
    units={"loss": "nats"},
)


def charted(**options):
    panel = Panel(table="curves", **{"x": "step", "y": "loss", **options})
    return chart_of(panel, {"curves": TABLE})


def page_of(results):
    return document(Page(title="lab", summary=[], views=list(views(results))))


def test_each_series_is_a_line_with_its_interval_and_what_theory_says_behind_it():
    found = charted(series="rule", low="loss_low", high="loss_high", dashed="wide_network")

    one, theory, other, _ = found.series
    assert [line.name for line in found.series] == [
        "bp",
        "bp: wide network",
        "fa",
        "fa: wide network",
    ]
    assert other.x.tolist() == [1, 10]
    assert other.y.tolist() == [4.1, 3.0]
    assert (one.low.tolist(), one.high.tolist()) == ([3.9, 1.9], [4.1, 2.1])
    assert theory.y.tolist() == [4.0, 2.2]
    assert [line.dashed for line in found.series] == [False, True, False, True]
    assert all(line.joined for line in found.series)


def test_theory_of_a_single_series_has_its_own_name():
    names = [line.name for line in charted(where={"rule": "bp"}, dashed="wide_network").series]

    assert names == ["", "wide network"]


def test_axes_have_their_names_units_scales_and_levels():
    found = charted(log="y", levels={"chance": 4.2}, title="losses")
    named = charted(log="x", x_label="step + 1", y_label="")

    assert (found.title, found.x, found.y) == ("losses", "step", "loss (nats)")
    assert found.scales == ("linear", "log")
    assert found.levels == {"chance": 4.2}
    assert (named.x, named.y) == ("step + 1", "loss (nats)")
    assert named.scales == ("log", "linear")
    assert charted(log="xy").scales == ("log", "log")


@pytest.mark.parametrize("where", [{"rule": "fa", "step": 10}, {"rule": "fa", "rate": "0.25"}])
def test_only_the_rows_that_are_meant_are_shown_also_where_text_was_read_as_numbers(where):
    (line,) = charted(where=where).series

    assert line.y.tolist() == [3.0]


def test_categories_stand_side_by_side_and_are_never_joined():
    found = charted(x="rule", series="rate", low="loss_low", high="loss_high")

    first, second = found.series
    assert found.categories == ["bp", "fa"]
    assert [first.name, second.name] == ["0.5", "0.25"]
    assert np.round(first.x).tolist() == np.round(second.x).tolist() == [0, 1]
    assert (first.x < second.x).all()
    assert not first.joined
    assert not second.joined


def test_points_that_are_not_joined_keep_a_joined_line_of_theory():
    line, theory = charted(where={"rule": "bp"}, joined=False, dashed="wide_network").series

    assert not line.joined
    assert theory.joined
    assert theory.dashed


def test_a_run_shows_its_figures_and_then_its_tables_first_those_that_are_printed():
    plot = Plot(
        name="a",
        title="Losses",
        panels=[
            Panel(table="curves", x="step", y="loss", low="loss_low", high="loss_high"),
            Panel(table="curves", x="step", y="loss", dashed="wide_network"),
        ],
    )
    tables = dict.fromkeys(("curves", "angles", "rates_at_the_end"), TABLE)
    about = {
        "plots": plots_to_json([plot]),
        "printed": ["rates_at_the_end"],
        "remarks": ["It fell."],
    }

    prose, lines, *rows = views(Results(config={}, metadata=about, tables=tables))

    assert [paragraph.text for paragraph in prose.paragraphs] == ["It fell."]
    assert isinstance(lines, Lines)
    assert lines.title == "Losses"
    assert lines.note == "Bands and bars are intervals. Dashed: wide network."
    assert len(lines.charts) == 2
    assert [view.title for view in rows if isinstance(view, Rows)] == [
        "Table: rates at the end",
        "Table: angles",
        "Table: curves",
    ]


SIZES = {"depths": [2, 4], "width": 8, "positions": 4}
LEARNER = {"num_steps": 20, "n_layer": 1, "n_embd": 8, "block_size": 4, "batch_size": 2}
TINY = {"rank-collapse": SIZES, "norm-placement": {**SIZES, **LEARNER, "training_seeds": 1}}


@pytest.mark.parametrize(("name", "options"), TINY.items())
def test_an_experiment_shows_all_its_panels_and_is_the_same_when_read_from_disk(
    name, options, tmp_path
):
    results = lab(name, **options, seeds=2, output_dir=tmp_path / "run", figures="none")

    charts = [chart for view in views(results) if isinstance(view, Lines) for chart in view.charts]
    panels = [panel for plot in plots_from_json(results.metadata["plots"]) for panel in plot.panels]
    assert len(charts) == len(panels)
    assert all(np.isfinite(chart.series[0].y).any() for chart in charts)
    assert page_of(load_results(tmp_path / "run")) == page_of(results)
