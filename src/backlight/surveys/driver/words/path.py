"""What ``--path`` did, in words: averages along the way on which a site is taken away."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from backlight.runs.results import Results
from backlight.surveys.driver.words.printing import Column, Shown, number, percent
from backlight.surveys.driver.words.ranking import largest
from backlight.surveys.driver.words.sentences import count, share
from backlight.tables import Table

_MUCH = 0.1  # of the true change that is missing: so much says that the parts are not to be trusted
_MOST_ROWS = 5


def num_nodes_of(config: Mapping[str, Any]) -> int | None:
    """Find how many nodes the paths of a run have; None if there are none."""
    return config.get("path")  # runs of earlier versions do not say


def along(config: Mapping[str, Any], *, what: str = "site") -> str:
    """Say within a sentence of what gradients are averages; empty without paths."""
    nodes = num_nodes_of(config)
    if nodes is None:
        return ""
    return f"averaged along the path on which the {what} grows from zero ({count(nodes, 'node')})"


def titled(title: str, config: Mapping[str, Any]) -> str:
    """Say in a title that gradients are averages along paths, if they are."""
    return title if num_nodes_of(config) is None else f"{title}, averaged along paths"


def path_notes(results: Results) -> list[str]:
    """Say how well the parts of a run's paths add up to the true change.

    Args:
        results: The run.

    Returns:
        Sentences; none without paths.
    """
    nodes = num_nodes_of(results.config)
    if nodes is None:
        return []
    table = results.tables["completeness"]
    known = table["residual_median"][~np.isnan(table["residual_median"])]
    if not len(known):
        return ["Setting a site to zero changes nothing at all, so there is nothing to divide."]
    middle = float(np.median(known))
    told = (
        f"Paths of {count(nodes, 'node')}: what they add up to misses the true change of a passage "
        f"by {share(middle)} (median over passages{', then sites' if len(known) > 1 else ''})"
    )
    far = [str(site) for site in table.select(table["residual_median"] > _MUCH)["site"]]
    if not far:
        return [f"{told}."]
    named = ", ".join(far[:3]) + (f" and {len(far) - 3} more" if len(far) > 3 else "")
    return [f"{told}; at {named} by more than {share(_MUCH)}: do not trust its parts there."]


def path_table(results: Results) -> Iterator[Shown]:
    """Show the sites whose parts add up worst; nothing without paths."""
    if num_nodes_of(results.config) is not None:
        every = results.tables["completeness"]
        table = largest(every, "residual_median", _MOST_ROWS)
        columns = _columns(table, "paths that miss most")
        yield Shown(table=table, columns=columns, num_all=every.num_rows)


def whole_path_table(results: Results) -> Iterator[Shown]:
    """Show what taking each site away does, predicted and true; nothing without paths."""
    nodes = num_nodes_of(results.config)
    if nodes is None:
        return
    table = results.tables["completeness"]
    yield Shown(
        table=table,
        columns=_columns(table, "site"),
        title=f"What setting a site to zero changes ({table.units['true_change']}), and what paths "
        f"of {count(nodes, 'node')} add up to",
        caption="first order: as the gradient predicts it; missing: |path - true| / |true|, of the "
        "averages, and of single passages.",
    )


def _columns(table: Table, heading: str) -> list[Column]:
    return [
        Column(heading, "site"),
        Column(f"first order ({table.units['path']})", "first_order", "+.3g"),
        Column("path", "path", "+.3g"),
        Column("true change", "true_change", "+.3g"),
        Column("missing", cell=percent("residual")),
        Column("median", cell=percent("residual_median")),
        Column("largest", cell=_largest),
    ]


def _largest(table: Table, row: int) -> str:
    return number(100 * table["residual_max"][row], ".3g", " %")
