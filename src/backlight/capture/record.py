"""The one pass: all sites of all layers out of one forward and one activation-only backward."""

from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from backlight.capture.blockwise import grouped, record_by_blocks
from backlight.capture.finite import is_finite, not_finite
from backlight.capture.seen import (
    Seen,
    activation_at,
    gradient_at,
    kept_of,
    norms_at,
    refuse_missed,
    refuse_second_pass,
)
from backlight.capture.tape import Tape
from backlight.data.batches import Batch
from backlight.errors import UnsupportedSiteError
from backlight.models.backward import explaining
from backlight.models.sites import Site, layer_of
from backlight.models.subject import Subject
from backlight.models.taps import tapping
from backlight.objectives.objective import LossGradient, NextToken, Objective

_DEFAULT = NextToken()


class _AllSeen(Exception):  # noqa: N818 - it is no error
    """Ends a forward pass of which nothing more is wanted."""


def record(
    subject: Subject,
    batch: Batch,
    sites: Sequence[Site],
    *,
    objective: Objective = _DEFAULT,
    keep_activations: bool | Collection[str] = False,
    norms: Sequence[Site] = (),
) -> Tape:
    """Run a batch forward and backward and keep the gradient at each site.

    The model's parameters are frozen for as long as it lasts, so nothing needs a gradient until the
    earliest site, whose tensor is made a leaf: below it no graph is built and nothing is walked
    back. Gradients are those of the tensors as they were when they passed, also where a block adds
    into them in place. Afterwards the model is as it was, to the last bit. A model whose weights
    come and go is walked block by block (``record_by_blocks``), with the same gradients.

    Args:
        subject: The model.
        batch: Some passages, on the model's device.
        sites: Where to look.
        objective: What is differentiated; by default each sequence's mean next-token loss.
        keep_activations: Also keep a copy of the tensors of all sites, or of those named.
        norms: Sites of whose tensors each token's L2 norm is kept, besides.

    Returns:
        The tape.

    Raises:
        NonFiniteError: If the loss is NaN or infinite; the message says where that began.
        SilentSiteError: If the loss does not depend on one of the sites.
        UnsupportedSiteError: If a site passes more than once or not at all, or where it passes no
            gradient can be taken.
    """
    if subject.passing is not None:
        return record_by_blocks(
            subject,
            subject.passing,
            [batch],
            sites,
            objective=objective,
            keep_activations=keep_activations,
            norms=norms,
        )[0]
    kept = kept_of({site.name for site in sites}, keep_activations)
    gradients: Sequence[Tensor | None] = [None] * len(sites)
    with passing_forward(
        subject, batch, sites, objective=objective, kept=kept, norms=norms
    ) as passed:
        if passed.output.requires_grad:
            with explaining(subject.name):
                gradients = torch.autograd.grad(
                    passed.output, passed.edges, passed.loss.gradient, allow_unused=True
                )
    return Tape(
        batch=batch,
        activations=passed.activations,
        gradients={
            site.name: gradient_at(site, gradient, batch)
            for site, gradient in zip(sites, gradients, strict=True)
        },
        nats=passed.loss.nats,
        value=passed.loss.value,
        norms=passed.norms,
    )


