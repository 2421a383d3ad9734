"""The language-model head: which linear map it is, and what becomes of its output.

A soft cap c, y = c tanh(x / c), cannot be seen in small logits. So the map is given its input once
more, blown up, in a sequence of which nothing else is used: y then stays below c, or grows along.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from backlight.models.discovery.observing import Instead, Observation
from backlight.models.discovery.wiring import HeadForm
from backlight.models.subject import Subject

_BLOWN_UP = 1e4  # the largest number of the map's output; soft caps in use are 15 to 50
_TOLERANCE = 1e-5


def head_probe(
    subject: Subject, seen: Observation, blocks: Sequence[str]
) -> tuple[str, Instead] | None:
    """Say what the head has to be given to show what becomes of large logits.

    Args:
        subject: The model; its ``forward`` gives logits.
        seen: What passed.
        blocks: The paths of its blocks.

    Returns:
        The path of the linear map, and large rows in the place of the last sequence; None if no
        linear map of torch behind the blocks is as wide as the logits, or several are.
    """
    width = seen.output.shape[-1]
    last = seen.gave[blocks[-1]].place
    paths = [
        path
        for path, module in subject.model.named_modules()
        if type(module) is nn.Linear
        and module.out_features == width
        and path in seen.given
        and seen.given[path].place > last
    ]
    if len(paths) != 1:
        return None
    hidden = seen.given[paths[0]].rows[-1:]
    with torch.no_grad():
        large = hidden * (_BLOWN_UP / subject.model.get_submodule(paths[0])(hidden).abs().max())
    return paths[0], Instead(first=len(seen.output) - 1, rows=large)


def fit_head(
    subject: Subject,
    probe: tuple[str, Instead],
    seen: Observation,
    probed: Observation,
    blocks: Sequence[str],
) -> HeadForm | None:
    """Find what becomes of the output of a linear map.

    Args:
        subject: The model.
        probe: What the map was given.
        seen: What passed.
        probed: What passed when it was given it.
        blocks: The paths of the blocks.

    Returns:
        The head; None if the logits are not the map's output with a scale and a soft cap.
    """
    path, large = probe
    trunk = _trunk(seen, path, blocks)
    if trunk is None:
        return None
    module = subject.model.get_submodule(path)
    with torch.no_grad():
        plain, plain_large = module(seen.given[path].rows), module(large.rows)
    blown = probed.output[large.first :]
    form = _fitted(
        plain.double(),
        seen.output.double(),
        plain_large.double(),
        blown.double(),
        tolerance=max(_TOLERANCE, 4 * torch.finfo(plain.dtype).eps),
    )
    if form is None:
        return None
    return HeadForm(module=path, trunk=seen.gave[trunk].tap, scale=form[0], cap=form[1])


def _trunk(seen: Observation, head: str, blocks: Sequence[str]) -> str | None:
    """Find the outermost module around the blocks that gives what the head is given."""
    hidden = seen.given[head].rows
    found = [
        path
        for path, passing in seen.gave.items()
        if all(block.startswith(f"{path}.") for block in blocks)
        and not head.startswith(f"{path}.")
        and passing.rows.shape == hidden.shape
        and passing.rows.equal(hidden)
    ]
    return min(found, key=len, default=None)


def _fitted(
    x: Float[Tensor, "*tokens classes"],
    y: Float[Tensor, "*tokens classes"],
    large_x: Float[Tensor, "*large classes"],
    large_y: Float[Tensor, "*large classes"],
    *,
    tolerance: float,
) -> tuple[float, float | None] | None:
    """Fit a scale and, if large numbers do not grow along, a soft cap."""
    slope = float((large_x * large_y).sum() / large_x.square().sum())
    pairs = ((x, y), (large_x, large_y))
    for digits in (2, 4, 6, 16):
        scale = float(f"{slope:.{digits}e}")
        if all(_close(scale * given, gave, tolerance) for given, gave in pairs):
            return scale, None
    cap = float(f"{float(large_y.abs().max()):.4g}")
    inner = (y / cap).atanh() * cap
    slope = float((x * inner).sum() / x.square().sum())
    for digits in (2, 4, 6, 16):
        scale = float(f"{slope:.{digits}e}")
        if all(
            _close(cap * (scale * given / cap).tanh(), gave, tolerance) for given, gave in pairs
        ):
            return scale, cap
    return None


def _close(found: Tensor, expected: Tensor, tolerance: float) -> bool:
    return bool((found - expected).abs().max() <= tolerance * expected.abs().max())
