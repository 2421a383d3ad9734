"""All figures of a run of ``backlight flow``, drawn from its tables."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from matplotlib.figure import Figure

from backlight.surveys.flow.figures.attention import draw_distances, draw_heads
from backlight.surveys.flow.figures.depth import draw_depth_profile, draw_residual
from backlight.surveys.flow.figures.drawing.picture import draw_picture
from backlight.surveys.flow.figures.norms import draw_norms
from backlight.tables import Table


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
    tables = report.tables
    if "residual" in tables:
        for ending in ("svg", "png"):
            picture = draw_picture(
                tables["depth"], tables["residual"], tables["depth_slope"], subtitle=report.title
            )
            yield f"gradient_flow.{ending}", picture
        depth = (tables["depth"], tables["depth_by_position"], tables["depth_slope"])
        yield "depth_profile.png", draw_depth_profile(*depth, subtitle=report.title)
        yield "residual.png", draw_residual(tables["residual"], subtitle=report.title)
    if "norms" in tables:
        yield "norms.png", draw_norms(tables["norms"], subtitle=report.title)
    if "attention" in tables:
        yield "attention_heads.png", draw_heads(tables["attention"], subtitle=report.title)
        distances = tables["attention_distance"]
        yield "attention_distance.png", draw_distances(distances, subtitle=report.title)
