"""What measuring costs is found out of a few trials."""

import pytest

from backlight.surveys.driver.dry_run.costs import Costs, Tried, costs_of


def trial(batches, *, rounds=0, a_round=0.0, a_batch=0.0, a_token=0.0):
    tokens = sum(batches)
    return Tried(
        seconds=a_round * rounds + a_batch * len(batches) + a_token * tokens,
        num_rounds=rounds,
        num_batches=len(batches),
        num_tokens=tokens,
    )


def test_what_a_batch_and_a_token_cost_is_found_again():
    costs = {"a_batch": 0.25, "a_token": 0.003}
    found = costs_of([trial([size], **costs) for size in (512, 300, 7)])

    assert found.batch == pytest.approx(0.25)
    assert found.token == pytest.approx(0.003)
    assert found.round == 0
    whole = found.seconds(num_rounds=0, num_batches=1000, num_tokens=300_000)
    assert whole == pytest.approx(1000 * 0.25 + 300_000 * 0.003)


def test_so_is_what_is_done_once_for_several_batches():
    costs = {"rounds": 1, "a_round": 2.0, "a_batch": 0.25, "a_token": 0.003}
    found = costs_of([trial(each, **costs) for each in ([512], [300], [7], [512, 300, 7])])

    assert (found.round, found.batch, found.token) == pytest.approx((2.0, 0.25, 0.003))


def test_no_cost_is_less_than_nothing():
    trials = [
        Tried(seconds=seconds, num_rounds=0, num_batches=1, num_tokens=tokens)
        for seconds, tokens in ((1.0, 10), (1.2, 30), (0.9, 60))
    ]
    found = costs_of(trials)

    assert found.token == 0
    assert 0.9 < found.batch < 1.2


def test_batches_of_one_size_tell_what_any_number_of_them_takes():
    found = costs_of([trial([64], a_batch=0.5, a_token=0.01)])

    whole = found.seconds(num_rounds=0, num_batches=30, num_tokens=30 * 64)
    assert whole == pytest.approx(30 * (0.5 + 0.64))


def test_seconds_are_summed_over_what_there_is():
    costs = Costs(round=3.0, batch=2.0, token=0.5)

    assert costs.seconds(num_rounds=1, num_batches=4, num_tokens=6) == 3 + 8 + 3
