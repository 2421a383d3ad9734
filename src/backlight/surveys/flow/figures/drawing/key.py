"""What is written around the picture of paths: numbers below layers, headline, keys, caption."""

import numpy as np
from matplotlib import colormaps
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize
from matplotlib.patches import Circle, Rectangle

from backlight.report.scales import brief
from backlight.surveys.flow.drawn.paths import Paths
from backlight.surveys.flow.drawn.shapes import slices
from backlight.surveys.flow.figures.drawing.colours import colours
from backlight.surveys.flow.figures.drawing.layout import FAINT, INK, SOFT, Layout, thickest_loop
from backlight.tables import Table

_COSINES = Normalize(-0.6, 0.6)
_LONG, _LOW, _HIGH = 3.8, 0.5, 0.92  # of the wedge; heights of samples and of headings
_SAMPLES = (-0.6, -0.3, 0.0, 0.3, 0.6)


def number_layers(layout: Layout) -> None:
    """Draw a stripe for each second layer, numbers below, and the norm between each two."""
    axes, bottom, count = layout.axes, layout.bottom, layout.paths.num_layers
    size = float(np.clip(19 * layout.step, 7, 9.5))
    small = float(np.clip(16 * layout.step, 6.2, 9))
    for layer in range(count):
        if layer % 2 == 0:
            corner, height = (layout.x(layer), bottom), layout.top - bottom
            axes.add_patch(Rectangle(corner, layout.step, height, color=FAINT, linewidth=0))
        layout.write(layout.x(layer + 0.5), bottom - 0.16, str(layer), size=size)
    every = int(np.ceil(small * 0.06 / layout.step))
    for depth in [*range(0, count - every + 1, every), count]:
        text, x = brief(float(layout.paths.ends[depth])), layout.x(depth)
        axes.plot([x, x], [bottom - 0.3, bottom - 0.02], color="#c9ced6", linewidth=0.5)
        layout.write(x, bottom - 0.4, text, size=small, color=SOFT)
    left = layout.x(0) - 0.35
    layout.write(left, bottom - 0.16, "layer", size=9, ha="right")
    layout.write(left, bottom - 0.4, "gradient norm", size=8.5, color=SOFT, ha="right")


def write_slope(layout: Layout, slopes: Table) -> None:
    """Write above the layers by what the norm is multiplied from layer to layer."""
    slope, low, high = (float(slopes[name][0]) for name in ("slope", "slope_low", "slope_high"))
    if np.isnan(slope):
        return
    line = f"backward, the norm is multiplied by {np.exp(slope):#.4g} per layer"
    if np.isfinite(low):
        line += f" (95 %: {np.exp(low):#.4g} to {np.exp(high):#.4g})"
    place = (layout.x(layout.paths.num_layers / 2), layout.top + 0.22)
    layout.write(*place, f"\u27f5  {line}", size=10)


def draw_bead(layout: Layout, x: float, y: float, cosine: float, *, is_certain: bool) -> None:
    """Draw a cosine as a bead: red with a plus, blue with a minus, or white."""
    radius = float(np.clip(0.17 * layout.step, 0.055, 0.095))
    colour = colormaps["RdBu_r"](_COSINES(cosine)) if is_certain else "white"
    bead = Circle((x, y), radius, facecolor=colour, edgecolor=SOFT, linewidth=0.5, zorder=4)
    layout.axes.add_patch(bead)
    if is_certain:
        sign, ink = "+" if cosine > 0 else "\u2212", "white" if abs(cosine) > 0.35 else INK
        layout.write(x, y - 0.05 * radius, sign, size=95 * radius, color=ink)


def draw_key(layout: Layout, label: str) -> None:
    """Draw what thickness, colours and beads mean.

    Args:
        layout: Where to draw.
        label: What the norm is called, with its unit.
    """
    start = max(0.35, (layout.width - 9.6) / 2)
    _draw_wedge(layout, start, label)
    start += _LONG + 1.2
    heading = "cosine of what returns through a branch with what goes around it"
    layout.write(start, _HIGH, heading, size=8.5, ha="left")
    for place, cosine in enumerate(_SAMPLES):
        x = start + 0.25 + 0.95 * place
        draw_bead(layout, x, _LOW, cosine, is_certain=cosine != 0)
        text = f"{cosine:+.1f}".replace("-", "\u2212") if cosine else "may be 0"
        layout.write(x, _LOW - 0.3, text, size=8, color=SOFT)


def explain_paths(paths: Paths) -> list[str]:
    """Write the sentences that say how to read the picture.

    Args:
        paths: What is drawn.

    Returns:
        The sentences.
    """
    ratio = Layout.thickest / thickest_loop(paths.num_layers)
    along, scale = paths.norms[paths.norms > 0], paths.scale
    times = f"{along.max() / along.min():,.0f}" if len(along) else "0"
    grows = f"logarithm of the norm, because along the stream it differs by a factor of {times}"
    lines = [
        "Band: the residual stream, from the embedding to the loss; the gradient runs through it "
        "from right to left. Thickness and colour show how strong it is: the root mean square "
        "over tokens of the norm of dL/dx, which is how much the loss changes, to first order, if "
        "a token's vector is moved by one unit in the direction in which it changes most. "
        f"Thickness grows with the {grows if scale.is_log else 'norm itself'}.",
        "Loops: what returns through the attention (above) and the MLP (below) of a layer, and is "
        "added to what goes around them. Their colours are those of the band; their thickness "
        f"grows in the same way, {ratio:.0f} times thinner.",
        "Beads: + (red), what returns through a branch points the same way as what goes around it, "
        "and makes it stronger; \u2212 (blue), it points against it; white, the cosine is within "
        "1.96 standard errors of 0.",
    ]
    branches, layers = paths.branches, {branch.layer for branch in paths.branches}
    if any(branch.is_parallel for branch in branches):
        lines.append("Parallel blocks: the attention and the MLP of a layer read the same stream.")
    if all(np.isnan(branch.error) for branch in branches):
        lines.append("There is one sequence, so nothing is known of errors, and no bead is white.")
    if len(layers) < paths.num_layers:
        lines.append("Layers without loops were not asked for.")
    return lines


def _draw_wedge(layout: Layout, start: float, label: str) -> None:
    """Draw the stream at all strengths of the scale, a third as thick."""
    scale, places = layout.scale, np.linspace(0, 1, 121)
    norms = scale.low * (scale.high / scale.low) ** places
    half = scale.thickness(norms) * layout.thickest / 6
    strengths = colours(scale, np.sqrt(norms[1:] * norms[:-1]))
    wedge = slices(start + _LONG * places, half, _LOW)
    layout.axes.add_collection(
        PolyCollection(wedge, facecolors=strengths, gid="key"), autolim=False
    )
    for tick in scale.ticks():
        x = start + _LONG * np.log(tick / scale.low) / np.log(scale.high / scale.low)
        layout.axes.plot([x, x], [_LOW - 0.24, _LOW - 0.19], color=SOFT, linewidth=0.6)
        layout.write(x, _LOW - 0.32, brief(tick), size=8, color=SOFT)
    layout.write(start, _HIGH, label, size=8.5, ha="left")
