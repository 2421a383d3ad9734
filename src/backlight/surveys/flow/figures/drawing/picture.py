"""The model as its residual stream, with the gradient's strength along every path."""

import numpy as np
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle, PathPatch, Polygon, Rectangle
from matplotlib.path import Path

from backlight.surveys.flow.drawn.paths import Branch, Paths
from backlight.surveys.flow.drawn.shapes import arrowhead, loop, slices
from backlight.surveys.flow.figures.drawing.colours import colours
from backlight.surveys.flow.figures.drawing.key import (
    draw_bead,
    draw_key,
    explain_paths,
    number_layers,
    write_slope,
)
from backlight.surveys.flow.figures.drawing.layout import INK, SOFT, Layout, thickest_loop
from backlight.tables import Table

STREAM = "stream"
"""The ``gid`` of the band; that of a loop is its place, such as ``layers.3.mlp``."""

_SLICES = 30  # for each time that the norm grows by a factor of e between two places
_MOST, _WIDEST = 60, 0.05  # slices between two places; inches of a slice
_THINNEST = 0.009  # inches, of a loop
_TAIL, _HEAD, _STUB = 0.16, 0.3, 0.5  # inches, of the stream before and behind the layers


def draw_picture(depth: Table, residual: Table, slopes: Table, *, subtitle: str) -> Figure:
    """Draw the stream from the embedding to the loss, and a loop through every branch.

    Args:
        depth: The table of norms by depth.
        residual: The table of paths.
        slopes: The table of slopes; its first row is of all positions.
        subtitle: What was measured.

    Returns:
        The figure.
    """
    paths = Paths.of(depth, residual)
    layout = Layout.of(
        paths,
        title="The gradient on its way back through the residual stream",
        subtitle=subtitle,
        caption=explain_paths(paths),
    )
    number_layers(layout)
    _draw_stream(layout)
    _draw_embedding(layout)
    _draw_loss(layout)
    for branch in paths.branches:
        _draw_branch(layout, branch)
    write_slope(layout, slopes)
    draw_key(layout, depth.label("gradient_norm"))
    return layout.figure


def _draw_stream(layout: Layout) -> None:
    """Draw the stream as slices, each in one colour, the more the faster the norm changes."""
    known = layout.paths.depths
    steps = np.abs(np.diff(np.log(layout.paths.norms_at(known))))
    fewest = np.ceil(layout.step * np.diff(known) / _WIDEST)
    counts = np.maximum(np.minimum(_SLICES * steps, _MOST), fewest).astype(int).tolist()
    parts = [
        np.linspace(start, end, count, endpoint=False)
        for start, end, count in zip(known[:-1], known[1:], counts, strict=True)
    ]
    cuts = np.concatenate([*parts, known[-1:]])
    band = slices(layout.left + layout.step * cuts, layout.halves(cuts), layout.middle)
    strengths = colours(layout.scale, layout.paths.norms_at((cuts[1:] + cuts[:-1]) / 2))
    stream = PolyCollection(band, facecolors=strengths, gid=STREAM, zorder=2)
    layout.axes.add_collection(stream, autolim=False)
    marks = [
        [(x + side, layout.middle + up) for side, up in ((0.035, 0.06), (0, 0), (0.035, -0.06))]
        for x in (layout.x(layer + 0.5) for layer in range(layout.paths.num_layers))
    ]
    chevrons = LineCollection(marks, colors="white", linewidths=1, alpha=0.7, zorder=3)
    layout.axes.add_collection(chevrons, autolim=False)


def _draw_embedding(layout: Layout) -> None:
    """End the stream in an arrowhead."""
    start, middle, half = layout.x(0), layout.middle, layout.half(0.0)
    colour = colours(layout.scale, layout.paths.ends[0])
    tip = start - _TAIL - _HEAD - 0.2 * half
    tail = Rectangle((start - _TAIL - 0.01, middle - half), _TAIL + 0.02, 2 * half)
    base, point = np.array([start - _TAIL, middle]), np.array([tip, middle])
    head = Polygon(arrowhead(base, point, width=2 * half + 0.2))
    for patch in (tail, head):
        patch.set(facecolor=colour, linewidth=0, zorder=2)
        layout.axes.add_patch(patch)
    layout.write(tip - 0.08, middle, "embedding", size=9, ha="right")
    height = half + 0.55 * layout.rise
    for text, y in (("through\nattention", height), ("through\nthe MLP", -height)):
        layout.write(start - 0.35, middle + y, text, size=8.5, color=SOFT, ha="right")


def _draw_loss(layout: Layout) -> None:
    """Begin the stream at the loss, behind the final norm and the head."""
    end, middle = layout.x(layout.paths.num_layers), layout.middle
    half = layout.half(layout.paths.num_layers)
    colour = colours(layout.scale, layout.paths.ends[-1])
    stub = Rectangle((end - 0.01, middle - half), _STUB + 0.01, 2 * half, color=colour, linewidth=0)
    source = Circle((end + _STUB + 0.2, middle), 0.25, facecolor="white", edgecolor=INK, zorder=3)
    stub.set_zorder(2)
    for patch in (stub, source):
        layout.axes.add_patch(patch)
    layout.write(end + _STUB + 0.2, middle, "loss", size=9)
    below = middle - max(half, 0.25) - 0.25
    layout.write(end + _STUB + 0.2, below, "final norm\nand head", size=7.5, color=SOFT)


def _draw_branch(layout: Layout, branch: Branch) -> None:
    if not np.isfinite(branch.norm):
        return
    side = 1 if branch.name == "attention" else -1
    right, left = (
        np.array([layout.x(depth), layout.middle + side * layout.half(depth)])
        for depth in branch.depths
    )
    share = float(layout.scale.thickness(branch.norm))
    thickness = max(share * thickest_loop(layout.paths.num_layers), _THINNEST)
    outline = loop(right, left, rise=side * layout.rise, thickness=thickness)
    place = f"layers.{branch.layer}.{branch.name}"
    colour = colours(layout.scale, branch.norm)
    layout.axes.add_patch(
        PathPatch(Path(outline, closed=True), color=colour, linewidth=0, gid=place, zorder=3)
    )
    x, y = (right + left) / 2 + [0, side * layout.rise]
    draw_bead(layout, x, y, branch.cosine, is_certain=branch.is_certain)
