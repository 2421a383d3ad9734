from dataclasses import replace

import numpy as np
import pytest

from backlight.report.layout import CAPTION
from backlight.report.rendering import rendered
from backlight.surveys.flow.figures import draw
from backlight.tables import Table
from zoo.figures import made
from zoo.flow_results import flow_results

FIGURES = {
    "norms": {"norms.png"},
    "attention": {"attention_heads.png", "attention_distance.png"},
    "residual": {"gradient_flow.svg", "gradient_flow.png", "depth_profile.png", "residual.png"},
}

KNOWN = ("layer", "head", "distance", "position", "pairs", "even", "gain")


def read_again(results):
    tables = {name: Table.from_csv(name, table.to_csv()) for name, table in results.tables.items()}
    return replace(results, tables=tables)


@pytest.mark.parametrize(
    "views",
    [(), ("norms",), ("attention",), ("residual",), ("norms", "residual")],
    ids=" ".join,
)
def test_views_that_were_run_have_their_figures_and_no_others(views):
    figures = [drawing.name for drawing in draw(flow_results(views))]

    assert len(figures) == len(set(figures))
    assert set(figures) == {name for view in views for name in FIGURES[view]}


def test_every_figure_says_of_what_it_is_and_how_to_read_it():
    for name, figure in made(lambda: draw(flow_results())).items():
        texts = [text.get_text() for text in figure.texts]
        assert "tiny, 1,234 tokens in 56 passages" in texts, name
        (caption,) = [text for text in figure.texts if text.get_gid() == CAPTION]
        assert len(caption.get_text()) > 100, name


@pytest.mark.parametrize("view", FIGURES)
def test_a_run_that_is_read_from_disk_has_the_same_figures_byte_by_byte(view):
    results = flow_results((view,), num_layers=1, num_sequences=1, num_heads=1)

    first, second = draw(results), draw(read_again(results))

    for one, other in zip(first, second, strict=True):
        assert one.name == other.name
        assert rendered(one.name, one.make()) == rendered(other.name, other.make())


def test_a_large_run_is_drawn_for_the_layers_that_were_asked_for():
    results = flow_results(num_layers=80, layers=(0, 40, 79), num_heads=64)

    assert len(made(lambda: draw(results))) == 7


def test_a_gradient_of_zero_can_be_drawn():
    """Then all norms are zero, and all that is divided by them is not known."""
    tables = {}
    for name, table in flow_results(num_layers=1).tables.items():
        columns = dict(table.columns)
        for column, values in columns.items():
            if column.removesuffix("_se").endswith(("_norm", "sigma", "_std")):
                columns[column] = np.zeros(len(values))
            elif values.dtype.kind == "f" and not column.startswith(KNOWN):
                columns[column] = np.full(len(values), np.nan)
        tables[name] = Table(name=name, columns=columns, units=table.units)

    for name, figure in made(lambda: draw(replace(flow_results(), tables=tables))).items():
        assert rendered(name, figure)
