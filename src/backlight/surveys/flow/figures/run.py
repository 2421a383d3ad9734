"""All figures of a run of ``backlight flow``, drawn from its tables."""

from collections.abc import Iterator
from functools import cache, partial

from backlight.report.drawing import Drawing
from backlight.report.wrong import has_warnings
from backlight.runs.results import Results
from backlight.surveys.flow.figures.attention import draw_ablation, draw_distances, draw_heads
from backlight.surveys.flow.figures.depth import draw_depth_profile, draw_residual
from backlight.surveys.flow.figures.drawing.picture import draw_picture
from backlight.surveys.flow.figures.norms import draw_norms


def draw(results: Results) -> Iterator[Drawing]:
    """List all figures of a run, of the views that it has.

    Args:
        results: The run, measured just now or read from disk.

    Yields:
        The figures (``.png`` or ``.svg``), not yet drawn.
    """
    tables, told = results.tables, results.metadata
    model = results.config["model_name"]
    about = f"{model}, {told['num_tokens']:,} tokens in {told['num_passages']:,} passages"
    if "residual" in tables:
        depth, residual, slopes = (tables[name] for name in ("depth", "residual", "depth_slope"))
        picture = cache(partial(draw_picture, depth, residual, slopes, subtitle=about))
        for ending in ("svg", "png"):
            yield Drawing(name=f"gradient_flow.{ending}", make=picture)
        by_position = tables["depth_by_position"]
        profile = partial(draw_depth_profile, depth, by_position, slopes, subtitle=about)
        yield Drawing(name="depth_profile.png", make=profile)
        paths = partial(draw_residual, residual, subtitle=about)
        yield Drawing(name="residual.png", make=paths)
    if "norms" in tables:
        norms = partial(draw_norms, tables["norms"], subtitle=about)
        yield Drawing(name="norms.png", make=norms)
    if "attention" in tables:
        heads = partial(draw_heads, tables["attention"], subtitle=about)
        yield Drawing(name="attention_heads.png", make=heads)
        if has_warnings(tables["attention"]):
            ablation = partial(draw_ablation, tables["attention"], subtitle=about)
            yield Drawing(name="attention_ablation.png", make=ablation)
        distances = partial(draw_distances, tables["attention_distance"], subtitle=about)
        yield Drawing(name="attention_distance.png", make=distances)
