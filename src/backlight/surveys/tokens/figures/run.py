"""All figures of a run of ``backlight tokens``, drawn from its tables and arrays."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from backlight.report.drawing import Drawing
from backlight.report.path_drawing import draw_paths
from backlight.runs.results import Results
from backlight.surveys.tokens.figures.colouring import Colouring
from backlight.surveys.tokens.figures.components import Components
from backlight.surveys.tokens.figures.heatmaps import draw_heatmaps
from backlight.surveys.tokens.figures.lines import draw_by_position, draw_geometry_by_layer
from backlight.surveys.tokens.figures.vectors import draw_cosines, draw_statistics
from backlight.surveys.tokens.shown import Shown, choose_targets, find_targets


def draw(results: Results) -> Iterator[Drawing]:
    """List all figures of a run.

    Args:
        results: The run, measured just now or read from disk.

    Yields:
        The figures, not yet drawn.
    """
    shown = Shown.of(results)
    for listed in (draw_heatmaps, draw_by_position, _draw_vectors, draw_geometry_by_layer):
        for drawing in listed(shown):
            yield replace(drawing, name=f"figures/{drawing.name}.png")
    yield from draw_paths(results, name="figures/path_completeness.png", title=shown.title)


def _draw_vectors(shown: Shown) -> Iterator[Drawing]:
    """List what needs the vectors of each prompt; of vectors that are zero there is nothing."""
    targets = find_targets(shown)
    alive = [target for target in targets if not target.is_structural]
    shaped = [target for target in alive if target.has_shape]
    colouring = Colouring.of(shown.prompts, shown.color_by)
    components = Components(colouring, shown.title)
    for target in shaped:
        make = partial(components.draw, target)
        yield Drawing(name=f"gradient_pca_{target.key}", is_overview=False, make=make)
    if alive:
        left_out = [target.name for target in targets if target.is_structural]
        statistics = partial(draw_statistics, choose_targets(alive), left_out, shown)
        yield Drawing(name="gradient_statistics", make=statistics)
    if shaped:
        cosines = partial(draw_cosines, choose_targets(shaped), colouring, shown.title)
        yield Drawing(name="gradient_cosines", make=cosines)
