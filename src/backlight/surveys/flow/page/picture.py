"""The model as its residual stream, with the gradient along every path, for the page.

The stream runs from the loss above to the embedding below, as the page is read; attention's loops
are on the left, the MLP's on the right. Lengths along and across the stream are inches, as those of
the figure (``drawn/shapes.py``), until they become places on the page.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from backlight.report.page.diagrams import Diagram, Paint, Shape
from backlight.report.page.views import Numbers
from backlight.surveys.flow.drawn.paths import Branch, Paths, Strength
from backlight.surveys.flow.drawn.shapes import arrowhead, loop
from backlight.surveys.flow.page.telling import brief, told
from backlight.tables import Table

_WIDTH, _MIDDLE, _INCH = 640.0, 310.0, 100.0  # the page's pixels, on a wide screen
_LEFT, _RIGHT = 62.0, 540.0  # where the stripes of layers begin and end
_ABOVE, _BELOW = 120.0, 104.0
_THICKEST, _RISE = 1.5, 1.05  # inches, of the stream; from its edge to the top of a loop
_SPAN, _NARROWEST, _WIDEST = 13.2, 0.4, 1.1  # of all layers; of one
_THINNEST = 0.012  # inches, of a loop
_CUTS = 12  # of the stream's outline, between two places where its norm is known
_TAIL, _STUB = 0.12, 0.26  # of the stream, before and behind the layers
_PAINTS: dict[str, Paint] = {"attention": "first", "mlp": "second"}
_Part = tuple[float, list[Shape]]  # what is at a depth
_NAMES = {"attention": "attention", "mlp": "MLP", "block": "attention and MLP together"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """Where everything is.

    Attributes:
        paths: What is drawn.
        scale: How thick strengths are.
        step: From one layer to the next, in inches.
    """

    paths: Paths
    scale: Strength
    step: float

    @staticmethod
    def of(paths: Paths) -> "_Plan":
        step = float(np.clip(_SPAN / paths.num_layers, _NARROWEST, _WIDEST))
        return _Plan(paths=paths, scale=paths.scale, step=step)

    @property
    def bottom(self) -> float:
        """Where the stream leaves the first layer."""
        return _ABOVE + self.paths.num_layers * self.step * _INCH

    @property
    def thickest_loop(self) -> float:
        return 0.16 * min(1.0, self.step)

    def half(self, depth: float) -> float:
        """Return half the stream's thickness at a depth, in inches."""
        norm = self.paths.norms_at(np.array([float(depth)]))
        return float(self.scale.thickness(norm)[0]) * _THICKEST / 2

    def y(self, depth: float) -> float:
        return self.bottom - depth * self.step * _INCH

    def placed(self, inches: NDArray[np.float64]) -> Numbers:
        """Turn lengths along (towards the loss) and across (to the left) into places."""
        along, across = np.asarray(inches, dtype=np.float64).T
        return np.stack([_MIDDLE - across * _INCH, self.bottom - along * _INCH], axis=1)


def picture(depth: Table, residual: Table) -> Diagram:
    """Draw the stream from the loss to the embedding, and a loop through every branch.

    Args:
        depth: The table of norms by depth.
        residual: The table of paths.

    Returns:
        The picture; everything in it tells its numbers.
    """
    plan = _Plan.of(Paths.of(depth, residual))
    return Diagram(
        title="The gradient on its way back through the residual stream",
        note=_note(plan),
        width=_WIDTH,
        height=plan.bottom + _BELOW,
        shapes=[
            *_layers(plan),
            *_stream(plan),
            *_in_order([*_loops(plan, residual), *_middles(plan, residual), *_depths(plan, depth)]),
            *_words(plan, depth),
        ],
    )


