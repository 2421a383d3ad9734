"""What the page of a run of ``backlight tokens`` shows."""

from collections.abc import Iterator

import numpy as np

from backlight.report.page.paths import path_views
from backlight.report.page.views import Rows, View
from backlight.runs.results import Results
from backlight.surveys.tokens.page.clouds import cloud_views
from backlight.surveys.tokens.page.grids import MEASURES
from backlight.surveys.tokens.page.maps import map_views
from backlight.surveys.tokens.page.profiles import profile_views
from backlight.surveys.tokens.shown import Shown
from backlight.tables import Table

_MOST_PLACES = 500
_MOST_PROMPTS = 2000


def views(results: Results) -> Iterator[View]:
    """List what the page shows.

    Args:
        results: The run, measured just now or read from disk.

    Yields:
        The map of layers and tokens, of all prompts and of single ones; sizes along layers and
        along the prompt; the clouds of gradient vectors; what paths add up to if there are any;
        then the tables.
    """
    shown = Shown.of(results)
    yield from map_views(shown)
    yield from profile_views(shown)
    yield from cloud_views(shown)
    yield from path_views(results)
    yield _largest(shown)
    yield Rows(
        title="Shapes of the clouds",
        note="One row for each place at which the gradient vectors of all prompts were kept. "
        "Components 90, 95: how many explain so much of the variance; r answer, r loss: "
        "correlation of the gradient's norm with the answer and with the loss. Nothing is told "
        "where the gradient is zero by causality.",
        table=shown.geometry,
    )
    yield _prompts(shown.prompts)


def _largest(shown: Shown) -> Rows:
    """Tabulate the places with the largest gradients."""
    table = shown.positions.select(np.isnan(shown.positions["head"]))
    order = np.argsort(-table["gradient_norm"], kind="stable")[:_MOST_PLACES]
    first = f"The first {_MOST_PLACES:,} of {table.num_rows:,}. "
    columns = {name: name for name in ("site", "position", "token")}
    for measure in MEASURES:
        columns |= {measure: table.label(measure), f"{measure}_se": "± se"}
    return Rows(
        title="Places with the largest gradients",
        note=(first if len(order) < table.num_rows else "")
        + f"Means over {shown.of_prompts}, with their standard errors (se). The last two columns: "
        "how many prompts have the position, and from how many of these it can reach the objective "
        "at all.",
        table=Table(
            name=table.name,
            columns={name: column[order] for name, column in table.items()},
            units=table.units,
        ),
        columns={**columns, "num_prompts": "prompts", "num_reaching": "reaching"},
    )


def _prompts(table: Table) -> Rows:
    first = f"The first {_MOST_PROMPTS:,} of {table.num_rows:,}; all are in the table of the run. "
    return Rows(
        title="Prompts",
        note=(first if table.num_rows > _MOST_PROMPTS else "")
        + "loss: mean cross-entropy of the answer's tokens; right: 1 if the model would have given "
        "the answer itself, taking its most probable token each time.",
        table=table.select(np.arange(table.num_rows) < _MOST_PROMPTS),
    )