def record_each(
    subject: Subject, batches: Iterable[Batch], sites: Sequence[Site], **how: Any
) -> Iterator[Tape]:
    """Run one batch after the other as ``record`` does.

    Of a model whose weights come and go, as many batches as may be kept go through each block
    before the next, so that its weights are read for all of them at once.

    Args:
        subject: The model.
        batches: Each some passages, on the model's device.
        sites: Where to look.
        **how: ``objective``, ``keep_activations`` and ``norms``, as ``record`` takes them.

    Returns:
        A tape for each batch, made when it is asked for.

    Raises:
        BacklightError: See ``record``.
    """
    passing = subject.passing
    if passing is None:
        return map(partial(record, subject, sites=sites, **how), batches)
    groups = grouped(subject, passing, batches, sites)
    walked = (record_by_blocks(subject, passing, group, sites, **how) for group in groups)
    return chain.from_iterable(walked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """What a forward pass has left, for as long as its graph is there.

    Attributes:
        output: What the model gave.
        loss: The objective, with its gradient at the output.
        edges: Where in the graph the tensor of each site is.
        activations: Copies of tensors.
        norms: Each token's norm at other sites.
    """

    output: Tensor
    loss: LossGradient
    edges: Sequence[GradientEdge]
    activations: Mapping[str, Tensor]
    norms: Mapping[str, Tensor]


@contextmanager
def passing_forward(
    subject: Subject,
    batch: Batch,
    sites: Sequence[Site],
    *,
    objective: Objective,
    kept: Collection[str] = (),
    norms: Sequence[Site] = (),
) -> Generator[Passed, None, None]:
    """Run a batch forward, so that the way back to some sites can be gone in the context.

    Args:
        subject: The model; it is lent while the context lasts.
        batch: Some passages, on the model's device.
        sites: Where the gradient will be asked for.
        objective: What will be differentiated.
        kept: The sites whose tensors are kept, too.
        norms: Sites of whose tensors each token's L2 norm is kept, besides.

    Yields:
        What the pass has left.

    Raises:
        NonFiniteError: If the objective is NaN or infinite.
        UnsupportedSiteError: See ``record``; also of a model whose weights come and go.
    """
    if subject.passing is not None:
        raise UnsupportedSiteError(
            f"Of {subject.name} only one block's weights are in memory at a time, so no graph of "
            "all blocks can be kept, which this needs. Load the whole model (without --memory)."
        )
    begun = _with_start(subject, sites)
    measured = {site.name for site in norms}
    seen = Seen(
        subject=subject,
        batch=batch,
        asked={site.name for site in sites},
        kept=kept,
        measured=measured,
        only_measured=measured - {site.name for site in begun},
    )
    with tapping(subject, _with(norms, begun), seen.visit), torch.enable_grad():
        output = subject.forward(batch.input_ids)
        refuse_missed(subject, sites, seen.edges)
        refuse_missed(subject, norms, seen.norms)
        loss = objective(output, batch, subject.head)
        if is_finite(loss):
            seen.going_back = True
            yield Passed(
                output=output,
                loss=loss,
                edges=[seen.edges[site.name] for site in sites],
                activations=seen.activations,
                norms=seen.norms,
            )
            return
    raise not_finite(subject, batch, loss)


def record_activations(
    subject: Subject, batch: Batch, sites: Sequence[Site], *, norms: Sequence[Site] = ()
) -> Tape:
    """Run a batch forward, no further than the last site, and keep a copy of each site's tensor.

    Args:
        subject: The model.
        batch: Some passages, on the model's device.
        sites: Where to look.
        norms: Sites of whose tensors each token's L2 norm is kept, besides.

    Returns:
        A tape without gradients and without a loss.

    Raises:
        UnsupportedSiteError: If a site passes more than once before the last one, or not at all.
    """
    activations: dict[str, Tensor] = {}
    lengths: dict[str, Tensor] = {}
    asked, measured = {site.name for site in sites}, {site.name for site in norms}

    def visit(site: Site, tensor: Tensor) -> Tensor:
        if site.name in asked:
            refuse_second_pass(subject, site, activations)
            activations[site.name] = activation_at(site, tensor, batch)
        if site.name in measured:
            lengths[site.name] = norms_at(site, tensor, batch)
        if activations.keys() == asked and lengths.keys() == measured:
            raise _AllSeen
        return tensor

    with suppress(_AllSeen), tapping(subject, _with(norms, sites), visit), torch.no_grad():
        subject.forward(batch.input_ids)
    refuse_missed(subject, sites, activations)
    refuse_missed(subject, norms, lengths)
    return Tape(
        batch=batch, activations=activations, gradients={}, nats=None, value=None, norms=lengths
    )


def _with_start(subject: Subject, sites: Sequence[Site]) -> list[Site]:
    """Add the point from which the graph must start for the sites to get their total derivative."""
    # A block reads its stream twice: into a branch and around it. A leaf made where the branch
    # begins would miss the way around, so the graph then starts at the block's input.
    inner = [site for site in sites if site.tap.side in ("input", "branch")]
    layers = [layer for site in inner if (layer := layer_of(site.name)) is not None]
    start = f"layers.{min(layers)}.resid.pre" if layers else ""
    extra = [subject.sites[start]] if start in subject.sites else []
    return [*extra, *(site for site in sites if site not in extra)]


def _with(more: Sequence[Site], sites: Sequence[Site]) -> list[Site]:
    return list({site.name: site for site in (*sites, *more)}.values())
