"""A survey on trial: a few of its batches are measured, and what that took is told."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from backlight.models.blocks.rerun import Blocks
from backlight.models.lending import borrowed
from backlight.models.subject import Subject
from backlight.surveys.driver.dry_run.costs import Costs, Tried, costs_of
from backlight.surveys.driver.measurement import Measurement
from backlight.surveys.driver.steps import State

_ENOUGH_SECONDS = 2.0  # for one kind of trial
_MOST_TRIALS = 5  # of one kind
_NUM_LARGEST = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What a few batches took.

    Attributes:
        costs: What rounds, batches and tokens cost.
        join_seconds: How long it takes to merge the states of two shards; zero for one shard.
        state_bytes: How large a state is.
        num_passes: How many forward passes a batch has; a pass of some of the blocks counts as
            their share.
        more_bytes: How much more is kept of the largest round than of the batches on trial.
    """

    costs: Costs
    join_seconds: float
    state_bytes: int
    num_passes: float
    more_bytes: float


def probe(measurement: Measurement[Any, Any]) -> Probe:
    """Measure the largest batches, one in the middle and the smallest, and merge states.

    The largest few are measured in a row, as what is left of one is still there when the next
    begins; once before time is taken, as the first pass of a process is slow, and once more after
    the small ones, between which freed memory is used in pieces. The measurement's own state is
    afterwards that of trials, from which tables can be made to see what they take.

    Args:
        measurement: A survey, ready to run.

    Returns:
        What it took.
    """
    sharding, subject = measurement.sharding, measurement.corpus.subject
    order = _from_largest(measurement)
    largest, various = order[:_NUM_LARGEST], (order[0], order[len(order) // 2], order[-1])
    with _counting(subject) as num_passes:
        first = _measured(measurement, largest)[1].state()
        passes = num_passes() / len(largest)
    costs = costs_of(list(_trials(measurement, list(dict.fromkeys(various)))))
    second = _measured(measurement, largest)[1].state()
    join_seconds = _merge(measurement, dict(first), dict(second))
    return Probe(
        costs=costs,
        join_seconds=join_seconds,
        state_bytes=_size(measurement.state),
        num_passes=passes,
        more_bytes=_more_bytes(measurement, [sharding.batches[place] for place in largest]),
    )


def _merge(
    measurement: Measurement[Any, Any], first: dict[str, Any], second: dict[str, Any]
) -> float:
    """Merge two states into the measurement's own, and tell how many seconds it took."""
    if measurement.halves is not None:
        first, second = map(dict, measurement.halves(first))
    elif len(measurement.sharding.shards) == 1:
        measurement.state.restore(first)
        return 0.0
    start = time.perf_counter()
    merged = measurement.sharding.join(first, second)
    seconds = time.perf_counter() - start
    measurement.state.restore(dict(merged))
    return seconds


def _from_largest(measurement: Measurement[Any, Any]) -> list[int]:
    """Order the batches by the memory that they take, the largest first."""
    batches = measurement.sharding.batches
    padded = [_num_positions(measurement, [members]) for members in batches]
    return sorted(range(len(batches)), key=lambda place: -padded[place])


def _num_positions(measurement: Measurement[Any, Any], batches: Sequence[Sequence[int]]) -> int:
    """Count the positions of some batches, pads too."""
    lengths = measurement.corpus.passages.lengths
    return sum(len(members) * int(lengths[list(members)].max()) for members in batches)


def _more_bytes(measurement: Measurement[Any, Any], tried: Sequence[Sequence[int]]) -> float:
    sharding = measurement.sharding
    most = max((_num_positions(measurement, each) for each in sharding.rounds), default=0)
    more = max(0, most - _num_positions(measurement, tried))
    return sharding.bytes_per_position * more if more else 0.0  # of rounds of a batch, infinite


def _trials(measurement: Measurement[Any, Any], places: Sequence[int]) -> Iterator[Tried]:
    """Measure each of some batches, and all of them together where they share a round."""
    sharding = measurement.sharding
    trials = [[place] for place in places]
    if sharding.rounds and len(places) > 1:
        trials.append(list(places))
    for trial in trials:
        yield Tried(
            seconds=_repeated(measurement, trial),
            num_rounds=int(len(sharding.rounds) > 0),
            num_batches=len(trial),
            num_tokens=sum(sharding.num_tokens[place] for place in trial),
        )


def _repeated(measurement: Measurement[Any, Any], places: Sequence[int]) -> float:
    """Measure some batches, again and again if that is quick; return the mean of the seconds."""
    total = 0.0
    for number in range(1, _MOST_TRIALS + 1):
        total += _measured(measurement, places)[0]
        if total > _ENOUGH_SECONDS:
            return total / number
    return total / _MOST_TRIALS


def _measured(measurement: Measurement[Any, Any], places: Sequence[int]) -> tuple[float, State]:
    sharding, subject = measurement.sharding, measurement.corpus.subject
    batches, state = [sharding.batches[place] for place in places], sharding.fresh()
    start = time.perf_counter()
    with borrowed(subject.model):
        for _ in sharding.steps(batches, state):
            pass
    if subject.device.type == "cuda":
        torch.cuda.synchronize(subject.device)
    return time.perf_counter() - start, state


@contextmanager
def _counting(subject: Subject) -> Generator[Callable[[], float], None, None]:
    """Count the forward passes of a model while the context lasts; a block counts as its share."""
    blocks = subject.passing or Blocks.found_in(subject)
    modules = [subject.model] if blocks is None else [_part(each) for each in blocks.modules]
    number = 0

    def count(*_: Any) -> None:
        nonlocal number
        number += 1

    handles = [module.register_forward_pre_hook(count) for module in modules]
    try:
        yield lambda: number / len(modules)
    finally:
        for handle in handles:
            handle.remove()


def _part(block: nn.Module) -> nn.Module:
    """Find a block's first part with numbers; a block that is left out is called, but not it."""
    with_numbers = (
        each for each in block.modules() if next(each.parameters(False), None) is not None
    )
    return next(with_numbers, block)


def _size(state: State) -> int:
    return sum(array.nbytes for array in state.state().values())
