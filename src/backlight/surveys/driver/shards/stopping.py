"""When a survey knows enough: the relative standard errors of its numbers are small."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.runs.prefixes import Rule
from backlight.stats.base import State, under
from backlight.stats.ratio import RatioResult, Ratios
from backlight.surveys.driver.material.opening import Corpus
from backlight.surveys.driver.options.precision import LEAST_PASSAGES, PrecisionOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """How the errors of a survey's numbers follow from its state.

    Attributes:
        part: Takes out of a state's arrays the sums that are needed, all of which can be added.
        relative: Computes of such sums the standard errors of some numbers, each divided by the
            size of its number; NaN where there is no number.
    """

    part: Callable[[State], State]
    relative: Callable[[State], NDArray[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping(Rule):
    """Stop when the median of some relative standard errors is below a number.

    Attributes:
        target: The number.
        whose: Of what the errors are: ``layers`` or ``top``.
        errors: How they follow from a state.
        num_passages: How many passages the shards up to each have.
        is_beginning: The text goes on behind what was read, in the order in which it is.
    """

    target: float
    whose: str
    errors: Errors
    num_passages: Sequence[int]
    is_beginning: bool

    @staticmethod
    def of(options: PrecisionOptions, corpus: Corpus, errors: Errors) -> "Stopping | None":
        """Read from options when to stop.

        Args:
            options: The options.
            corpus: What is measured.
            errors: How the errors follow from a state.

        Returns:
            The rule; None if all of the text is measured.
        """
        if options.precision is None or corpus.windows is None:
            return None
        return Stopping(
            target=options.precision,
            whose=options.precision_of,
            errors=errors,
            num_passages=corpus.windows.num_passages,
            is_beginning=corpus.passages.goes_on,
        )

    def part(self, state: State) -> State:
        """See ``Rule.part``."""
        return self.errors.part(state)

    def is_enough(self, part: State, num_shards: int) -> bool:
        """See ``Rule.is_enough``."""
        seen = self.num_passages[num_shards - 1]
        return seen >= LEAST_PASSAGES and self.relative_error(part) < self.target

    def relative_error(self, part: State) -> float:
        """Compute the median of the relative errors; infinite if there is none."""
        errors = self.errors.relative(part)
        known = errors[~np.isnan(errors)]
        return float(np.median(known)) if len(known) else float("inf")

    def told(self, part: State, num_shards: int) -> dict[str, Any]:
        """Describe, as plain numbers by name, how far a run came.

        Args:
            part: The sums of the shards that were needed.
            num_shards: How many these are.

        Returns:
            What was asked, and what was reached; no relative error if it is infinite.
        """
        error = self.relative_error(part)
        return {
            "asked": self.target,
            "of": self.whose,
            "relative_error": error if np.isfinite(error) else None,
            "is_reached": error < self.target,
            "num_passages": self.num_passages[num_shards - 1],
            "most_passages": self.num_passages[-1],
            "is_beginning": self.is_beginning,
        }


def relative_errors(ratios: RatioResult) -> NDArray[np.float64]:
    """Divide standard errors by the sizes of their numbers.

    >>> one = RatioResult(
    ...     ratio=np.array([-2.0, 0.0, 0.0]),
    ...     se=np.array([0.1, 0.1, 0.0]),
    ...     below=np.array([9.0]),
    ...     num_sequences=np.array([3]),
    ... )
    >>> relative_errors(one).tolist()
    [0.05, inf, nan]

    Args:
        ratios: The numbers, with their errors.

    Returns:
        The relative errors; infinite where the number is zero or its error is not known, NaN where
        both are zero.
    """
    sizes, errors = np.abs(ratios.ratio), np.where(np.isnan(ratios.se), np.inf, ratios.se)
    found = np.divide(errors, sizes, out=np.full_like(errors, np.inf), where=sizes > 0)
    return np.where(np.isnan(sizes) | ((sizes == 0) & (errors == 0)), np.nan, found)


def largest(errors: NDArray[np.float64], values: NDArray[np.float64], num: int) -> NDArray[Any]:
    """Take the errors of the numbers that are largest in size.

    Args:
        errors: The errors.
        values: The numbers.
        num: How many to take.

    Returns:
        The errors.
    """
    order = np.argsort(-np.abs(np.nan_to_num(values)), kind="stable")
    return errors[order[:num]]


def part_under(places: Sequence[str], state: State) -> State:
    """Take the arrays out of a state whose names begin with one of some places."""
    starts = tuple(f"{place}/" for place in places)
    return {name: array for name, array in state.items() if name.startswith(starts)}


def ratios_under(place: str, state: State) -> RatioResult:
    """Compute the ratios, which share their denominators or not, of which a state has the sums."""
    sums = under(place, state)
    shared = len(sums["below"]) < len(sums["above"])
    ratios = Ratios(len(sums["above"]), shared_below=shared)
    ratios.restore(sums)
    return ratios.result()