def _note(plan: _Plan) -> str:
    along, scale = plan.paths.norms[plan.paths.norms > 0], plan.scale
    times = f"{along.max() / along.min():,.0f}" if len(along) else "0"
    grows = f"logarithm of the norm, which differs by a factor of {times} along the stream"
    ratio = _THICKEST / plan.thickest_loop
    lines = [
        "Point at anything to read its numbers. The band is the residual stream, in which the "
        "gradient runs down, from the loss to the embedding. It is the wider, the stronger the "
        "gradient is: the root mean square over tokens of the norm of dL/dx. Width grows with the "
        f"{grows if scale.is_log else 'norm itself'}. Loops are what returns through the "
        f"attention (left) and the MLP (right) of a layer, {ratio:.0f} times thinner. Dots: + "
        "(full), it points the same way as what goes around the branch, and makes it stronger; "
        "\u2212 (hollow), it points against it; empty, the cosine is within 1.96 standard errors "
        "of 0."
    ]
    branches = plan.paths.branches
    if any(branch.is_parallel for branch in branches):
        lines.append("The attention and the MLP of a layer read the same stream.")
    if all(np.isnan(branch.error) for branch in branches):
        lines.append("There is one sequence, so nothing is known of errors, and no dot is empty.")
    if len({branch.layer for branch in branches}) < plan.paths.num_layers:
        lines.append("Layers without loops were not asked for.")
    return " ".join(lines)


def _layers(plan: _Plan) -> Iterator[Shape]:
    """Draw a stripe for each second layer, and the layers' numbers."""
    for layer in range(plan.paths.num_layers):
        low, high = plan.y(layer), plan.y(layer + 1)
        if layer % 2 == 0:
            box = _box(_LEFT, high, _RIGHT, low)
            yield Shape(kind="polygon", points=box, paint="line", opacity=0.45)
        yield _text(str(layer), 46, (low + high) / 2 + 5, align="end")


def _stream(plan: _Plan) -> Iterator[Shape]:
    """Draw the stream, from a stub at the loss to an arrowhead at the embedding."""
    known = plan.paths.depths
    parts = [np.linspace(start, end, _CUTS, endpoint=False) for start, end in pairwise(known)]
    cuts = np.concatenate([*parts, known[-1:]])
    half = plan.scale.thickness(plan.paths.norms_at(cuts)) * _THICKEST / 2
    along = cuts * plan.step
    along[-1] += _STUB
    head = arrowhead(
        np.array([-_TAIL, 0.0]),
        np.array([-_TAIL - 0.34 - 0.12 * half[0], 0.0]),
        width=2 * half[0] + 0.24,
    )
    left, right = np.stack([along, half], axis=1), np.stack([along, -half], axis=1)
    tail = np.array([[-_TAIL, 1.0], [-_TAIL, -1.0]]) * [1, half[0]]
    outline = np.concatenate([left[::-1], tail[:1], head[[0, 1, 2]][_order(head)], tail[1:], right])
    yield Shape(kind="polygon", points=plan.placed(outline), paint="third", opacity=0.8)


def _order(head: NDArray[np.float64]) -> list[int]:
    """Walk through an arrowhead's corners from the left of the page to its right."""
    return [0, 1, 2] if head[0, 1] > head[2, 1] else [2, 1, 0]


def _in_order(parts: Sequence[_Part]) -> Iterator[Shape]:
    """Order parts as the gradient comes to them, which is how the keyboard walks through them."""
    for _, shapes in sorted(parts, key=lambda part: -part[0]):
        yield from shapes


def _loops(plan: _Plan, residual: Table) -> Iterator[_Part]:
    rows = {
        (layer, half): row
        for row, (layer, half) in enumerate(
            zip(residual["layer"].tolist(), residual["half"].tolist(), strict=True)
        )
    }
    for branch in plan.paths.branches:
        if np.isfinite(branch.norm):
            telling = _told_paths(residual, rows[branch.layer, branch.name])
            yield sum(branch.depths) / 2, [*_loop(plan, branch, telling)]


def _loop(plan: _Plan, branch: Branch, telling: str) -> Iterator[Shape]:
    side = 1 if branch.name == "attention" else -1
    start, end = (np.array([depth * plan.step, side * plan.half(depth)]) for depth in branch.depths)
    share = float(plan.scale.thickness(branch.norm))
    thickness = max(share * plan.thickest_loop, _THINNEST)
    outline = loop(start, end, rise=side * _RISE, thickness=thickness)
    points, paint = plan.placed(outline), _PAINTS[branch.name]
    yield Shape(kind="polygon", points=points, paint=paint, told=telling)
    top = (start + end) / 2 + [0, side * _RISE]
    yield from _dot(plan, plan.placed(top[None])[0], branch)


