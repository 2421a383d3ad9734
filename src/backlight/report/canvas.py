"""Empty figures: where titles, labels and panels go."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

_COLUMNS = 6


def one_panel(title: str) -> tuple[Figure, Axes]:
    """Lay out one picture."""
    figure = Figure(figsize=(8, 4.5))
    figure.suptitle(title, size=11)
    return figure, figure.subplots(gridspec_kw=_margins(8, 4.5))


def two_panels(title: str) -> tuple[Figure, list[Axes]]:
    """Lay out two pictures side by side."""
    figure = Figure(figsize=(13, 4.5))
    figure.suptitle(title, size=11)
    return figure, list(figure.subplots(1, 2, gridspec_kw={**_margins(13, 4.5), "wspace": 0.2}))


def layer_grid(
    title: str, layers: Sequence[int], *, x: str, y: str, share: bool = True
) -> tuple[Figure, list[Axes]]:
    """Lay out one small picture for each layer.

    Args:
        title: Of the figure.
        layers: The layers.
        x: The label of all horizontal axes.
        y: The label of all vertical axes.
        share: All are on one scale.

    Returns:
        The figure, and the axes of each layer.
    """
    columns = min(_COLUMNS, len(layers))
    rows = -(-len(layers) // columns)
    width, height = 2.4 * columns + 0.6, 1.7 * rows + 1
    figure = Figure(figsize=(width, height))
    figure.suptitle(title, size=12)
    figure.supxlabel(x, size=10)
    figure.supylabel(y, size=10)
    margins = _margins(width, height) | ({} if share else {"wspace": 0.35, "hspace": 0.6})
    panels = figure.subplots(
        rows, columns, sharex=share, sharey=share, squeeze=False, gridspec_kw=margins
    )
    cells = list(panels.flat)
    for layer, axes in zip(layers, cells, strict=False):
        axes.set_title(f"layer {layer}", size=8)
        axes.tick_params(labelsize=7)
    for axes in cells[len(layers) :]:
        axes.set_axis_off()
    return figure, cells[: len(layers)]


def _margins(width: float, height: float) -> dict[str, float]:
    """Leave room for titles and labels, in inches: much quicker than to lay out each figure."""
    return {
        "left": 0.95 / width,
        "right": 1 - 0.2 / width,
        "bottom": 0.6 / height,
        "top": 1 - 0.6 / height,
        "wspace": 0.12,
        "hspace": 0.35,
    }
