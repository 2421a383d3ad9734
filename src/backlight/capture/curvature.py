"""The diagonal of the objective's Hessian at a site, by probes with random signs.

With x all numbers of a passage at a site, H the second derivative of the objective with respect to
them, and a probe v whose entries are independent signs, the entry of ``v * (H v)`` at token t and
dimension i is

    v_ti sum_sj H_ti,sj v_sj = H_ti,ti + sum_{sj != ti} H_ti,sj v_ti v_sj,

whose mean over probes is the diagonal (Hutchinson 1990; Bekas, Kokiopoulou and Saad 2007, "An
estimator for the diagonal of a matrix"). The product H v is a derivative of ``g . v`` with respect
to the whole tensor at the site. Passages do not see each other, so a probe of a batch is a probe of
each of its passages. Each site is probed by itself: with probes at all sites at once, one product
would serve all, but what they have to do with each other would be added to the noise.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import BackwardCFunction, once_differentiable
from torch.autograd.graph import GradientEdge
from torch.nn.attention import SDPBackend, sdpa_kernel

from backlight.capture.record import passing_forward
from backlight.capture.seen import gradient_at
from backlight.capture.tape import Curvature, Tape
from backlight.data.batches import Batch
from backlight.errors import ConfigError, ModelError, quoted
from backlight.models.backward import explaining
from backlight.models.sites import Site
from backlight.models.subject import Subject
from backlight.models.wiring.head import Head
from backlight.objectives.objective import Curved, LossGradient, NextToken, Objective

Probes = Callable[[Batch, Site, int], Iterator[Float[Tensor, "batch positions width"]]]
"""Gives the probes of a batch at a site of some width."""

_DEFAULT = NextToken()

_HEAD, _BLOCKS = 0.3, 0.8
"""Parts of a pass that a probe costs: for the head, and for all blocks."""


def record_curvature(
    subject: Subject,
    batch: Batch,
    sites: Sequence[Site],
    *,
    probes: Probes,
    objective: Objective = _DEFAULT,
) -> Tape:
    """Run a batch forward and backward, and twice back for each probe of each site.

    Attention is computed in plain steps meanwhile, since fused kernels cannot be differentiated
    twice; that changes no number but by rounding. The graph of the backward pass is kept until all
    probes are through, so memory is about six times that of a plain pass.

    Args:
        subject: The model.
        batch: Some passages, on the model's device.
        sites: Where to look.
        probes: With what the Hessian is multiplied, such as ``signs``.
        objective: What is differentiated; by default each sequence's mean next-token loss.

    Returns:
        A tape with gradients and ``curvatures``.

    Raises:
        ConfigError: If the second derivative of the objective is not known.
        ModelError: If a step of the model cannot be differentiated twice, or may not be made so.
        NonFiniteError: If the loss is NaN or infinite; the message says where that began.
        SilentSiteError: If the objective does not depend on one of the sites.
        UnsupportedSiteError: See ``record``.
    """
    if not isinstance(objective, Curved):
        raise ConfigError(
            f"The second derivative of {type(objective).__name__} is not known, so there is no "
            "Hessian to estimate; that of NextToken is."
        )
    with (
        sdpa_kernel(SDPBackend.MATH),
        passing_forward(subject, batch, sites, objective=objective) as passed,
        explaining(subject.name),
    ):
        _refuse_own_steps(subject, passed.output)
        gradients: dict[str, Tensor] = {}
        curvatures: dict[str, Curvature] = {}
        source = _gradient_of(passed.output, objective, passed.loss, batch, subject.head)
        found = torch.autograd.grad(
            passed.output, passed.edges, source, create_graph=True, allow_unused=True
        )
        for site, edge, raw in zip(sites, passed.edges, found, strict=True):
            gradient = gradient_at(site, raw, batch)
            drawn = probes(batch, site, gradient.shape[-1])
            curvatures[site.name] = _estimate(site, edge, gradient, drawn, batch)
            gradients[site.name] = gradient.detach()
    return Tape(
        batch=batch,
        activations={},
        gradients=gradients,
        nats=passed.loss.nats,
        value=passed.loss.value,
        curvatures=curvatures,
    )


def num_passes(layers: Sequence[int | None], num_layers: int, num_probes: int) -> float:
    """Tell about how many whole passes the probes of some sites take, for each batch.

    A pass is one forward and one backward. Going back once more through the layers above a site and
    the steps of their backward pass costs about as much as such a pass through them, and the head's
    second order some more; the parts are those of SmolLM2-135M, by counted operations.

    Args:
        layers: The layer of each site; None where it belongs to none, as before all of them.
        num_layers: How many layers the model has.
        num_probes: How many probes each site has.

    Returns:
        ``num_probes`` times the sum over sites of 0.3 + 0.8 (L - k) / L.
    """
    depths = [0 if layer is None else layer for layer in layers]
    shares = [_HEAD + _BLOCKS * (num_layers - depth) / max(num_layers, 1) for depth in depths]
    return num_probes * sum(shares)


def signs(
    batch: Batch, site: Site, width: int, *, num_probes: int, seed: int
) -> Iterator[Float[Tensor, "batch positions width"]]:
    """Draw probes of independent signs; those of a passage depend on nothing but it and the site.

    Args:
        batch: Some passages.
        site: The site.
        width: Its width.
        num_probes: How many.
        seed: Other seeds draw other signs.

    Yields:
        Each probe, +1 or -1 at each token and 0 at pads.
    """
    place = zlib.crc32(site.name.encode())
    sources = [np.random.default_rng([seed, place, passage]) for passage in batch.passages]
    for _ in range(num_probes):
        probe = np.zeros((*batch.input_ids.shape, width), dtype=np.int8)
        for row, (source, length) in enumerate(zip(sources, batch.lengths.tolist(), strict=True)):
            probe[row, :length] = 2 * source.integers(0, 2, (length, width), dtype=np.int8) - 1
        yield torch.from_numpy(probe)


def _refuse_own_steps(subject: Subject, output: Tensor) -> None:
    """Refuse steps whose way back is somebody's Python: autograd may leave out how it changes."""
    waiting, seen = [output.grad_fn], set[Any]()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(node, BackwardCFunction):
            raise ModelError(
                f"{subject.name} goes back through {quoted(node.name())}, a step that may be made "
                "to be differentiated once only, so its second derivatives cannot be trusted."
            )
        waiting += [following for following, _ in node.next_functions]