def _dot(plan: _Plan, place: Numbers, branch: Branch) -> Iterator[Shape]:
    """Draw the sign of a cosine; an empty dot if it may be zero."""
    radius = float(np.clip(18 * plan.step, 7, 10))
    is_full = branch.is_certain and branch.cosine > 0
    yield _disc(place, radius, "ink" if branch.is_certain else "soft")
    if not is_full:
        yield _disc(place, radius - 1.3, "paper")
    if branch.is_certain:
        sign, paint = ("+", "paper") if is_full else ("\u2212", "ink")
        yield _text(sign, place[0], place[1] + 0.55 * radius, size=1.7 * radius, paint=paint)


def _middles(plan: _Plan, residual: Table) -> Iterator[_Part]:
    """Draw which way the gradient runs, and tell what is known in the middle of each layer."""
    for row, (layer, half) in enumerate(
        zip(residual["layer"].tolist(), residual["half"].tolist(), strict=True)
    ):
        if half == "block":
            telling = _told_paths(residual, row)
        elif half == "mlp" and layer not in _parallel(residual):
            line = told(residual, row, "input_norm", "gradient norm")
            telling = f"Layer {layer}, between attention and MLP\n{line}"
        else:
            continue
        y = plan.y(layer + 0.5)
        mark = np.array([[_MIDDLE - 9, y - 3.5], [_MIDDLE, y + 3.5], [_MIDDLE + 9, y - 3.5]])
        shape = Shape(kind="line", points=mark, paint="paper", width=2, told=telling)
        yield layer + 0.5, [shape]


def _depths(plan: _Plan, depth: Table) -> Iterator[_Part]:
    """Draw a line across the stream where it enters each layer, and write the norm there."""
    last = plan.paths.num_layers
    for row, place in enumerate(depth["depth"].tolist()):
        half, y = plan.half(place) * _INCH, plan.y(place)
        norm = told(depth, row, "gradient_norm", "gradient norm")
        line = Shape(
            kind="line",
            points=np.array([[_MIDDLE - half, y], [_MIDDLE + half, y]]),
            paint="paper",
            width=1.2,
            told=f"Depth {place}, {_where(place, last)}\n{norm}",
        )
        number = brief(float(depth["gradient_norm"][row]))
        yield place, [line, _text(number, _WIDTH - 6, y + 5, align="end", paint="soft")]


def _where(depth: int, last: int) -> str:
    if depth == 0:
        return "the embedding"
    return "behind the last layer" if depth == last else f"where the stream enters layer {depth}"


def _words(plan: _Plan, depth: Table) -> Iterator[Shape]:
    """Write what the parts are."""
    yield _text("loss", _MIDDLE, _ABOVE - 62, size=17)
    yield _text("through attention", _MIDDLE - 172, _ABOVE - 34, paint="first")
    yield _text("through the MLP", _MIDDLE + 172, _ABOVE - 34, paint="second")
    yield _text("layer", 46, _ABOVE - 62, align="end", paint="soft")
    for line, text in enumerate(("gradient norm", f"({depth.units['gradient_norm']})")):
        yield _text(text, _WIDTH - 6, _ABOVE - 62 + 17 * line, align="end", paint="soft")
    yield _text("embedding", _MIDDLE, plan.bottom + _BELOW - 12, size=17)


def _told_paths(residual: Table, row: int) -> str:
    layer, half = int(residual["layer"][row]), str(residual["half"][row])
    through = f"through the {_NAMES[half]}" if half == "mlp" else f"through {_NAMES[half]}"
    lines = {
        "direct_norm": "around (direct)",
        "transform_norm": f"{through} (transform)",
        "transform_share": "share of the transform",
        "cosine": "cosine of both",
        "growth": "growth",
    }
    return "\n".join(
        [
            f"Layer {layer}, {_NAMES[half]}",
            *(told(residual, row, column, label) for column, label in lines.items()),
        ]
    )


def _parallel(residual: Table) -> set[int]:
    return set(residual["layer"][residual["half"] == "block"].tolist())


def _box(left: float, top: float, right: float, bottom: float) -> Numbers:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def _disc(place: Numbers, radius: float, paint: Paint) -> Shape:
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return Shape(kind="polygon", points=place + radius * circle, paint=paint)


def _text(
    text: str,
    x: float,
    y: float,
    *,
    size: float = 15,
    paint: Paint = "ink",
    align: Literal["start", "middle", "end"] = "middle",
) -> Shape:
    place = np.array([[x, y]])
    return Shape(kind="text", points=place, text=text, width=size, paint=paint, align=align)
