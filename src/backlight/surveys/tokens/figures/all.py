"""All figures of a run of ``backlight tokens``, drawn from its tables and arrays."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from numpy.typing import NDArray

from backlight.surveys.tokens.figures.colouring import Colouring, split_markers
from backlight.surveys.tokens.figures.components import draw_components
from backlight.surveys.tokens.figures.grids import Grids, draw_heatmaps, draw_single_prompts
from backlight.surveys.tokens.figures.lines import draw_by_position, draw_geometry_by_layer
from backlight.surveys.tokens.figures.statistics import draw_cosines, draw_statistics
from backlight.surveys.tokens.figures.targets import choose_targets, find_targets
from backlight.tables import Table


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
    grids = Grids(
        title=report.title,
        num_input=report.num_input,
        positions=report.positions,
        prompts=report.prompts,
        arrays=report.arrays,
    )
    yield from draw_heatmaps(grids)
    yield from draw_single_prompts(grids)
    yield from draw_by_position(grids)
    yield from _vector_figures(report)
    yield from draw_geometry_by_layer(report.geometry, report.title, report.prompts.num_rows)


def _vector_figures(report: TokensReport) -> Iterator[tuple[str, Figure]]:
    """Draw what needs the vectors of each prompt; of vectors that are zero there is nothing."""
    targets = find_targets(report.geometry, report.positions, report.arrays)
    alive = [target for target in targets if not target.is_structural]
    shaped = [target for target in alive if target.has_shape]
    colouring = Colouring.of(report.prompts, report.color_by)
    markers, splits = split_markers(report.prompts)
    for target in shaped:
        figure = draw_components(target, report.title, colouring, markers, splits)
        yield f"gradient_pca_{target.key}.png", figure
    if alive:
        left_out = [target for target in targets if target.is_structural]
        norm = report.positions.label("gradient_norm")
        chosen = choose_targets(alive)
        yield (
            "gradient_statistics.png",
            draw_statistics(chosen, left_out, report.prompts, norm, report.title),
        )
    if shaped:
        chosen = choose_targets(shaped)
        yield "gradient_cosines.png", draw_cosines(chosen, colouring, report.title)
