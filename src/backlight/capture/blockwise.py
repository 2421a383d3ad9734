"""The one pass in pieces: one block's graph at a time, with the same gradients to the last bit.

Forward, only what enters each block is kept; then, from the last block to the first, a block runs
again and is walked back. So no more than one block's graph (and, in a subject whose weights come
and go, one block's weights) is ever in memory. This is gradient checkpointing at the blocks (Chen
et al. 2016, arXiv:1604.06174), for gradients of activations.
"""

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from backlight.capture.finite import is_finite, not_finite
from backlight.capture.record import Seen, gradient_at, kept_of, refuse_missed
from backlight.capture.tape import Tape
from backlight.data.batches import Batch
from backlight.errors import UnsupportedSiteError
from backlight.models.backward import explaining
from backlight.models.blocks import Blocks
from backlight.models.sites import Site
from backlight.models.subject import Subject
from backlight.models.taps import tapping
from backlight.objectives.objective import LossGradient, NextToken, Objective

_DEFAULT = NextToken()
_STREAM = "hidden_states"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """What a block was given.

    Attributes:
        hidden: A copy of the residual stream, outside of any graph.
        args: Its other positional arguments; None if the stream came as a keyword argument.
        kwargs: Its other keyword arguments (masks, rotary tables, ...), as the model made them.
    """

    hidden: Tensor
    args: tuple[Any, ...] | None
    kwargs: Mapping[str, Any]


@dataclass(slots=True, kw_only=True)
class _Ends:
    """Where the graphs before the first block and behind the last one meet the blocks.

    Attributes:
        entries: What each block was given, by its number; the walk back takes them out.
        before: The sites that passed before the first block.
        first: The stream as it entered the first block, with the graph before it.
        last: The leaf that was made of what the last block gave.
    """

    entries: dict[int, _Entry]
    before: frozenset[str] = frozenset()
    first: Tensor | None = None
    last: Tensor | None = None


def record_by_blocks(
    subject: Subject,
    blocks: Blocks,
    batch: Batch,
    sites: Sequence[Site],
    *,
    objective: Objective = _DEFAULT,
    keep_activations: bool | Collection[str] = False,
    norms: Sequence[Site] = (),
) -> Tape:
    """Run a batch forward and backward, block by block, and keep the gradient at each site.

    Args:
        subject: The model.
        blocks: Its blocks, ``Blocks.of(subject)``.
        batch: Some passages, on the model's device.
        sites: Where to look.
        objective: What is differentiated; by default each sequence's mean next-token loss.
        keep_activations: Also keep a copy of the tensors of all sites, or of those named.
        norms: Sites of whose tensors each token's L2 norm is kept, besides.

    Returns:
        The tape that ``record`` gives.

    Raises:
        NonFiniteError: If the loss is NaN or infinite; the message says where that began.
        SilentSiteError: If the loss does not depend on one of the sites.
        UnsupportedSiteError: If a site passes more than once or not at all, or a block is given
            more than the stream that a gradient would have to pass.
    """
    measured = {site.name for site in norms}
    asked = {site.name for site in sites}
    seen = Seen(
        subject=subject,
        batch=batch,
        asked=asked,
        kept=kept_of(asked, keep_activations),
        measured=measured,
        only_measured=measured - asked,
    )
    tapped = list({site.name: site for site in (*sites, *norms)}.values())
    with ExitStack() as stack:  # the model is lent once for the whole of it
        stack.enter_context(tapping(subject, (), seen.visit))
        loss, gradients = _walk(subject, blocks, batch, tapped, seen, objective)
    refuse_missed(subject, sites, seen.edges)
    refuse_missed(subject, norms, seen.norms)
    return Tape(
        batch=batch,
        activations=seen.activations,
        gradients={site.name: gradient_at(site, gradients.get(site.name), batch) for site in sites},
        nats=loss.nats,
        value=loss.value,
        norms=seen.norms,
    )


def _walk(
    subject: Subject,
    blocks: Blocks,
    batch: Batch,
    sites: Sequence[Site],
    seen: Seen,
    objective: Objective,
) -> tuple[LossGradient, dict[str, Tensor]]:
    """Go forward through the whole model, then back through one block after the other."""
    inside, outside = _by_block(subject, blocks, sites)
    ends = _Ends(entries={})
    with (
        tapping(subject, outside, seen.visit),
        _noting(subject, blocks, seen, ends),
        torch.enable_grad(),
    ):
        output = subject.forward(batch.input_ids)
        loss = objective(output, batch, subject.head)
    if not is_finite(loss):
        raise not_finite(subject, batch, loss)
    assert ends.last is not None
    behind = {name: edge for name, edge in seen.edges.items() if name not in ends.before}
    before = {name: edge for name, edge in seen.edges.items() if name in ends.before}
    found, upstream = _back(subject, output, loss.gradient, behind, ends.last)
    del output
    ends.last = None
    lowest = 0 if before else min(inside, default=len(blocks.modules))
    for layer in reversed(range(lowest, len(blocks.modules))):
        entry, here = ends.entries.pop(layer), inside.get(layer, [])
        more, upstream = _through(subject, blocks.modules[layer], entry, upstream, here, seen)
        found |= more
    if before and ends.first is not None:
        found |= _back(subject, ends.first, upstream, before, None)[0]
    return loss, found


