"""95 % intervals hold the truth in about 95 % of samples, and errors are no smaller than they are.

`benchmarks/coverage.py` tells the same for more kinds of data and numbers of passages.
"""

import numpy as np
import pytest
import torch

from backlight.report.intervals import NORMAL_95
from backlight.stats.moments import Moments
from backlight.stats.second_moment import SecondMoment
from zoo.coverage import KINDS, STATISTICS, Kind, coverage

STUDENT = {4: 0.8552, 8: 0.9092, 16: 0.9312}
"""How often Student's t with one degree of freedom less is within 1.96 (scipy.stats.t.cdf)."""


def sampled(num_passages, *, shift, width=20_000, length=8):
    """Samples of passages of one length, one in each column."""
    kind = Kind(np.array([length]), np.array([1.0]), shift=shift)
    random = np.random.default_rng(num_passages)
    values = kind.draw(np.full(num_passages, length), width, random)
    valid = torch.ones(values.shape[:2], dtype=torch.bool)
    moments = Moments(width)
    moments.update(values, valid=valid, passages=range(num_passages))
    return values, kind.truths()["mean"], moments.result()


def held(truth, means, errors):
    return float((np.abs(means - truth) <= NORMAL_95 * errors).mean())


@pytest.mark.parametrize(("num_passages", "expected"), STUDENT.items())
def test_of_few_passages_an_interval_holds_the_truth_as_often_as_student_says(
    num_passages, expected
):
    """Without M/(M - 1), 81 % instead of 86 % of the intervals of four passages would."""
    _, truth, found = sampled(num_passages, shift=1.0)

    assert held(truth, found.mean, found.mean_se) == pytest.approx(expected, abs=0.01)


def test_errors_that_take_tokens_for_independent_would_be_far_too_small():
    values, truth, found = sampled(64, shift=1.0, width=4000)

    tokens = values.flatten(0, 1).numpy()
    alone = tokens.std(axis=0, ddof=1) / len(tokens) ** 0.5
    assert held(truth, found.mean, alone) < 0.8
    assert held(truth, found.mean, found.mean_se) == pytest.approx(0.945, abs=0.015)


def test_errors_along_directions_are_those_of_means_of_products():
    values, _, _ = sampled(6, shift=1.0, width=5)
    valid = torch.ones(values.shape[:2], dtype=torch.bool)
    directions = torch.randn(3, 5, dtype=torch.float64)
    second, moments = SecondMoment(5), Moments(3)

    second.update(values, valid=valid, passages=range(6))
    moments.update(values @ directions.T, valid=valid, passages=range(6))

    np.testing.assert_allclose(second.along(directions).mean_se, moments.result().mean_se)


@pytest.mark.parametrize("name", ["normal", "strongly clustered"])
def test_of_128_passages_all_intervals_hold_the_truth_93_to_97_times_in_a_hundred(name):
    found = coverage(KINDS[name], 128, draws=50, width=80)

    assert list(found) == list(STATISTICS)
    for statistic, share in found.items():
        assert 0.93 <= share <= 0.97, statistic
