"""All figures of a run of ``backlight tokens``, drawn from its tables and arrays."""

from collections.abc import Iterator

from matplotlib.figure import Figure

from backlight.runs.results import Results
from backlight.surveys.tokens.figures.colouring import Colouring
from backlight.surveys.tokens.figures.heatmaps import draw_heatmaps
from backlight.surveys.tokens.figures.lines import draw_by_position, draw_geometry_by_layer
from backlight.surveys.tokens.figures.shown import Shown, choose_targets, find_targets
from backlight.surveys.tokens.figures.vectors import draw_components, draw_cosines, draw_statistics


def draw(results: Results) -> Iterator[tuple[str, Figure]]:
    """Draw all figures of a run.

    Args:
        results: The run, measured just now or read from disk.

    Yields:
        The name of each figure's file, and the figure.
    """
    shown = Shown.of(results)
    for drawn in (draw_heatmaps, draw_by_position, _draw_vectors, draw_geometry_by_layer):
        for name, figure in drawn(shown):
            yield f"figures/{name}.png", figure


def _draw_vectors(shown: Shown) -> Iterator[tuple[str, Figure]]:
    """Draw what needs the vectors of each prompt; of vectors that are zero there is nothing."""
    targets = find_targets(shown)
    alive = [target for target in targets if not target.is_structural]
    shaped = [target for target in alive if target.has_shape]
    colouring = Colouring.of(shown.prompts, shown.color_by)
    for target in shaped:
        figure = draw_components(target, colouring, shown.title)
        yield f"gradient_pca_{target.key}", figure
    if alive:
        left_out = [target.name for target in targets if target.is_structural]
        figure = draw_statistics(choose_targets(alive), left_out, shown)
        yield "gradient_statistics", figure
    if shaped:
        yield "gradient_cosines", draw_cosines(choose_targets(shaped), colouring, shown.title)
