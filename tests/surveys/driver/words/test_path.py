"""What is said of paths, and that nothing is said without them."""

import numpy as np

from backlight.runs.results import Results
from backlight.surveys.driver.paths import completeness_tables
from backlight.surveys.driver.words.path import (
    along,
    path_notes,
    path_table,
    titled,
    whole_path_table,
)


def results_of(residuals, path=4):
    """A run of sites that miss so much of a change of 1."""
    changes = {
        f"layers.{layer}.mlp.out": np.array([[0.0, 1 + each, 1.0]])
        for layer, each in enumerate(residuals)
    }
    tables = completeness_tables(changes, weight=1, unit="nats")
    return Results(
        path=None,
        data={},
        statistics={},
        metadata={},
        tables={table.name: table for table in tables},
        config={} if path is None else {"path": path},
    )


def test_a_run_without_paths_says_nothing_of_them():
    for config in ({}, {"path": None}):
        assert along(config) == ""
        assert titled("gradient", config) == "gradient"
    results = results_of([], path=None)
    assert [path_notes(results), list(path_table(results)), list(whole_path_table(results))] == [
        [],
        [],
        [],
    ]


def test_gradients_are_said_to_be_averages_of_paths():
    assert (
        along({"path": 1}) == "averaged along the path on which the site grows from zero (1 node)"
    )
    assert "the reconstruction grows from zero (4 nodes)" in along(
        {"path": 4}, what="reconstruction"
    )
    assert titled("gradient", {"path": 4}) == "gradient, averaged along paths"


def test_small_residuals_are_told_and_large_ones_warned_of():
    (fine,) = path_notes(results_of([0.001, 0.002, 0.03]))
    (warned,) = path_notes(results_of([0.5, 0.002, 0.001, 0.3, 0.2, 2.0]))

    assert fine == (
        "Paths of 4 nodes: what they add up to misses the true change of a passage by 0.20 % "
        "(median over passages, then sites)."
    )
    assert warned.endswith(
        "; at layers.0.mlp.out, layers.3.mlp.out, layers.4.mlp.out and 1 more by more than 10 %: "
        "do not trust its parts there."
    )


def test_a_site_that_changes_nothing_has_nothing_to_divide():
    results = results_of([0.0])
    results.tables["completeness"]["residual_median"][:] = np.nan

    assert path_notes(results) == [
        "Setting a site to zero changes nothing at all, so there is nothing to divide."
    ]


def test_small_tables_show_the_worst_and_whole_tables_all():
    results = results_of([0.001, 0.5, 0.002, 0.3, 0.004, 0.2])

    (small,), (whole,) = path_table(results), whole_path_table(results)

    assert small.table["site"].tolist()[:3] == [f"layers.{layer}.mlp.out" for layer in (1, 3, 5)]
    assert small.table.num_rows == 5
    assert whole.table.num_rows == 6
    assert [column.text(whole.table, 1) for column in whole.columns] == [
        "layers.1.mlp.out",
        "+0",
        "+1.5",
        "+1",
        "50.0 %",
        "50.0 %",
        "50 %",
    ]
