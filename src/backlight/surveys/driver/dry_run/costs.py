"""What measuring a corpus costs in seconds, as a few batches tell that were tried."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """Some batches that were measured together, on trial.

    Attributes:
        seconds: How long they took.
        num_rounds: How often was done what is done once for several batches.
        num_batches: How many batches they are.
        num_tokens: How many units of progress, which are tokens or tokens times layers.
    """

    seconds: float
    num_rounds: int
    num_batches: int
    num_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What the parts of measuring cost, none of them less than nothing.

    Attributes:
        round: Seconds for each round, such as reading all dictionaries.
        batch: Seconds for each batch, besides.
        token: Seconds for each unit of progress, besides.
    """

    round: float
    batch: float
    token: float

    def seconds(self, *, num_rounds: int, num_batches: int, num_tokens: int) -> float:
        """Say how long it takes to measure so much."""
        return self.round * num_rounds + self.batch * num_batches + self.token * num_tokens


def costs_of(tried: Sequence[Tried]) -> Costs:
    """Fit what rounds, batches and tokens cost to what was tried.

    The squares of the relative differences are made least (Lawson and Hanson 1974), so that short
    trials count as much as long ones.

    >>> trials = [(5.0, 1, 1, 200), (3.0, 1, 1, 100), (7.0, 1, 2, 300)]
    >>> names = ("seconds", "num_rounds", "num_batches", "num_tokens")
    >>> costs = costs_of([Tried(**dict(zip(names, each))) for each in trials])
    >>> [round(each, 6) for each in (costs.round, costs.batch, costs.token)]
    [1.0, 0.0, 0.02]

    Args:
        tried: What was measured; each took longer than nothing.

    Returns:
        The costs. Where trials cannot tell two of them apart, their sum is right for what is like
        the trials.
    """
    parts = np.array([[each.num_rounds, each.num_batches, each.num_tokens] for each in tried])
    seconds = np.array([each.seconds for each in tried])
    scale = np.maximum(parts.max(axis=0), 1)
    found, _ = nnls(parts / scale / seconds[:, None], np.ones(len(tried)))
    a_round, a_batch, a_token = (float(each) for each in found / scale)
    return Costs(round=a_round, batch=a_batch, token=a_token)
