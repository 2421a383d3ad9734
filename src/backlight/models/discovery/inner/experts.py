"""What routed experts and a shared expert each give to the output of an MLP."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.models.discovery.inner.routing import Routing
from backlight.models.discovery.observing import Observation
from backlight.models.discovery.sums import adds_up
from backlight.models.discovery.wiring import Discovery, Layer, Term
from backlight.models.proof import is_close


def with_parts(
    found: Discovery, routing: Mapping[str, Routing | str], seen: Observation
) -> dict[str, Routing | str]:
    """Find the parts of all MLPs with experts to which something else is added.

    Args:
        found: How the model is wired.
        routing: By the path of each block with experts its routing, or why it is not known.
        seen: What passed in these blocks.

    Returns:
        The same, with the parts that were found.
    """
    terms = {
        layer.block: [t for a in layer.additions for t in a.terms if t.mixes == "none"]
        for layer in found.layers
        if isinstance(layer, Layer)
    }
    return {
        block: each if isinstance(each, str) else _with_parts(each, terms[block], seen)
        for block, each in routing.items()
    }


def _with_parts(routing: Routing, terms: Sequence[Term], seen: Observation) -> Routing:
    around = [term for term in terms if routing.experts.startswith(f"{term.out.module}.")]
    if len(terms) == 2 and len(around) == 1:  # the block itself adds the two
        other = next(term for term in terms if term is not around[0])
        return replace(routing, routed=around[0].out, shared=other.out)
    if len(terms) != 1 or len(around) != 1 or routing.experts not in seen.gave:
        return routing
    whole, routed = _rows(terms[0].out.module, seen), _rows(routing.experts, seen)
    if is_close(whole, routed):
        return routing
    tap = seen.gave[routing.experts].tap
    return _with_shared(replace(routing, routed=tap), terms[0].out.module, seen)


def _with_shared(routing: Routing, mlp: str, seen: Observation) -> Routing:
    """Find what is added to what the experts give, with the factor 1 or one for each token."""
    whole, routed = _rows(mlp, seen), _rows(routing.experts, seen)
    eps = torch.finfo(seen.gave[mlp].rows.dtype).eps
    for path in _beside(routing, mlp, seen):
        if adds_up(whole, [routed, _rows(path, seen)], eps=eps):
            return replace(routing, shared=seen.gave[path].tap)
    for path in _beside(routing, mlp, seen):
        part = _rows(path, seen)
        factor = ((whole - routed) * part).sum(-1, keepdim=True) / part.square().sum(
            -1, keepdim=True
        )
        if adds_up(whole, [routed, factor * part], eps=8 * eps):
            reason = f"{path} is added with a number of its own for each token"
            return replace(routing, shared=reason)
    return replace(routing, routed=None)


def _beside(routing: Routing, mlp: str, seen: Observation) -> Iterator[str]:
    """Go through the modules of an MLP that are not its experts, from the outermost on."""
    inside = (path for path in seen.gave if path.startswith(f"{mlp}."))
    for path in sorted(inside, key=lambda path: path.count(".")):
        if path != routing.experts and not path.startswith(f"{routing.experts}."):
            yield path


def _rows(path: str, seen: Observation) -> Float[Tensor, "tokens width"]:
    return seen.gave[path].rows.double().flatten(0, 1)
