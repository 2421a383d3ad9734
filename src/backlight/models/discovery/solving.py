"""The wiring of one block: which of the tensors that passed in it add up to its stream.

A block is read as a chain of sums. Between the stream that enters and the stream that leaves, every
tensor that some module is given could be a stage; a chain holds if each stage is the one before
plus one or two outputs of modules that passed in between, with coefficients, number by number. The
simplest form that holds is taken; if several of that form do, none is.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import final

from backlight.models.discovery.inside import Inside, Same
from backlight.models.discovery.sums import Fit, Keeping, fits
from backlight.models.wiring.norm_form import NormForm

_LONGEST = 4  # sums in a block
_FORMS: tuple[tuple[Keeping, int], ...] = (
    ("whole", 1),
    ("whole", 2),
    ("scaled", 1),
    ("scaled", 2),
    ("scaled by channel", 1),
)
"""What becomes of the stream, and how many terms a sum may have, from the simplest form on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A place where the stream is between two sums.

    Attributes:
        total: The sum.
        stream: Where the stream goes on: the sum itself, or what a norm of it gives.
        norm: That norm, None if there is none.
    """

    total: Same
    stream: Same
    norm: NormForm | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One sum of a chain.

    Attributes:
        before: The stage before it.
        after: The stage that it leads to.
        terms: What is added.
        fit: With which coefficients.
    """

    before: Stage
    after: Stage
    terms: tuple[Same, ...]
    fit: Fit


Chain = tuple[Step, ...]


def chains_of(block: Inside, norms: Mapping[str, NormForm]) -> list[Chain]:
    """Find the chains of sums that lead from the stream that enters a block to the one that leaves.

    Args:
        block: What passed in it.
        norms: The norms of the model, by their paths.

    Returns:
        All chains of the simplest form in which there is one; empty if there is none.
    """
    for keeping, num_terms in _FORMS:
        found = list(_Search(block, norms, keeping, num_terms).chains())
        if found:
            fewest = min(map(_size, found))
            return [chain for chain in found if _size(chain) == fewest]
    return []


def _size(chain: Chain) -> tuple[int, int]:
    # Two sums of one term each say more than one sum of two, so they count as the simpler form.
    return max(len(step.terms) for step in chain), len(chain)


@final
class _Search:
    """A search for chains of one form."""

    def __init__(
        self, block: Inside, norms: Mapping[str, NormForm], keeping: Keeping, num_terms: int
    ) -> None:
        self.block = block
        self.norms = norms
        self.keeping: Keeping = keeping
        self.num_terms = num_terms
        inner = (same for same in block.all if same not in (block.pre, block.post) and same.given)
        self.inner = [stage for same in inner for stage in self._stages(same)]
        self.ends = list(self._stages(block.post))
        self.steps: dict[tuple[Stage, Stage], list[Step]] = {}

    def chains(self) -> Iterator[Chain]:
        start = self.block.pre
        yield from self._from(Stage(total=start, stream=start), ())
        # In some models the stream itself goes through a norm where it enters the block.
        for same in self.block.all:
            for norm in self._norms_between(start, same):
                yield from self._from(Stage(total=start, stream=same, norm=norm), ())

    def _from(self, stage: Stage, chain: Chain) -> Iterator[Chain]:
        for end in self.ends:
            yield from ((*chain, step) for step in self._between(stage, end))
        if len(chain) + 1 < _LONGEST:
            for following in self.inner:
                for step in self._between(stage, following):
                    yield from self._from(following, (*chain, step))

    def _stages(self, stream: Same) -> Iterator[Stage]:
        """Pair a stream with the sums that it can be: itself, or what a norm was given."""
        yield Stage(total=stream, stream=stream)
        for total in self.block.all:
            for norm in self._norms_between(total, stream):
                yield Stage(total=total, stream=stream, norm=norm)

    def _norms_between(self, given: Same, gave: Same) -> Iterator[NormForm]:
        paths = {passing.tap.module for passing in given.given}
        for passing in gave.gave:
            if passing.tap.module in paths and passing.tap.module in self.norms:
                yield self.norms[passing.tap.module]

    def _between(self, before: Stage, after: Stage) -> list[Step]:
        """Find what is added to the stream on its way to a sum; the fewest terms that do."""
        key = (before, after)
        if key not in self.steps:
            numbers = range(1, self.num_terms + 1)
            tried = (self._steps(before, after, number) for number in numbers)
            self.steps[key] = next((steps for steps in tried if steps), [])
        return self.steps[key]

    def _steps(self, before: Stage, after: Stage, num_terms: int) -> list[Step]:
        stream, total = before.stream, after.total
        if total in (stream, before.total) or total.first <= stream.first:
            return []
        terms = [
            same
            for same in self.block.all
            if same.gave and same not in (stream, total) and self._is_between(same, stream, total)
        ]
        found = fits(
            total.numbers,
            stream.numbers,
            [same.numbers for same in terms],
            num_terms=num_terms,
            keeping=self.keeping,
            eps=self.block.eps,
        )
        return [
            Step(before=before, after=after, terms=tuple(terms[i] for i in fit.terms), fit=fit)
            for fit in found
        ]

    def _is_between(self, same: Same, stream: Same, total: Same) -> bool:
        return stream.first < same.outermost.place and same.first < total.first
