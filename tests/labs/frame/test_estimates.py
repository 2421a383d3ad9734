"""Intervals against scipy's own tests, corrections against an example by hand."""

import numpy as np
import pytest
from scipy import stats

from backlight.labs.frame.estimates import estimate, holm, over_seeds

VALUES = np.array([0.3, -0.1, 0.4, 0.2, 0.35])


def test_the_interval_is_that_of_a_t_test():
    found, test = estimate(VALUES), stats.ttest_1samp(VALUES, 0.0)
    interval = test.confidence_interval(0.95)
    expected = [VALUES.mean(), interval.low, interval.high, test.pvalue]
    assert [found.mean, found.low, found.high, found.p] == pytest.approx(expected, rel=1e-12)
    assert found.count == 5


def test_a_paired_comparison_is_an_estimate_of_differences():
    others = np.array([0.1, 0.0, 0.5, -0.3, 0.2])
    assert estimate(VALUES - others).p == pytest.approx(stats.ttest_rel(VALUES, others).pvalue)


def test_seeds_that_gave_nothing_are_left_out():
    assert estimate(np.append(VALUES, np.nan)) == estimate(VALUES)


def test_one_seed_has_no_interval():
    found = estimate(np.array([2.0]))
    assert found.mean == 2.0
    assert np.isnan([found.low, found.high, found.p]).all()
    assert np.isnan(estimate(np.array([np.nan])).mean)


def test_seeds_that_agree_exactly_leave_no_doubt():
    assert estimate(np.zeros(3)).p == 1.0
    found = estimate(np.full(3, 0.5))
    assert (found.low, found.high, found.p) == (0.5, 0.5, 0.0)


def test_holm_multiplies_by_the_questions_that_are_left():
    corrected = holm(np.array([0.04, np.nan, 0.01, 0.03, 0.9]))
    np.testing.assert_allclose(corrected, [0.09, np.nan, 0.04, 0.09, 0.9])


def test_columns_are_the_estimates_of_each_point():
    values = np.array([VALUES, 2 * VALUES]).T
    columns = over_seeds("rate", values)
    assert list(columns) == ["rate", "rate_low", "rate_high"]
    assert columns["rate_low"].tolist() == [estimate(VALUES).low, estimate(2 * VALUES).low]
    assert over_seeds("rate", VALUES, prefix="")["high"] == estimate(VALUES).high


def test_estimates_of_logarithms_come_back_as_geometric_means():
    factors = np.exp(VALUES)
    columns = over_seeds("factor", VALUES, unlog=True)
    assert columns["factor"] == pytest.approx(stats.gmean(factors))
    assert 0 < columns["factor_low"] < columns["factor"] < columns["factor_high"]