def _estimate(
    site: Site,
    edge: GradientEdge,
    gradient: Float[Tensor, "batch positions width"],
    probes: Iterator[Float[Tensor, "batch positions width"]],
    batch: Batch,
) -> Curvature:
    """Average what the probes of a site find."""
    wide = torch.promote_types(gradient.dtype, torch.float32)
    total = torch.zeros_like(gradient, dtype=wide, requires_grad=False)
    by_probe: list[Tensor] = []
    for probe in probes:
        probe = probe.to(gradient)
        found = probe.to(wide) * _product(site, edge, gradient, probe, batch)
        total += found
        by_probe.append(found.double().sum(dim=1).cpu())
    return Curvature(diagonal=total / len(by_probe), by_probe=torch.stack(by_probe))


def _product(
    site: Site,
    edge: GradientEdge,
    gradient: Float[Tensor, "batch positions width"],
    probe: Float[Tensor, "batch positions width"],
    batch: Batch,
) -> Float[Tensor, "batch positions width"]:
    """Multiply the Hessian at a site with a probe: differentiate ``g . v`` at the whole tensor."""
    # What reaches the output from the site returns to it from the gradient there: there is a way.
    (found,) = torch.autograd.grad(gradient, edge, probe, retain_graph=True)
    return gradient_at(site, found, batch)


class _Gradient(torch.autograd.Function):
    """The objective's gradient at the model's output, as a function of that output."""

    @staticmethod
    def forward(
        output: Tensor, objective: Curved, known: Tensor, batch: Batch, head: Any
    ) -> Tensor:
        """Return the gradient that is known already."""
        del output, objective, batch, head
        return known.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep what the Hessian is computed from."""
        del output
        there, ctx.objective, _, ctx.batch, ctx.head = inputs
        ctx.save_for_backward(there)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        """Multiply with the Hessian, which is symmetric."""
        (there,) = ctx.saved_tensors
        product = ctx.objective.curvature(there, ctx.batch, ctx.head, grads[0])
        return product, None, None, None, None


def _gradient_of(
    output: Tensor, objective: Curved, loss: LossGradient, batch: Batch, head: Head | None
) -> Tensor:
    found: Any = _Gradient.apply(output, objective, loss.gradient, batch, head)
    return found
