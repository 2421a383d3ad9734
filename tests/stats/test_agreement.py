"""How well predictions agree with the truth: against scipy, naive loops, and simulations."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from backlight.stats import agreement as own
from backlight.stats.agreement import Effects, agreement, separation, wrong


@pytest.fixture
def random():
    return np.random.default_rng(0)


def effects(random, *, units=40, passages=6, noise=0.3):
    predicted = random.standard_normal((units, 1)) + 0.1 * random.standard_normal((units, passages))
    true = predicted + noise * random.standard_normal((units, passages))
    return Effects(predicted=predicted, true=true, weights=np.ones(passages))


def test_every_statistic_is_that_of_scipy_or_of_a_loop(random):
    predicted, true = effects(random).means()

    found = agreement(effects(np.random.default_rng(0))).estimates

    assert found["pearson"] == pytest.approx(stats.pearsonr(predicted, true).statistic)
    assert found["spearman"] == pytest.approx(stats.spearmanr(predicted, true).statistic)
    assert found["slope"] == pytest.approx(stats.linregress(predicted, true).slope)
    pairs = list(zip(predicted, true, strict=True))
    assert found["sign_agreement"] == np.mean([(p > 0) == (t > 0) for p, t in pairs])
    assert found["median_error"] == pytest.approx(
        np.median([abs(p - t) / abs(t) for p, t in pairs])
    )
    best = [set(np.argsort(np.abs(each))[-4:]) for each in (predicted, true)]
    assert found["recall"] == len(best[0] & best[1]) / 4


def test_a_mean_is_weighed_by_passages():
    found = Effects(
        predicted=np.array([[1.0, 4.0]]), true=np.array([[2.0, 2.0]]), weights=np.array([1.0, 4.0])
    )

    predicted, true = found.means()

    assert predicted.tolist() == [1.0]
    assert true.tolist() == [0.8]


def test_leaving_one_unit_out_is_done_for_each(random):
    some = effects(random, units=9)
    predicted, true = some.means()
    without = [
        stats.pearsonr(np.delete(predicted, unit), np.delete(true, unit)).statistic
        for unit in range(9)
    ]

    found = agreement(some)

    assert found.pearson_least == pytest.approx(min(without))
    assert found.pearson_most == pytest.approx(max(without))


def test_one_unit_on_which_the_headline_hangs_shows(random):
    some = effects(random, units=12, noise=5.0)
    some.predicted[0], some.true[0] = 1000.0, 1000.0

    found = agreement(some)

    assert found.estimates["pearson"] > 0.99
    assert found.pearson_least < 0.9


def test_intervals_hold_the_truth_where_units_and_passages_vary():
    # Predictions are signs of a coin: the share of signs that agree is 0.8 by construction.
    inside = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        true = np.where(random.random((60, 1)) < 0.8, 1.0, -1.0) * np.ones((60, 5))
        some = Effects(predicted=np.ones((60, 5)), true=true, weights=np.ones(5))
        found = agreement(some, seed=seed)
        inside += found.low["sign_agreement"] <= 0.8 <= found.high["sign_agreement"]

    assert inside >= 52


def test_passages_that_disagree_widen_the_interval(random):
    sure = effects(random, units=30, noise=0.0)
    unsure = Effects(
        predicted=sure.predicted,
        true=sure.true + 8 * random.standard_normal((1, 6)),
        weights=sure.weights,
    )

    widths = [
        each.high["sign_agreement"] - each.low["sign_agreement"]
        for each in map(agreement, (sure, unsure))
    ]

    assert widths[0] == 0
    assert widths[1] > 0.2


@pytest.mark.parametrize("units", [0, 1, 2])
def test_of_too_few_units_nothing_is_said(random, units):
    found = agreement(effects(random, units=units))

    assert found.num_units == units
    assert all(np.isnan(value) for value in found.estimates.values())
    assert np.isnan(found.pearson_least)


def test_what_does_not_vary_has_no_correlation():
    some = Effects(predicted=np.ones((4, 2)), true=np.ones((4, 2)), weights=np.ones(2))

    found = agreement(some)

    assert np.isnan(found.estimates["pearson"])
    assert found.estimates["sign_agreement"] == 1.0
    assert found.estimates["median_error"] == 0.0


@pytest.mark.parametrize(
    ("predicted", "true", "is_wrong"),
    [(1.0, 1.4, False), (1.0, -0.1, True), (1.0, 3.0, True), (1.0, 0.5, True), (0.0, 0.0, False)],
)
def test_wrong_is_a_wrong_sign_or_more_than_half_off(predicted, true, is_wrong):
    assert wrong(np.array([predicted]), np.array([true])).tolist() == [is_wrong]


def test_the_area_under_the_curve_is_that_of_scikit_learn(random):
    index, is_wrong = random.random(50), random.random(50) < 0.4
    index[3], index[7] = np.nan, np.inf

    found = separation(index, is_wrong)

    known = ~np.isnan(index)
    assert found.area == pytest.approx(
        roc_auc_score(is_wrong[known], np.where(np.isinf(index), 9.0, index)[known])
    )
    assert (found.num_wrong, found.num_right) == (is_wrong[known].sum(), (~is_wrong[known]).sum())
    assert found.low < found.area < found.high


@pytest.mark.parametrize("is_wrong", [[True, True], [False, False], []])
def test_there_is_no_area_without_both_kinds(is_wrong):
    found = separation(np.arange(len(is_wrong), dtype=float), np.array(is_wrong, dtype=bool))

    assert np.isnan(found.area)
    assert np.isnan(found.low)


def test_a_tenth_is_rounded_up():
    assert [own.num_top(count) for count in (3, 10, 11, 40)] == [1, 1, 2, 4]
