"""The wiring of one block: which of the tensors that passed in it add up to its stream.

A block is read as a chain of sums. Between the stream that enters and the stream that leaves, every
tensor that some module is given could be a stage; a chain holds if each stage is the one before
plus one or two outputs of modules that passed in between, with coefficients, number by number. The
chain with the fewest terms is taken; two different ones are told apart by other tokens, or refused.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import torch
from torch import Tensor

from backlight.models.discovery.observing import Observation, Passing
from backlight.models.discovery.sums import Fit, fit
from backlight.models.discovery.wiring import NormForm


@dataclass(frozen=True, slots=True, kw_only=True)
class Same:
    """All places in a block where the same numbers passed.

    Attributes:
        numbers: The numbers, in float64.
        given: The modules that were given them, in the order in which it happened.
        gave: The modules that gave them.
    """

    numbers: Tensor
    given: list[Passing] = field(default_factory=list[Passing])
    gave: list[Passing] = field(default_factory=list[Passing])

    @property
    def first(self) -> int:
        """When these numbers passed first."""
        return min(passing.place for passing in (*self.given, *self.gave))

    @property
    def outermost(self) -> Passing:
        """The outermost module that gave them; of several, the first."""
        return min(self.gave, key=lambda passing: (passing.depth, passing.place))


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One sum of a chain.

    Attributes:
        stream: The stream before it.
        total: The sum.
        terms: What is added.
        fit: With which coefficients.
        behind: Where the stream goes on: the sum, or what a norm of it gives.
        norm: That norm, None if there is none.
    """

    stream: Same
    total: Same
    terms: tuple[Same, ...]
    fit: Fit
    behind: Same
    norm: NormForm | None = None


Chain = tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """What passed in one block.

    Attributes:
        pre: The stream that enters.
        post: The stream that leaves.
        all: Everything that passed inside, each once.
        eps: The rounding error of the coarsest number format in it.
    """

    pre: Same
    post: Same
    all: tuple[Same, ...]
    eps: float


def inside(block: str, seen: Observation) -> Inside:
    """Collect what passed in one block, the same numbers once.

    Args:
        block: Its path.
        seen: What passed.

    Returns:
        What passed.
    """
    pre, post = seen.given[block], seen.gave[block]
    known: dict[bytes, Same] = {}
    formats = {pre.rows.dtype, post.rows.dtype}

    def same(passing: Passing) -> Same:
        numbers = passing.rows.detach().double().flatten().cpu()
        return known.setdefault(numbers.numpy().tobytes(), Same(numbers=numbers))

    start, end = same(pre), same(post)
    start.given.append(pre)
    end.gave.append(post)
    own = (
        p
        for p in (*seen.given.values(), *seen.gave.values())
        if p.tap.module.startswith(f"{block}.")
    )
    for passing in sorted(own, key=lambda passing: passing.place):
        if passing.rows.shape == pre.rows.shape:
            formats.add(passing.rows.dtype)
            group = same(passing)
            (group.given if passing.tap.side == "input" else group.gave).append(passing)
    eps = max(torch.finfo(dtype).eps for dtype in formats)
    return Inside(pre=start, post=end, all=tuple(known.values()), eps=eps)


def chains_of(block: Inside, norms: Mapping[str, NormForm]) -> list[Chain]:
    """Find the chains of sums that lead from the stream that enters a block to the one that leaves.

    Args:
        block: What passed in it.
        norms: The norms of the model.

    Returns:
        All chains with the fewest terms; empty if there is none.
    """
    for scaled in (False, True):
        for num_terms in (1, 2):
            found = list(_chains(block, norms, num_terms, scaled))
            if found:
                fewest = min(map(_size, found))
                return [chain for chain in found if _size(chain) == fewest]
    return []


def _size(chain: Chain) -> int:
    # A stage in between says more than a sum of two, so a chain of two steps of one term each comes
    # before one step of two.
    return sum(3 * len(step.terms) - 2 for step in chain)


def _chains(
    block: Inside, norms: Mapping[str, NormForm], num_terms: int, scaled: bool
) -> Iterator[Chain]:
    """Go through the chains with at most so many terms in a step."""
    ends = list(_stages(block, [block.post], norms))
    stages = list(
        _stages(
            block,
            [s for s in block.all if s is not block.post and s is not block.pre and s.given],
            norms,
        )
    )
    for end in ends:
        for stage in stages:
            for first in _steps(block, block.pre, stage, num_terms, scaled):
                for second in _steps(block, stage[1], end, num_terms, scaled):
                    yield (first, second)
    for end in ends:
        yield from ((step,) for step in _steps(block, block.pre, end, num_terms, scaled))


Stage = tuple[Same, Same, NormForm | None]
"""A sum, where the stream goes on from it, and the norm between the two."""


def _stages(
    block: Inside, streams: Sequence[Same], norms: Mapping[str, NormForm]
) -> Iterator[Stage]:
    """Pair each stream with the sum that it is: itself, or what the norm that gave it was given."""
    for stream in streams:
        yield stream, stream, None
        for passing in stream.gave:
            norm = norms.get(passing.tap.module)
            for total in block.all if norm is not None else ():
                if any(given.tap.module == passing.tap.module for given in total.given):
                    yield total, stream, norm


def _steps(
    block: Inside, stream: Same, stage: Stage, num_terms: int, scaled: bool
) -> Iterator[Step]:
    """Find what is added to the stream on its way to a sum."""
    total, behind, norm = stage
    if total is stream or total.first < stream.first:
        return
    start = stream.first
    terms = [
        same
        for same in block.all
        if same.gave
        and same is not total
        and same is not stream
        and start < same.outermost.place
        and same.first < total.first
        and same.numbers.any()
    ]
    for count in range(1, num_terms + 1):
        found = False
        for chosen in combinations(terms, count):
            numbers = [term.numbers for term in chosen]
            fitted = fit(total.numbers, stream.numbers, numbers, eps=block.eps, scaled=scaled)
            if fitted is not None:
                found = True
                yield Step(
                    stream=stream, total=total, terms=chosen, fit=fitted, behind=behind, norm=norm
                )
        if found:
            return
