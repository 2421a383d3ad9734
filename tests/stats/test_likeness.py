"""Agreement of two rankings, held against scipy and plain counting."""

import numpy as np
import pytest
from scipy import stats

from backlight.stats.contrast import Estimates
from backlight.stats.likeness import rank_agreement, top_overlap


def estimates(value, error):
    value = np.asarray(value, dtype=np.float64)
    return Estimates(
        value=value, error=np.full(len(value), float(error)), clusters=np.full(len(value), 9.0)
    )


def test_rank_agreement_is_spearmans_over_what_both_know():
    random = np.random.default_rng(0)
    first = random.normal(size=50).round(1)  # with ties
    second = first + random.normal(size=50).round(1)
    first[3] = np.nan

    known = ~np.isnan(first)
    expected = stats.spearmanr(first[known], second[known]).statistic
    assert rank_agreement(first, second) == pytest.approx(expected)
    assert np.isnan(rank_agreement(first, np.ones(50)))


def test_the_overlap_counts_what_both_have_among_the_largest_of_either_sign():
    first = [9.0, -8.0, 7.0, 1.0, 0.5, 0.1]
    second = [9.0, 0.2, -7.0, 1.0, 8.0, 0.1]

    found = top_overlap(estimates(first, 0.01), estimates(second, 0.01), 3)

    assert found.share == pytest.approx(2 / 3)
    interval = stats.binomtest(2, 3).proportion_ci(method="wilson")
    assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_noise_alone_leaves_the_same_largest_if_it_is_small_and_hardly_any_if_it_is_large():
    value = np.arange(400.0)
    overlaps = [
        top_overlap(estimates(value, error), estimates(value, error), 20)
        for error in (0.0, 5.0, 1e6)
    ]

    shares = [each.by_noise for each in overlaps]
    assert shares[0] == 1.0
    assert 0.6 < shares[1] < 0.95
    assert shares[2] == pytest.approx(20 / 400, abs=0.06)
    assert all(each.share == 1.0 for each in overlaps)
