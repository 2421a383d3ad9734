"""Hooks that show the tensors of some sites to a visitor, and are gone afterwards.

Every pass that measures something runs inside of ``tapping``, so that is where the model is
borrowed: frozen and in evaluation mode for as long as it is tapped, and as it was afterwards.

Taps are forward hooks only. A gradient is asked for at the edge of the graph that a tensor had as
it passed (``torch.autograd.graph.get_gradient_edge``), in one call of ``torch.autograd.grad``.
``register_full_backward_hook`` would not do: it hands out views of a module's outputs, and autograd
raises an error where a block adds in place into one of those (``h += x``, as several families do).
An edge belongs to the tensor as it was, whatever is written into it later.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from backlight.errors import UnsupportedSiteError
from backlight.models.backward import rooted
from backlight.models.inputs import given_to, with_given
from backlight.models.lending import borrowed
from backlight.models.outputs import member_of, with_member
from backlight.models.sites import Site, refuse_problems
from backlight.models.subject import AttentionCall, Subject

Visitor = Callable[[Site, Tensor], Tensor]
"""Is shown a site and its tensor as the model has it, and says what takes the tensor's place."""


@contextmanager
def tapping(subject: Subject, sites: Iterable[Site], visit: Visitor) -> Generator[None, None, None]:
    """Show each site's tensor to a visitor while the context lasts, and lend it the model.

    Args:
        subject: The model.
        sites: What to tap.
        visit: Called in the order of the forward pass, once for each site.

    Yields:
        Nothing; the hooks are removed at the end, also if the body fails.

    Raises:
        UnsupportedSiteError: If a site is never held (``logits``), was found at load to hold
            nothing that can be looked at, or a module's input or output is not a tensor; if the
            visitor puts something in the place of a tensor that was used before it could be seen.
    """
    sites = list(sites)
    refuse_problems(sites)
    if any(site.tap.side == "logits" for site in sites):
        raise UnsupportedSiteError(
            "The full logits are never held, so they cannot be tapped: the gradient there is "
            "softmax minus one-hot. Ask for final_norm.out, which they are computed from."
        )
    with borrowed(subject.model), ExitStack() as stack:
        for module, members in _by_module(subject, sites, ("output",)).items():
            hook = partial(_show_output, members, visit)
            stack.callback(module.register_forward_hook(hook, with_kwargs=True).remove)
        for module, members in _by_module(subject, sites, ("input", "branch")).items():
            # A branch is an alias of what the input taps leave, so the inputs come first.
            members.sort(key=lambda site: site.tap.side == "branch")
            hook = partial(_show_input, members, visit)
            stack.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)
        for module in _by_module(subject, (s for s in sites if s.tap.inside), ("output",)):
            stack.callback(module.register_forward_pre_hook(_begin, with_kwargs=True).remove)
        attention = _by_module(subject, sites, ("query", "key", "value"))
        if attention:
            stack.enter_context(subject.tap_attention(partial(_show_attention, attention, visit)))
        yield


def per_token(
    site: Site, tensor: Shaped[Tensor, "..."], batch: Sequence[int]
) -> Shaped[Tensor, "batch positions width"]:
    """Lay a site's tensor out as one row of numbers per token, heads side by side.

    Args:
        site: Which site the tensor (or its gradient) belongs to.
        tensor: As the model has it: ``[batch, positions, width]``, with a split or flattened
            width or batch, or with its axes in another order.
        batch: How many sequences and positions there are.

    Returns:
        The same numbers, ``[batch, positions, width]``.

    Raises:
        UnsupportedSiteError: If the tensor has no row of numbers for each token.
    """
    if site.tap.axes != (0, 1):
        tensor = tensor.movedim(site.tap.axes, (0, 1))
    if tuple(tensor.shape[:2]) != tuple(batch) and tensor.shape[0] != batch[0] * batch[1]:
        raise UnsupportedSiteError(
            f"{site.name} holds {list(tensor.shape)} numbers for {batch[0]} sequences of "
            f"{batch[1]} tokens: that is no row for each token."
        )
    return tensor.reshape(*batch, -1)


def _by_module(
    subject: Subject, sites: Iterable[Site], sides: Collection[str]
) -> dict[nn.Module, list[Site]]:
    found: defaultdict[nn.Module, list[Site]] = defaultdict(list)
    for site in sites:
        if site.tap.side in sides:
            found[subject.model.get_submodule(site.tap.module)].append(site)
    return found


def _show_output(
    sites: Sequence[Site],
    visit: Visitor,
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    output: Any,
) -> Any:
    given = (*args, *kwargs.values())
    for site in sites:
        member = site.tap.member
        if member is None and isinstance(output, tuple):
            member = 0
        tensor = member_of(output, member)
        if not isinstance(tensor, Tensor):
            raise UnsupportedSiteError(
                f"{site.name} cannot be tapped: {type(module).__name__} returns "
                f"{type(output).__name__}, not a tensor. Name a module inside it."
            )
        if any(tensor is each for each in given):
            # An identity hands on its input, which others may read too; its output is its own.
            tensor = tensor.view_as(tensor)
        shown = visit(site, tensor)
        if site.tap.inside and shown is not tensor:
            raise UnsupportedSiteError(
                f"{site.name} can be looked at, but not changed: {type(module).__name__} has "
                "used it before it returns it."
            )
        output = with_member(output, member, shown)
    return output


def _begin(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Let a graph begin where a module is entered, if none leads there."""
    del module
    tensor = given_to(args, kwargs)
    if not isinstance(tensor, Tensor) or not torch.is_grad_enabled():
        return None
    return with_given(args, kwargs, rooted(tensor))


def _show_input(
    sites: Sequence[Site],
    visit: Visitor,
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    tensor = given_to(args, kwargs)
    if not isinstance(tensor, Tensor):
        raise UnsupportedSiteError(
            f"{sites[0].name} cannot be tapped: {type(module).__name__} is not called with a "
            "tensor as its first argument or as hidden_states."
        )
    for site in sites:
        if site.tap.side == "branch":
            # An alias with a place of its own in the graph: what returns through this module
            # arrives there, and what other readers of the tensor send back does not.
            tensor = tensor.view_as(tensor)
        tensor = visit(site, tensor)
    return with_given(args, kwargs, tensor)


def _show_attention(
    sites: Mapping[nn.Module, Sequence[Site]], visit: Visitor, call: AttentionCall
) -> tuple[Tensor, Tensor, Tensor]:
    seen = {"query": call.query, "key": call.key, "value": call.value}
    for site in sites.get(call.module, ()):
        seen[site.tap.side] = visit(site, seen[site.tap.side])
    return seen["query"], seen["key"], seen["value"]
