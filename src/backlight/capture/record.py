"""The one pass: all sites of all layers out of one forward and one activation-only backward."""

from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from backlight.capture.finite import is_finite, not_finite
from backlight.capture.tape import Tape
from backlight.data.batches import Batch
from backlight.errors import SilentSiteError, UnsupportedSiteError
from backlight.models.backward import explaining, rooted, without_gradient
from backlight.models.sites import Site, layer_of
from backlight.models.subject import Subject
from backlight.models.taps import per_token, tapping
from backlight.objectives.objective import LossGradient, NextToken, Objective

_DEFAULT = NextToken()


class _AllSeen(Exception):  # noqa: N818 - it is no error
    """Ends a forward pass of which nothing more is wanted."""


@final
@dataclass(slots=True, kw_only=True)
class _Seen:
    """What was seen of a batch on its way forward.

    Attributes:
        subject: The model.
        batch: The batch.
        asked: The sites whose gradients are wanted; others only start the graph.
        kept: The sites whose tensors are kept, too.
        edges: Where in the graph the tensor of each site is.
        activations: Copies of tensors.
        measured: The sites of whose tensors the norms are kept.
        only_measured: Those of them of which nothing else is wanted.
        norms: Each token's norm there.
        going_back: The forward pass is over.
    """

    subject: Subject
    batch: Batch
    asked: Collection[str]
    kept: Collection[str]
    edges: dict[str, GradientEdge] = field(default_factory=dict[str, GradientEdge])
    activations: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    measured: Collection[str] = ()
    only_measured: Collection[str] = ()
    norms: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    going_back: bool = False

    def visit(self, site: Site, tensor: Tensor) -> Tensor:
        """Take note of a site's tensor, and return what takes its place."""
        if not torch.is_grad_enabled():
            raise UnsupportedSiteError(without_gradient(site.name))
        if site.name in self.measured and not self.going_back:
            self.norms[site.name] = _norms(site, tensor, self.batch)
        if site.name in self.only_measured:
            return tensor
        if tensor.requires_grad and site.tap.written:
            # Many tensors are views (of a linear map's output), and writing into a view leads the
            # way back around the point where it passed.
            tensor = tensor.clone()
        tensor = rooted(tensor)
        if self.going_back:
            return tensor  # a checkpointed block is run again, and must find what it found before
        if site.name in self.asked:
            _refuse_second_pass(self.subject, site, self.edges)
            self.edges[site.name] = get_gradient_edge(tensor)
        if site.name in self.kept:
            self.activations[site.name] = _activation(site, tensor, self.batch)
        return tensor


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
    into them in place. Afterwards the model is as it was, to the last bit.

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
    kept = _kept({site.name for site in sites}, keep_activations)
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
        UnsupportedSiteError: See ``record``.
    """
    begun = _with_start(subject, sites)
    measured = {site.name for site in norms}
    seen = _Seen(
        subject=subject,
        batch=batch,
        asked={site.name for site in sites},
        kept=kept,
        measured=measured,
        only_measured=measured - {site.name for site in begun},
    )
    with tapping(subject, _with(norms, begun), seen.visit), torch.enable_grad():
        output = subject.forward(batch.input_ids)
        _refuse_missed(subject, sites, seen.edges)
        _refuse_missed(subject, norms, seen.norms)
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
            _refuse_second_pass(subject, site, activations)
            activations[site.name] = _activation(site, tensor, batch)
        if site.name in measured:
            lengths[site.name] = _norms(site, tensor, batch)
        if activations.keys() == asked and lengths.keys() == measured:
            raise _AllSeen
        return tensor

    with suppress(_AllSeen), tapping(subject, _with(norms, sites), visit), torch.no_grad():
        subject.forward(batch.input_ids)
    _refuse_missed(subject, sites, activations)
    _refuse_missed(subject, norms, lengths)
    return Tape(
        batch=batch, activations=activations, gradients={}, nats=None, value=None, norms=lengths
    )


def _refuse_second_pass(subject: Subject, site: Site, seen: Collection[str]) -> None:
    if site.name in seen:
        raise UnsupportedSiteError(
            f"{site.name} passes more than once in one forward pass of {subject.name}, so no "
            "single tensor is meant. Give each use a module of its own (nn.Identity will do)."
        )


def _refuse_missed(subject: Subject, sites: Sequence[Site], seen: Collection[str]) -> None:
    for site in sites:
        if site.name not in seen:
            raise UnsupportedSiteError(
                f"{site.name} did not pass in this forward pass of {subject.name}, so there is "
                "nothing to look at. Leave it out, or name another module."
            )


def _kept(asked: Collection[str], wish: bool | Collection[str]) -> Collection[str]:
    if isinstance(wish, bool):
        return asked if wish else ()
    assert set(wish) <= set(asked), "activations of sites that were not asked for"
    return wish


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


def _norms(site: Site, tensor: Tensor, batch: Batch) -> Tensor:
    rows = per_token(site, tensor.detach(), batch.input_ids.shape)
    # A sum of squares is soon too large for half precision.
    wide = torch.promote_types(rows.dtype, torch.float32)
    return torch.linalg.vector_norm(rows, dim=-1, dtype=wide) * abs(site.tap.multiplier)


def _activation(site: Site, tensor: Tensor, batch: Batch) -> Tensor:
    # The product is a copy: some blocks add in place into what a tap has shown.
    return per_token(site, tensor.detach() * site.tap.multiplier, batch.input_ids.shape)


def gradient_at(site: Site, gradient: Tensor | None, batch: Batch) -> Tensor:
    """Lay out what autograd returned for a site: one row for each token, for what the site shows.

    Args:
        site: The site.
        gradient: What came back, None for nothing.
        batch: Some passages.

    Returns:
        ``[batch, positions, width]``.

    Raises:
        SilentSiteError: If nothing came back.
    """
    if gradient is None:
        raise SilentSiteError(
            f"The loss does not depend on {site.name}: no gradient came back through it."
        )
    if site.tap.multiplier != 1.0:
        gradient = gradient / site.tap.multiplier
    return per_token(site, gradient, batch.input_ids.shape)
