"""What is likely wrong is marked and counted; runs that did not measure it are shown as before."""

from dataclasses import replace

import numpy as np
import pytest

from backlight import layers
from backlight.report.page.document import document
from backlight.report.page.views import Cloud, Page
from backlight.report.wrong import COLUMN, WARNING_COLUMNS, has_warnings, is_wrong
from backlight.stats import first_order
from backlight.surveys.driver.words.warning import MARK, mark, mark_columns, warning_sentence
from backlight.surveys.layers import figures
from backlight.surveys.layers.options import LayersConfig
from backlight.surveys.layers.page import views
from backlight.surveys.layers.printed import brief, summary, tables
from backlight.tables import Table
from zoo.figures import made


def table_of(*wrong):
    size = np.ones(len(wrong))
    columns = {"relative_size": size, "predicted_change": size, "warning_index": size}
    return Table(name="dimensions", columns={**columns, COLUMN: np.array(wrong, dtype=float)})


def test_the_columns_of_tables_are_those_that_are_shown():
    assert first_order.WARNING_COLUMNS == WARNING_COLUMNS


def test_only_what_is_known_to_be_likely_wrong_has_a_mark():
    table = table_of(1, 0, np.nan)

    assert [mark(table, row) for row in range(3)] == [MARK, "", ""]
    assert [column.heading for column in mark_columns(table)] == [MARK]
    assert mark_columns(table_of(0, np.nan)) == []


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ((1, 0, 1), "Of the 3 largest heads, 2 are likely wrong as predictions of setting"),
        ((1, 0), "Of the 2 largest heads, 1 is likely wrong as a prediction of setting"),
        ((0, np.nan), ""),
    ],
)
def test_the_sentence_counts_them_among_the_largest(wrong, sentence):
    assert warning_sentence(table_of(*wrong), "head")[: len(sentence) or None] == sentence


def test_a_table_without_the_columns_has_nothing_that_is_wrong():
    table = Table(name="dimensions", columns={"layer": np.arange(3)})

    assert not is_wrong(table).any()
    assert not has_warnings(table)
    assert (mark_columns(table), warning_sentence(table, "dimension")) == ([], "")


def test_an_infinite_index_is_in_the_csv_file_and_on_the_page():
    table = replace(table_of(1, 0))
    table = Table(name=table.name, columns={**table, "warning_index": np.array([np.inf, np.nan])})

    written = table.to_csv()

    assert written.splitlines()[1].split(",")[2] == "inf"
    assert Table.from_csv(table.name, written) == table


def without(results):
    """Take from a run what earlier versions did not write."""
    found = {
        name: Table(
            name=name,
            columns={key: column for key, column in table.items() if key not in WARNING_COLUMNS},
            units={key: unit for key, unit in table.units.items() if key not in WARNING_COLUMNS},
        )
        for name, table in results.tables.items()
    }
    return replace(results, tables=found)


@pytest.fixture
def measured(options):
    return layers(**options, layers="1", aggregate_by="grad_x_act", aggregation_mode="both")


def test_a_run_marks_in_figures_on_the_page_and_in_print_what_is_likely_wrong(measured):
    table = measured.tables["dimensions"]
    wrong = table["dimension"] % 3 == 0  # of a model that was never trained everything is
    columns = {**table, COLUMN: wrong.astype(np.float64)}
    table = Table(name=table.name, columns=columns, units=table.units)
    measured = replace(measured, tables={**measured.tables, "dimensions": table})

    drawn = made(lambda: figures.draw(measured))
    scatter = drawn["layer_1_mean_activation_scatter.png"]
    (crosses,) = (each for each in scatter.axes[0].collections if each.get_gid() == COLUMN)
    assert crosses.get_offsets()[:, 0].tolist() == np.flatnonzero(wrong).tolist()
    cloud = next(view for view in views(measured) if isinstance(view, Cloud))
    (shown,) = (each for each in cloud.statistics if each.name == COLUMN)
    np.testing.assert_array_equal(shown.values[1] == 1, wrong)
    assert "In the second colour, likely wrong:" in cloud.note
    printed = list(brief(LayersConfig(**measured.config), measured))
    marks = [part for part in printed if not isinstance(part, str)][1].columns
    assert MARK in [column.heading for column in marks]
    assert any("are likely wrong as predictions" in sentence for sentence in summary(measured))


def test_a_run_of_an_earlier_version_is_drawn_printed_and_opened(measured):
    old, config = without(measured), LayersConfig(**measured.config)

    for figure in made(lambda: figures.draw(old)).values():
        assert not any("likely wrong" in text.get_text() for text in figure.texts)
    printed = [*brief(config, old), *tables(config, old), *summary(old)]
    assert not any("likely wrong" in part for part in printed if isinstance(part, str))
    page = document(Page(title="old", summary=[], views=list(views(old)))).decode()
    assert "likely wrong:" not in page
    assert '"name":"likely_wrong"' not in page
