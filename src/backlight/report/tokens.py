"""All figures of a run of ``backlight tokens``, drawn from its tables and arrays."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from numpy.typing import NDArray

from backlight.tables import Table

__all__ = ["TokensReport", "draw_tokens"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensReport:
    """What the figures of a run show.

    Attributes:
        title: What was measured, for titles.
        color_by: The column of ``prompts`` that colours points; None for none.
        num_input: How many of the positions are of the input: those of the answer follow.
        positions: The table by site, head and position.
        prompts: The table by prompt.
        geometry: The table by site and target position.
        arrays: By name, see ``backlight.tokens``; whole vectors are not needed.
    """

    title: str
    color_by: str | None
    num_input: int
    positions: Table
    prompts: Table
    geometry: Table
    arrays: Mapping[str, NDArray[Any]]


def draw_tokens(report: TokensReport) -> Iterator[tuple[str, Figure]]:
    """Draw all figures of a run.

    Args:
        report: What to show.

    Yields:
        The name of each figure's file, and the figure.
    """
    yield from ()
