"""Pictures as plain data: they survive JSON, and draw what their columns say."""

import json
from itertools import pairwise

import numpy as np
import pytest

from backlight.report.plot_drawing import draw_plot
from backlight.report.plots import Panel, Plot, plots_from_json, plots_to_json
from backlight.tables import Table

TABLE = Table(
    name="curves",
    columns={
        "rule": np.array(["bp", "bp", "fa", "fa"]),
        "step": np.array([1, 10, 1, 10]),
        "loss": np.array([4.0, 2.0, 4.1, 3.0]),
        "loss_low": np.array([3.9, 1.9, 4.0, 2.9]),
        "loss_high": np.array([4.1, 2.1, 4.2, 3.1]),
        "theory": np.array([4.0, 2.2, 4.0, 2.2]),
    },
    units={"loss": "nats"},
)


def drawn(panel):
    plot = Plot(name="p", title="t", panels=[panel])
    return draw_plot(plot, {"curves": TABLE}).axes[0]


def test_pictures_survive_json():
    plots = [
        Plot(
            name="a",
            title="b",
            panels=[Panel(table="t", x="x", y="y", where={"k": 1}, levels={"chance": 0.5})],
        )
    ]
    assert plots_from_json(json.loads(json.dumps(plots_to_json(plots)))) == plots


def test_each_series_is_a_line_with_its_interval_and_what_theory_says():
    axes = drawn(
        Panel(
            table="curves",
            x="step",
            y="loss",
            series="rule",
            low="loss_low",
            high="loss_high",
            dashed="theory",
            log="xy",
            levels={"chance": 4.2},
        )
    )
    solid = [line for line in axes.lines if line.get_label() in {"bp", "fa"}]
    assert [line.get_ydata().tolist() for line in solid] == [[4.0, 2.0], [4.1, 3.0]]
    assert len(axes.collections) == 2
    assert axes.get_ylabel() == "loss (nats)"
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["bp", "fa", "chance", "theory"]


def test_only_the_rows_that_are_meant_are_drawn():
    axes = drawn(Panel(table="curves", x="step", y="loss", where={"rule": "fa"}))
    assert axes.lines[0].get_ydata().tolist() == [4.1, 3.0]


def test_categories_stand_side_by_side_and_are_never_joined():
    axes = drawn(
        Panel(table="curves", x="rule", y="loss", series="step", low="loss_low", high="loss_high")
    )
    assert [text.get_text() for text in axes.get_xticklabels()] == ["bp", "fa"]
    first, second = axes.lines
    assert first.get_linestyle() == "None"
    assert (first.get_xdata() < second.get_xdata()).all()
    assert len(axes.collections) == 2


@pytest.mark.parametrize("end", [1.02, 1.3, 3.0, 9.0, 20.0, 150.0, 1e4])
def test_labels_along_a_logarithmic_axis_are_several_and_never_meet(end):
    table = Table(name="curves", columns={"x": np.array([1.0, end]), "y": np.array([1.0, 2.0])})
    panels = [Panel(table="curves", x="x", y="y", log="x")] * 3
    plot = Plot(name="p", title="t", panels=panels, columns=3)
    figure = draw_plot(plot, {"curves": table})
    figure.draw_without_rendering()
    low, high = figure.axes[0].get_xlim()
    axis = figure.axes[0].xaxis
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    labels = [tick.label1 for tick in ticks if low <= tick.get_loc() <= high]
    boxes = sorted(
        (box.x0, box.x1)
        for box in (label.get_window_extent() for label in labels if label.get_text())
    )
    assert len(boxes) >= 2
    assert all(left[1] < right[0] for left, right in pairwise(boxes))
