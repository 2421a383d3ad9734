"""All figures of a run of ``backlight flow``, drawn from its tables."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from matplotlib.figure import Figure

from backlight.tables import Table

__all__ = ["FlowReport", "draw_flow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowReport:
    """What the figures of a run show.

    Attributes:
        model: The model's name.
        title: What was measured, for titles.
        tables: The tables of the views that were looked at, by name.
    """

    model: str
    title: str
    tables: Mapping[str, Table]


def draw_flow(report: FlowReport) -> Iterator[tuple[str, Figure]]:
    """Draw all figures of a run.

    Args:
        report: What to show.

    Yields:
        The name of each figure's file (``.png`` or ``.svg``), and the figure.
    """
    del report
    yield from ()