def _through(
    subject: Subject,
    block: nn.Module,
    entry: _Entry,
    upstream: Tensor | None,
    sites: Sequence[Site],
    seen: Seen,
) -> tuple[dict[str, Tensor], Tensor | None]:
    """Run one block again and walk it back.

    Args:
        subject: The model.
        block: The block.
        entry: What it was given.
        upstream: The gradient at the stream behind it; None if the loss does not depend on it.
        sites: The sites inside.
        seen: Takes note of their tensors.

    Returns:
        The gradients at the sites, by name, and the gradient at the stream before the block.
    """
    before = set(seen.edges)
    leaf = entry.hidden.requires_grad_()
    with tapping(subject, sites, seen.visit), torch.enable_grad():
        # The block may write into its input, but not into a leaf.
        output = _stream_of(block(*_given(leaf.clone(), entry), **_named(leaf, entry)))
        edges = {name: edge for name, edge in seen.edges.items() if name not in before}
        seen.going_back = True
        found = _back(subject, output, upstream, edges, leaf)
        seen.going_back = False
    return found


def _back(
    subject: Subject,
    output: Tensor,
    upstream: Tensor | None,
    edges: Mapping[str, GradientEdge],
    leaf: Tensor | None,
) -> tuple[dict[str, Tensor], Tensor | None]:
    """Walk one graph back, to some sites and to the leaf where it began."""
    if upstream is None or not output.requires_grad:
        return {}, None
    start = [] if leaf is None else [get_gradient_edge(leaf)]
    with explaining(subject.name):
        # Typed as if nothing were ever unused.
        found = cast(
            "Sequence[Tensor | None]",
            torch.autograd.grad(output, [*edges.values(), *start], upstream, allow_unused=True),
        )
    gradients = {name: each for name, each in zip(edges, found, strict=False) if each is not None}
    return gradients, None if leaf is None else found[-1]


@contextmanager
def _noting(
    subject: Subject, blocks: Blocks, seen: Seen, ends: _Ends
) -> Generator[None, None, None]:
    """Run the blocks without a graph while the context lasts, and note what each is given."""
    num = len(blocks.modules)
    with ExitStack() as stack:
        for layer, block in enumerate(blocks.modules):
            forward: Callable[..., Any] = block.forward
            stack.callback(_put_back, block, vars(block).get("forward"))
            vars(block)["forward"] = _quiet_forward(
                subject, forward, layer, layer == num - 1, seen, ends
            )
        yield


def _quiet_forward(
    subject: Subject,
    forward: Callable[..., Any],
    layer: int,
    is_last: bool,
    seen: Seen,
    ends: _Ends,
) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        if layer in ends.entries:
            raise UnsupportedSiteError(
                f"Block {layer} of {subject.name} runs more than once in one forward pass, so it "
                "cannot be measured block by block."
            )
        hidden: Tensor = args[0] if args else kwargs[_STREAM]
        if layer == 0:
            ends.first, ends.before = hidden, frozenset(seen.edges)
        others = {name: each for name, each in kwargs.items() if args or name != _STREAM}
        if any(each.requires_grad for each in _tensors((args[1:], others))):
            raise UnsupportedSiteError(
                f"Block {layer} of {subject.name} is given more than the residual stream, and a "
                "gradient would have to pass it, so it cannot be measured block by block."
            )
        # A copy: some blocks add into what they are given.
        copy = hidden.detach().clone()
        entry = _Entry(hidden=copy, args=args[1:] if args else None, kwargs=others)
        ends.entries[layer] = entry
        with torch.no_grad():
            output = forward(*_given(hidden, entry), **_named(hidden, entry))
        if not is_last:
            return output
        ends.last = _stream_of(output).detach().requires_grad_()
        stream = ends.last.clone()
        return (stream, *output[1:]) if isinstance(output, tuple) else stream

    return run


def _given(hidden: Tensor, entry: _Entry) -> tuple[Any, ...]:
    return () if entry.args is None else (hidden, *entry.args)


def _named(hidden: Tensor, entry: _Entry) -> dict[str, Any]:
    return {**entry.kwargs, _STREAM: hidden} if entry.args is None else dict(entry.kwargs)


def _stream_of(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


def _put_back(block: nn.Module, before: Callable[..., Any] | None) -> None:
    if before is None:
        del vars(block)["forward"]
    else:
        vars(block)["forward"] = before


def _tensors(value: Any) -> Generator[Tensor, None, None]:
    """Go through all tensors in nested tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from _tensors(each)


def _by_block(
    subject: Subject, blocks: Blocks, sites: Sequence[Site]
) -> tuple[dict[int, list[Site]], list[Site]]:
    """Tell the sites inside of each block from those outside of all."""
    numbers = {
        id(module): layer
        for layer, block in enumerate(blocks.modules)
        for module in block.modules()
    }
    inside: dict[int, list[Site]] = {}
    outside: list[Site] = []
    for site in sites:
        layer = numbers.get(id(subject.model.get_submodule(site.tap.module)))
        if layer is None:
            outside.append(site)
        else:
            inside.setdefault(layer, []).append(site)
    return inside, outside
