"""Gradients along the way on which a site is taken away: integrated gradients at a site.

With x the tensor at a site, x' what is put in its place (zero) and v the objective as a function of
that one tensor, the rest of the model answering,

    v(x) - v(x') = integral over a from 0 to 1 of g(x' + a (x - x')) . (x - x'),

so the average gradient along the path, times x - x', divides the true change over the numbers of x
(Sundararajan, Taly and Yan 2017, "Axiomatic Attribution for Deep Networks"). The integral is a sum
over the nodes of Gauss-Legendre quadrature, exact where v along the path is a polynomial of degree
2 N; how far the sum is from the true change is told beside it.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from backlight.capture.effects import keeping_streams, value_with
from backlight.capture.record import record
from backlight.capture.splice import splicing
from backlight.capture.tape import Change, Tape
from backlight.data.batches import Batch
from backlight.models.blocks.rerun import Blocks
from backlight.models.sites import Site, layer_of
from backlight.models.subject import Subject
from backlight.objectives.objective import Objective, Valued

_FIXED, _PER_DEPTH = 0.4, 0.6
"""Parts of a pass that begins at a layer: what it always costs, and what the blocks cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where passes begin that leave out what cannot change.

    Attributes:
        blocks: The model's blocks.
        layer: The first one that runs.
        stream: The residual stream before it.
    """

    blocks: Blocks
    layer: int
    stream: Float[Tensor, "batch positions width"]


def record_path(
    subject: Subject,
    batch: Batch,
    sites: Sequence[Site],
    *,
    num_nodes: int,
    objective: Valued,
    blocks: Blocks | None = None,
    first: Objective | None = None,
    keep: Sequence[Site] = (),
) -> Tape:
    """Run a batch along the path of each site, and keep the average gradient on it.

    Each site has a path of its own, on which only its own tensor moves, from zero to what it is;
    at an ``.in`` site only what this module reads. One plain pass, then ``num_nodes`` forward and
    backward passes and one forward pass for each site; from the site's layer on if the model's
    blocks are known.

    Args:
        subject: The model.
        batch: Some passages, on the model's device.
        sites: Where to look.
        num_nodes: At how many points of each path the gradient is taken.
        objective: What is differentiated.
        blocks: The model's blocks; None to run it whole each time.
        first: The same objective for the plain pass alone, if it also watches; None for the same.
        keep: Sites whose tensors are kept besides, without a path.

    Returns:
        A tape of the plain pass, whose ``gradients`` are averages along the paths and whose
        ``changes`` say how well these add up.

    Raises:
        NonFiniteError: If the objective is NaN or infinite, on the way too.
        SilentSiteError: If the objective does not depend on one of the sites.
        UnsupportedSiteError: If a site cannot be replaced (attention's q, k and v).
    """
    everywhere = list({site.name: site for site in (*sites, *keep)}.values())
    layers = [layer for site in sites if (layer := layer_of(site.name)) is not None]
    with ExitStack() as stack:
        streams: dict[int, Tensor] = {}
        if blocks is not None:
            streams = stack.enter_context(keeping_streams(subject, batch, layers))
        clean = record(
            subject, batch, everywhere, objective=first or objective, keep_activations=True
        )
    gradients: dict[str, Tensor] = {}
    changes: dict[str, Change] = {}
    for site in sites:
        layer, x = layer_of(site.name), clean.activations[site.name]
        start = None
        if blocks is not None and layer is not None:
            start = Start(blocks=blocks, layer=layer, stream=streams[layer])
        gradients[site.name], changes[site.name] = follow_path(
            subject,
            clean,
            site,
            reference=torch.zeros_like(x),
            num_nodes=num_nodes,
            objective=objective,
            start=start,
        )
    return replace(clean, gradients=gradients, changes=changes)


def follow_path(
    subject: Subject,
    end: Tape,
    site: Site,
    *,
    reference: Float[Tensor, "batch positions width"],
    num_nodes: int,
    objective: Valued,
    start: Start | None,
) -> tuple[Float[Tensor, "batch positions width"], Change]:
    """Average the gradient at a site along the path from a reference to what is there.

    Args:
        subject: The model.
        end: Of the pass at the end of the path: the site's tensor, its gradient and the objective.
        site: Which tensor moves.
        reference: Where the path begins.
        num_nodes: At how many points of the path the gradient is taken.
        objective: What is differentiated.
        start: Where the model is run from; None to run it whole.

    Returns:
        The average, in the number format of the model, at least float32; and what going back along
        the path does to the objective, as it is predicted and as it is.
    """
    batch, x = end.batch, end.activations[site.name]
    moved = x - reference
    total = torch.zeros_like(x, dtype=torch.promote_types(x.dtype, torch.float32))
    for place, weight in gauss_legendre(num_nodes):
        with _beginning(start), splicing(subject, {site.name: reference + place * moved}):
            tape = record(subject, batch, [site], objective=objective)
        total += weight * tape.gradients[site.name]
    before = value_with(
        subject,
        batch,
        objective,
        {site.name: reference},
        blocks=None if start is None else start.blocks,
        layer=0 if start is None else start.layer,
        stream=None if start is None else start.stream,
    )
    assert end.value is not None, "a path ends in a pass with an objective"
    change = Change(
        first_order=-_products(end.gradients[site.name], moved),
        path=-_products(total, moved),
        true=before - end.value,
    )
    return total, change


def gauss_legendre(num_nodes: int) -> Iterator[tuple[float, float]]:
    """List the nodes of Gauss-Legendre quadrature between 0 and 1, with weights that add up to 1.

    Args:
        num_nodes: How many.

    Yields:
        Each node and its weight; a polynomial of degree ``2 num_nodes - 1`` is integrated exactly.
    """
    nodes, weights = np.polynomial.legendre.leggauss(num_nodes)
    yield from zip(((nodes + 1) / 2).tolist(), (weights / 2).tolist(), strict=True)


def num_passes(layers: Sequence[int | None], num_layers: int, num_nodes: int) -> float:
    """Tell about how many whole passes the paths of some sites take, for each batch.

    Args:
        layers: The layer of each site, from which on it is run; None where it is run whole.
        num_layers: How many layers the model has.
        num_nodes: At how many points of each path the gradient is taken.

    Returns:
        ``num_nodes`` times the sum over sites of 0.4 + 0.6 (L - k) / L, or of 1.
    """
    shares = [
        1.0 if layer is None else _FIXED + _PER_DEPTH * (num_layers - layer) / num_layers
        for layer in layers
    ]
    return num_nodes * sum(shares)


@contextmanager
def _beginning(start: Start | None) -> Generator[None, None, None]:
    with ExitStack() as stack:
        if start is not None:
            stack.enter_context(start.blocks.entering(start.layer, start.stream))
        yield


def _products(
    gradient: Float[Tensor, "batch positions width"], moved: Float[Tensor, "batch positions width"]
) -> Float[Tensor, " batch"]:
    """Add up gradient times movement over each passage; gradients at pads are zero."""
    wide = torch.float64 if gradient.device.type != "mps" else None
    return (gradient * moved).sum(dim=(1, 2), dtype=wide).cpu().double()
