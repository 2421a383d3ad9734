"""What is kept of the tensors that pass some sites, on the way forward."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from backlight.data.batches import Batch
from backlight.errors import SilentSiteError, UnsupportedSiteError
from backlight.models.backward import rooted, without_gradient
from backlight.models.sites import Site
from backlight.models.subject import Subject
from backlight.models.taps import per_token


@final
@dataclass(slots=True, kw_only=True)
class Seen:
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
            self.norms[site.name] = norms_at(site, tensor, self.batch)
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
            refuse_second_pass(self.subject, site, self.edges)
            self.edges[site.name] = get_gradient_edge(tensor)
        if site.name in self.kept:
            self.activations[site.name] = activation_at(site, tensor, self.batch)
        return tensor


def refuse_second_pass(subject: Subject, site: Site, seen: Collection[str]) -> None:
    """Refuse a site that a tensor has passed before.

    Args:
        subject: The model.
        site: The site.
        seen: The names of those that were passed.

    Raises:
        UnsupportedSiteError: If it is one of them.
    """
    if site.name in seen:
        raise UnsupportedSiteError(
            f"{site.name} passes more than once in one forward pass of {subject.name}, so no "
            "single tensor is meant. Give each use a module of its own (nn.Identity will do)."
        )


def refuse_missed(subject: Subject, sites: Sequence[Site], seen: Collection[str]) -> None:
    """Refuse sites that no tensor passed.

    Args:
        subject: The model.
        sites: The sites that were asked for.
        seen: The names of those that passed.

    Raises:
        UnsupportedSiteError: If one is missing.
    """
    for site in sites:
        if site.name not in seen:
            raise UnsupportedSiteError(
                f"{site.name} did not pass in this forward pass of {subject.name}, so there is "
                "nothing to look at. Leave it out, or name another module."
            )


def kept_of(asked: Collection[str], wish: bool | Collection[str]) -> Collection[str]:
    """Name the sites of which copies are kept: all that are asked for, none, or those named."""
    if isinstance(wish, bool):
        return asked if wish else ()
    assert set(wish) <= set(asked), "activations of sites that were not asked for"
    return wish


def norms_at(site: Site, tensor: Tensor, batch: Batch) -> Tensor:
    """Compute each token's L2 norm at a site, ``[batch, positions]``."""
    rows = per_token(site, tensor.detach(), batch.input_ids.shape)
    # A sum of squares is soon too large for half precision.
    wide = torch.promote_types(rows.dtype, torch.float32)
    return torch.linalg.vector_norm(rows, dim=-1, dtype=wide) * abs(site.tap.multiplier)


def activation_at(site: Site, tensor: Tensor, batch: Batch) -> Tensor:
    """Copy what a site shows: one row for each token, ``[batch, positions, width]``."""
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
