"""The one pass in pieces: one block's graph at a time, with the same gradients to the last bit.

Forward, only what enters each block is kept; then, from the last block to the first, a block runs
again and is walked back. So no more than one block's graph (and, in a subject whose weights come
and go, one block's weights) is ever in memory. This is gradient checkpointing at the blocks (Chen
et al. 2016, arXiv:1604.06174), for gradients of activations. Several batches go through each block
before the next, so that its weights are read for all of them at once.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast, final

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from backlight.capture.entries import Entry, enter, leave
from backlight.capture.finite import is_finite, not_finite
from backlight.capture.seen import Seen, gradient_at, kept_of, refuse_missed
from backlight.capture.tape import Tape
from backlight.data.batches import Batch
from backlight.models.backward import explaining
from backlight.models.lending import borrowed
from backlight.models.passing_blocks import PassingBlocks
from backlight.models.sites import Site
from backlight.models.subject import Subject
from backlight.models.taps import tapping
from backlight.objectives.objective import LossGradient, NextToken, Objective

_DEFAULT = NextToken()


def record_by_blocks(
    subject: Subject,
    blocks: PassingBlocks,
    batches: Sequence[Batch],
    sites: Sequence[Site],
    *,
    objective: Objective = _DEFAULT,
    keep_activations: bool | Collection[str] = False,
    norms: Sequence[Site] = (),
) -> list[Tape]:
    """Run batches forward and backward, block by block, and keep the gradient at each site.

    Args:
        subject: The model.
        blocks: Its blocks.
        batches: Each some passages, on the model's device.
        sites: Where to look.
        objective: What is differentiated; by default each sequence's mean next-token loss.
        keep_activations: Also keep a copy of the tensors of all sites, or of those named.
        norms: Sites of whose tensors each token's L2 norm is kept, besides.

    Returns:
        The tapes that ``record`` gives.

    Raises:
        NonFiniteError: If a loss is NaN or infinite; the message says where that began.
        SilentSiteError: If the loss does not depend on one of the sites.
        UnsupportedSiteError: If a site passes more than once or not at all, or a block is given
            more than the stream that a gradient would have to pass.
    """
    measured, asked = {site.name for site in norms}, {site.name for site in sites}
    tapped = _Sites.of(subject, blocks, [*sites, *norms])
    walks = [
        _Walk(
            subject=subject,
            blocks=blocks,
            sites=tapped,
            objective=objective,
            seen=Seen(
                subject=subject,
                batch=batch,
                asked=asked,
                kept=kept_of(asked, keep_activations),
                measured=measured,
                only_measured=measured - asked,
            ),
        )
        for batch in batches
    ]
    with borrowed(subject.model):  # the model is lent once for the whole of it
        _go(walks, blocks)
    return [_tape(walk, sites, norms) for walk in walks]


def _go(walks: Sequence["_Walk"], blocks: PassingBlocks) -> None:
    """Go forward through all blocks, and back: each block with all batches before the next."""
    last = len(blocks.modules) - 1
    for walk in walks:
        walk.begin()
    lowest = min(walk.lowest for walk in walks)
    for layer in range(last):
        with blocks.holding(layer):
            for walk in walks:
                walk.forward(layer)
    with blocks.holding(last):
        for walk in walks:
            walk.turn()
    for layer in reversed(range(lowest, last)):
        with blocks.holding(layer):
            for walk in walks:
                walk.back(layer)
    for walk in walks:
        walk.end()


def _tape(walk: "_Walk", sites: Sequence[Site], norms: Sequence[Site]) -> Tape:
    seen, loss = walk.seen, walk.loss
    assert loss is not None
    refuse_missed(walk.subject, sites, seen.edges)
    refuse_missed(walk.subject, norms, seen.norms)
    return Tape(
        batch=seen.batch,
        activations=seen.activations,
        gradients={
            site.name: gradient_at(site, walk.gradients.get(site.name), seen.batch)
            for site in sites
        },
        nats=loss.nats,
        value=loss.value,
        norms=seen.norms,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sites:
    """Sites, by where they are.

    Attributes:
        inside: Those of each block, by its number.
        outside: Those outside of all blocks.
    """

    inside: Mapping[int, Sequence[Site]]
    outside: Sequence[Site]

    @staticmethod
    def of(subject: Subject, blocks: PassingBlocks, sites: Sequence[Site]) -> "_Sites":
        numbers = {
            id(module): layer
            for layer, block in enumerate(blocks.modules)
            for module in block.modules()
        }
        inside: dict[int, list[Site]] = {}
        outside: list[Site] = []
        for site in {site.name: site for site in sites}.values():
            layer = numbers.get(id(subject.model.get_submodule(site.tap.module)))
            (outside if layer is None else inside.setdefault(layer, [])).append(site)
        return _Sites(inside=inside, outside=outside)


@final
@dataclass(slots=True, kw_only=True)
class _Walk:
    """One batch on its way through the blocks and back.

    Attributes:
        subject: The model.
        blocks: Its blocks.
        sites: Where to look.
        objective: What is differentiated.
        seen: What was seen on the way forward.
        entries: What each block is given besides the stream.
        first: The stream before the first block, with the graph that leads there.
        before: The sites that it passed there.
        stream: The residual stream, as far as it has come.
        streams: What entered each block that is yet to be walked back.
        upstream: The gradient at the stream, as far as the way back has come; None if the loss does
            not depend on it.
        loss: The objective.
        gradients: Those that were found, by the names of the sites.
    """

    subject: Subject
    blocks: PassingBlocks
    sites: _Sites
    objective: Objective
    seen: Seen
    entries: Sequence[Entry] = ()
    first: Tensor | None = None
    before: Sequence[str] = ()
    stream: Tensor = field(default_factory=lambda: torch.empty(0))
    streams: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    upstream: Tensor | None = None
    loss: LossGradient | None = None
    gradients: dict[str, Tensor] = field(default_factory=dict[str, Tensor])

    @property
    def lowest(self) -> int:
        """The first block that must be walked back."""
        if any(name in self.seen.edges for name in self.before):
            return 0
        return min(self.sites.inside, default=len(self.blocks.modules))

    def begin(self) -> None:
        """Run the model up to its first block."""
        with tapping(self.subject, self.sites.outside, self.seen.visit):
            self.first, self.entries = enter(self.subject, self.blocks, self.seen.batch)
        self.before = tuple({**self.seen.edges, **self.seen.norms})
        # A copy: what follows may write into it.
        self.stream = self.first.detach().clone()

    def forward(self, layer: int) -> None:
        """Run a block without a graph."""
        given = self.stream
        if layer >= self.lowest:
            self.streams[layer] = given
            given = given.clone()  # some blocks add into what they are given
        with torch.no_grad():
            self.stream = _stream_of(self.entries[layer].call(self.blocks.modules[layer], given))

    def turn(self) -> None:
        """Run the last block with its graph, and what follows it; then walk both back."""
        last = len(self.blocks.modules) - 1
        output, edges, leaf = self._with_graph(last, self.stream)
        behind = output.detach().requires_grad_()
        self.stream = behind
        self._judge(behind)
        if self.lowest <= last:
            self.upstream = self._back(output, edges, leaf)

    def back(self, layer: int) -> None:
        """Run a block again, now with its graph, and walk it back."""
        self.upstream = self._back(*self._with_graph(layer, self.streams.pop(layer)))

    def end(self) -> None:
        """Walk back what comes before the first block."""
        edges = {name: self.seen.edges[name] for name in self.before if name in self.seen.edges}
        if edges and self.first is not None:
            self._back(self.first, edges, None)

    def _judge(self, leaf: Tensor) -> None:
        """Run what follows the last block, and walk it back to there."""
        batch, known = self.seen.batch, set(self.seen.edges)
        sites = [site for site in self.sites.outside if site.name not in self.before]
        with tapping(self.subject, sites, self.seen.visit), torch.enable_grad():
            output = leave(self.subject, self.blocks, batch, leaf.clone())
            self.loss = self.objective(output, batch, self.subject.head)
        if not is_finite(self.loss):
            raise not_finite(self.subject, batch, self.loss)
        edges = {name: each for name, each in self.seen.edges.items() if name not in known}
        self.upstream = self.loss.gradient
        self.upstream = self._back(output, edges, leaf)

    def _with_graph(
        self, layer: int, stream: Tensor
    ) -> tuple[Tensor, Mapping[str, GradientEdge], Tensor]:
        """Run a block with its graph.

        Args:
            layer: Which block.
            stream: What entered it.

        Returns:
            What it gave, where in the graph its sites are, and the leaf where the graph begins.
        """
        known, leaf = set(self.seen.edges), stream.requires_grad_()
        sites = self.sites.inside.get(layer, ())
        with tapping(self.subject, sites, self.seen.visit), torch.enable_grad():
            # The block may write into its input, but not into a leaf.
            output = self.entries[layer].call(self.blocks.modules[layer], leaf.clone())
        edges = {name: each for name, each in self.seen.edges.items() if name not in known}
        return _stream_of(output), edges, leaf

    def _back(
        self, output: Tensor, edges: Mapping[str, GradientEdge], leaf: Tensor | None
    ) -> Tensor | None:
        """Walk one graph back, to some sites and to the leaf where it began."""
        if self.upstream is None or not output.requires_grad:
            return None
        start = [] if leaf is None else [get_gradient_edge(leaf)]
        self.seen.going_back = True
        with explaining(self.subject.name):
            # Typed as if nothing were ever unused.
            found = cast(
                "Sequence[Tensor | None]",
                torch.autograd.grad(
                    output, [*edges.values(), *start], self.upstream, allow_unused=True
                ),
            )
        self.seen.going_back = False
        named = zip(edges, found, strict=False)
        self.gradients |= {name: each for name, each in named if each is not None}
        return None if leaf is None else found[-1]


def _stream_of(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


def grouped(
    subject: Subject, blocks: PassingBlocks, batches: Iterable[Batch], sites: Sequence[Site]
) -> Iterator[list[Batch]]:
    """Put as many batches together as may be kept at a time.

    Args:
        subject: The model.
        blocks: Its blocks, which say how much that is.
        batches: The batches.
        sites: Where to look: a gradient, and perhaps an activation, is kept of each.

    Yields:
        Groups of at least one, in the order of the batches.
    """
    group: list[Batch] = []
    room = blocks.group_bytes
    for batch in batches:
        needed = batch.input_ids.numel() * bytes_per_token(subject, blocks, sites)
        if group and needed > room:
            yield group
            group, room = [], blocks.group_bytes
        group.append(batch)
        room -= needed
    if group:
        yield group


def bytes_per_token(subject: Subject, blocks: PassingBlocks, sites: Sequence[Site]) -> int:
    """Compute how much is kept of each token while its batch goes through the blocks.

    Args:
        subject: The model.
        blocks: Its blocks.
        sites: Where to look.

    Returns:
        Bytes: the stream before each block, and a gradient and an activation at each site.
    """
    width = max(site.width or 0 for site in subject.sites.values() if _is_stream(site))
    widths = sum(site.width or 0 for site in sites)
    size = next(_floating(subject.model)).itemsize
    return size * (width * (len(blocks.modules) + 2) + 2 * widths)


def _is_stream(site: Site) -> bool:
    return site.name.endswith((".resid.pre", ".resid.post"))


def _floating(model: nn.Module) -> Iterator[torch.dtype]:
    return (each.dtype for each in model.parameters() if each.is_floating_point())
