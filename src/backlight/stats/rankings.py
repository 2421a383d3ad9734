"""Features ranked by how they fire on two texts, as three published tools rank them.

Each tool has a text whose knowledge is to be removed, and one whose knowledge is to stay. Their
defaults are kept; only what they count is divided by the number of tokens it was counted over, so
that texts of different lengths can be held against each other. On texts of the same number of
tokens the lists are the tools' own. Ties keep the order of the features' numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

CRISP_RATIO = 3.0
"""CRISP keeps a feature whose summed activation is so many times that on the other text."""

CRISP_CANDIDATES = 10
"""CRISP looks for features among so many times as many as it wants."""

SAEBENCH_FREQUENCY = 0.01
"""SAEBench drops features that fire at this share of the other text's tokens, or at more."""

DSG_RATIO_PERCENTILE = 95.0
"""DSG keeps features whose ratio of mean squares is at this percentile of all, or above."""

DSG_LEAST_PERCENTILE = 5.0
"""DSG keeps features whose mean square is at this percentile of all, or above."""

_DSG_NEVER_ZERO = 1e-21


@dataclass(frozen=True, slots=True, kw_only=True)
class Fired:
    """How often and how strongly each feature fired on one text.

    Attributes:
        num_after_first: How many tokens are not the first of their passage.
        num_in_text: How many tokens are no beginning, end or padding.
        active_after_first: At how many of the former each feature fires.
        sum_after_first: The sum of its activations there.
        active_in_text: At how many of the latter it fires.
        square_in_text: The sum of the squares of its activations there.
    """

    num_after_first: int
    num_in_text: int
    active_after_first: NDArray[np.int64]
    sum_after_first: Vector
    active_in_text: NDArray[np.int64]
    square_in_text: Vector

    @staticmethod
    def of(arrays: Mapping[str, NDArray[Any]]) -> "Fired":
        """Take what ``Activity.result`` returned."""
        after_first, in_text = arrays["activity_tokens"].tolist()
        names = ("active_after_first", "sum_after_first", "active_in_text", "square_in_text")
        return Fired(
            num_after_first=after_first,
            num_in_text=in_text,
            **{name: arrays[name] for name in names},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """Some features, the first one first.

    Attributes:
        features: Their numbers.
        score: What they are ordered by, falling.
    """

    features: NDArray[np.int64]
    score: Vector


def crisp(forget: Fired, retain: Fired, *, count: int) -> Ranked:
    """Rank as CRISP does (Ashuach et al. 2025, arXiv 2508.13650).

    Among the ``10 count`` features that fire so much more often on the one text than on the other,
    those are kept whose activations there sum to three times as much or more. The first token of
    each passage does not count. See ``crisp/crisp.py`` of github.com/Noam-Diamant/CRISP, which
    counts tokens and adds one to the smaller sum; here both are per token.

    Args:
        forget: The text whose features are looked for.
        retain: The other text, of the same features.
        count: How many features are wanted.

    Returns:
        At most so many, ordered by the difference of the shares of tokens at which they fire.
    """
    tokens, others = forget.num_after_first, retain.num_after_first
    # In whole numbers, so that what is equal is equal.
    more = forget.active_after_first * others - retain.active_after_first * tokens
    known = np.flatnonzero((forget.active_after_first > 0) | (retain.active_after_first > 0))
    found = known[np.argsort(-more[known], kind="stable")][: CRISP_CANDIDATES * count]
    ratio = (forget.sum_after_first * others) / ((retain.sum_after_first + 1) * tokens)
    kept = found[ratio[found] >= CRISP_RATIO][:count]
    return Ranked(features=kept, score=more[kept] / (tokens * others))


def saebench(forget: Fired, retain: Fired, *, count: int) -> Ranked:
    """Rank as SAEBench's unlearning evaluation does (Karvonen et al. 2025, arXiv 2503.09532).

    Features that fire at 0.01 of the other text's tokens or more are dropped, and the rest is
    ordered by how often it fires (Farrell et al. 2024, arXiv 2410.19278). Tokens for beginning, end
    and padding do not count. See ``sae_bench/evals/unlearning/utils/feature_activation.py`` of
    github.com/adamkarvonen/SAEBench.

    Args:
        forget: The text whose features are looked for.
        retain: The other text, of the same features.
        count: How many features are wanted.

    Returns:
        At most so many, ordered by the share of tokens at which they fire.
    """
    frequency = forget.active_in_text / forget.num_in_text
    dropped = retain.active_in_text / retain.num_in_text >= SAEBENCH_FREQUENCY
    return _largest(np.where(dropped, 0.0, frequency), count)


def dsg(forget: Fired, retain: Fired, *, count: int) -> Ranked:
    """Rank as Dynamic SAE Guardrails do (Muhamed et al. 2025, arXiv 2504.08192).

    A feature's score on a text is the mean of its squared activations, an approximation of Fisher
    information. Features are kept if the ratio of both scores is at the 95th percentile of all
    features or above, and ordered by the first. Tokens for beginning, end and padding do not count.
    See ``get_top_features_percentile`` in github.com/aashiqmuhamed/DynamicSAEGuardrails, which also
    leaves out scores below the 5th percentile. The published code squares the mean activation
    instead of averaging squares, and says that both do about the same.

    Args:
        forget: The text whose features are looked for.
        retain: The other text, of the same features.
        count: How many features are wanted.

    Returns:
        At most so many, ordered by their mean square; none that never fires.
    """
    score = forget.square_in_text / forget.num_in_text
    ratio = score / (retain.square_in_text / retain.num_in_text + _DSG_NEVER_ZERO)
    kept = ratio >= np.percentile(ratio, DSG_RATIO_PERCENTILE)
    kept &= score >= np.percentile(score, DSG_LEAST_PERCENTILE)
    return _largest(np.where(kept, score, 0.0), count)


def _largest(score: Vector, count: int) -> Ranked:
    """Take the features of the largest scores, but none of a score of zero."""
    order = np.argsort(-score, kind="stable")[:count]
    order = order[score[order] > 0]
    return Ranked(features=order, score=score[order])
