"""All figures of a run of ``backlight flow``, drawn from its tables."""

from collections.abc import Iterator

from matplotlib.figure import Figure

from backlight.runs.results import Results
from backlight.surveys.flow.figures.attention import draw_distances, draw_heads
from backlight.surveys.flow.figures.depth import draw_depth_profile, draw_residual
from backlight.surveys.flow.figures.drawing.picture import draw_picture
from backlight.surveys.flow.figures.norms import draw_norms


def draw(results: Results) -> Iterator[tuple[str, Figure]]:
    """Draw all figures of a run, of the views that it has.

    Args:
        results: The run, measured just now or read from disk.

    Yields:
        The name of each figure's file (``.png`` or ``.svg``), and the figure.
    """
    tables, told = results.tables, results.metadata
    model = results.config["model_name"]
    about = f"{model}, {told['num_tokens']:,} tokens in {told['num_passages']:,} passages"
    if "residual" in tables:
        depth, residual, slopes = (tables[name] for name in ("depth", "residual", "depth_slope"))
        for ending in ("svg", "png"):
            picture = draw_picture(depth, residual, slopes, subtitle=about)
            yield f"gradient_flow.{ending}", picture
        profile = draw_depth_profile(depth, tables["depth_by_position"], slopes, subtitle=about)
        yield "depth_profile.png", profile
        yield "residual.png", draw_residual(residual, subtitle=about)
    if "norms" in tables:
        yield "norms.png", draw_norms(tables["norms"], subtitle=about)
    if "attention" in tables:
        yield "attention_heads.png", draw_heads(tables["attention"], subtitle=about)
        distances = draw_distances(tables["attention_distance"], subtitle=about)
        yield "attention_distance.png", distances
