"""Contrasts of two sets of estimates are those of scipy on sums of single passages."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from backlight.stats.contrast import (
    Estimates,
    Groups,
    discovery_rates,
    estimates_of,
    paired,
    unpaired,
)

UNITS, PASSAGES, LENGTH = 7, 40, 12


def passages(seed, count=PASSAGES):
    """The sums of some passages of one length, over their tokens."""
    random = np.random.default_rng(seed)
    return LENGTH * (1.5 + random.gamma(2.0, 0.4, size=(count, UNITS)))


def estimates(sums):
    means = sums / LENGTH
    return Estimates(
        value=means.mean(axis=0),
        error=means.std(axis=0, ddof=1) / np.sqrt(len(sums)),
        clusters=np.full(UNITS, float(len(sums))),
    )


def groups(sums, *, is_square=False):
    return Groups(above=sums, below=np.full((len(sums), 1), float(LENGTH)), is_square=is_square)


def test_different_passages_are_compared_by_welch():
    first, second = passages(1), passages(2, count=25)

    found = unpaired(estimates(first), estimates(second))

    expected = stats.ttest_ind(first / LENGTH, second / LENGTH, equal_var=False)
    np.testing.assert_allclose(found.t, expected.statistic)
    np.testing.assert_allclose(found.freedom, expected.df)
    np.testing.assert_allclose(found.p, expected.pvalue)


def test_the_same_passages_are_compared_in_pairs():
    first = passages(1)
    second = first * 0.97 + 0.1 * passages(3)

    found = paired(groups(first), groups(second))

    expected = stats.ttest_rel(first / LENGTH, second / LENGTH)
    np.testing.assert_allclose(found.t, expected.statistic)
    np.testing.assert_allclose(found.p, expected.pvalue)
    assert (found.freedom == PASSAGES - 1).all()
    assert (found.error < unpaired(estimates(first), estimates(second)).error / 5).all()


def test_the_effect_size_is_a_difference_in_standard_deviations_of_passages():
    first, second = passages(1) / LENGTH, passages(2) / LENGTH

    found = unpaired(estimates(first * LENGTH), estimates(second * LENGTH))

    spread = np.sqrt((first.var(axis=0, ddof=1) + second.var(axis=0, ddof=1)) / 2)
    np.testing.assert_allclose(
        found.effect_size, (first.mean(axis=0) - second.mean(axis=0)) / spread
    )


def by_weights(function, count):
    """The error of a function of the groups' weights, from its finite differences at one."""
    step = 1e-5
    moved = []
    for group in range(count):
        ends = []
        for sign in (1, -1):
            weights = np.ones(count)
            weights[group] += sign * step
            ends.append(function(weights))
        moved.append((ends[0] - ends[1]) / (2 * step))
    return np.sqrt(count / (count - 1) * np.square(moved).sum(axis=0))


@pytest.mark.parametrize("is_square", [False, True])
def test_errors_of_differences_and_log_ratios_follow_from_how_groups_move_them(is_square):
    random = np.random.default_rng(5)
    first, second = passages(1), passages(2)
    lengths = random.integers(5, 30, size=(PASSAGES, 1)).astype(float)
    root = np.sqrt if is_square else np.asarray

    def value(sums, weights):
        return root((weights @ sums) / (weights @ lengths))

    one, other = (
        Groups(above=each, below=lengths, is_square=is_square) for each in (first, second)
    )
    found = paired(one, other)

    np.testing.assert_allclose(estimates_of(one).value, value(first, np.ones(PASSAGES)))
    np.testing.assert_allclose(
        found.error,
        by_weights(lambda weights: value(first, weights) - value(second, weights), PASSAGES),
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        found.log_ratio_error,
        by_weights(
            lambda weights: np.log(value(first, weights) / value(second, weights)), PASSAGES
        ),
        rtol=1e-6,
    )


def test_a_log_ratio_is_blank_where_signs_differ_and_a_test_where_nothing_varies():
    zero = Estimates(value=np.zeros(1), error=np.zeros(1), clusters=np.full(1, 9.0))
    opposite = [
        Estimates(value=np.full(1, sign), error=np.full(1, 0.1), clusters=np.full(1, 9.0))
        for sign in (1.0, -1.0)
    ]

    assert np.isnan(unpaired(*opposite).log_ratio).all()
    assert unpaired(*opposite).p < 1e-6
    assert np.isnan(unpaired(zero, zero).p).all()


P_VALUES = arrays(np.float64, st.integers(1, 40), elements=st.floats(0, 1))


@given(P_VALUES)
def test_discovery_rates_are_those_of_scipy(p):
    np.testing.assert_allclose(discovery_rates(p), stats.false_discovery_control(p))


@settings(max_examples=50)
@given(P_VALUES, st.randoms())
def test_discovery_rates_ignore_order_and_what_was_not_tested(p, random):
    order = list(range(len(p)))
    random.shuffle(order)
    holes = np.append(p[order], np.nan)

    found = discovery_rates(holes)

    np.testing.assert_allclose(found[:-1], discovery_rates(p)[order])
    assert np.isnan(found[-1])
    assert (found[:-1] >= p[order] * (1 - 1e-12)).all()  # but for rounding
