"""How far apart two measurements are, against numbers worked out by hand."""

from math import inf, isnan, nan

import pytest
import torch

from backlight.capture.checking.check import EXACT, ROUNDING, judged, not_made
from backlight.capture.checking.difference import Difference, difference_of, relative
from backlight.capture.checking.measured import Measured, measure
from backlight.capture.checking.sample import Sample
from backlight.capture.record import record_activations
from backlight.objectives.objective import NextToken
from zoo.subjects import passages_of, subject_of, tappable


def measured_of(value, *, steep=0.0, **gradients):
    return Measured(
        steep={site: dict.fromkeys(passages, steep) for site, passages in gradients.items()},
        value=value,
        gradients={
            site: {key: torch.tensor(rows) for key, rows in passages.items()}
            for site, passages in gradients.items()
        },
    )


def test_a_difference_is_a_share_of_the_largest_gradient_of_the_site_in_the_passage():
    expected = measured_of(
        {0: 2.0, 1: 4.0},
        a={0: [[1.0, -10.0]], 1: [[100.0, 0.0]]},
        b={0: [[1.0, 2.0]], 1: [[3.0, 4.0]]},
    )
    found = measured_of(
        {0: 2.0, 1: 4.4},
        a={0: [[1.5, -10.0]], 1: [[101.0, 0.0]]},
        b={0: [[1.0, 2.0]], 1: [[3.0, 4.8]]},
    )

    difference = difference_of(found, expected)

    assert (difference.site, difference.num_sites) == ("b", 2)
    assert difference.gradient == pytest.approx(0.8 / 4, rel=1e-6)
    assert difference.loss == pytest.approx(0.1)


def test_equal_measurements_have_no_worst_site():
    same = measured_of({0: 1.0}, a={0: [[0.0, 0.0]]})

    assert difference_of(same, same) == Difference(num_sites=1, gradient=0.0, site="", loss=0.0)


@pytest.mark.parametrize("bad", [nan, inf])
def test_what_is_no_number_is_infinitely_far_away(bad):
    expected = measured_of({0: 1.0}, a={0: [[1.0, 0.0]]})
    found = measured_of({0: bad}, a={0: [[bad, 0.0]]})

    difference = difference_of(found, expected)

    assert (difference.gradient, difference.loss, difference.site) == (inf, inf, "a")
    assert judged("x", "y", difference, ROUNDING[torch.float32], remedy="z").verdict == "not fine"


def test_a_gradient_where_none_should_be_is_infinitely_far_away():
    expected, found = measured_of({0: 1.0}, a={0: [[0.0]]}), measured_of({0: 1.0}, a={0: [[1e-9]]})

    assert difference_of(found, expected).gradient == inf
    assert relative(1e-9, 0.0) == inf


def test_a_gradient_that_is_zero_but_for_rounding_is_not_compared_with_itself():
    """Where the largest activation times the gradient is far below the loss."""
    expected = measured_of({0: 3.0}, a={0: [[1e-11, 0.0]]}, steep=3.0)
    found = measured_of({0: 3.0}, a={0: [[2e-11, 0.0]]}, steep=3.0)

    assert difference_of(found, expected).gradient == pytest.approx(1e-11 / 3e-4, rel=1e-5)


def test_what_would_account_for_the_loss_is_the_loss_by_the_largest_activation():
    sample = Sample.of(subject_of("llama"), passages_of((9, 4)), max_length=9, seed=0)
    site = sample.subject.sites["layers.1.mlp.out"]
    seen = record_activations(sample.subject, sample.batch, [site]).activations[site.name]

    found = sample.measure(sites=[site])

    length = len(sample.passages.tokens[2])
    largest = float(seen[2, :length].abs().max())
    assert found.steep[site.name][2] == pytest.approx(found.value[2] / largest, rel=1e-6)


def test_numbers_that_were_not_compared_are_not_judged():
    check = judged("x", "y", Difference(num_sites=3, loss=0.0), EXACT, remedy="z")

    assert (check.verdict, check.words) == ("fine", "")
    assert isnan(check.gradient)
    assert not_made("x", "y", "why").words == "why"


def test_measurements_are_laid_out_by_passage_without_pads():
    subject, passages = subject_of("llama"), passages_of((9, 4))
    sample = Sample.of(subject, passages, max_length=9, seed=0)
    batch = sample.batch_of([3, 1])

    found = measure(subject, batch, tappable(subject), NextToken())

    for site in found.gradients.values():
        assert {key: len(rows) for key, rows in site.items()} == {
            3: len(sample.passages.tokens[3]),
            1: len(sample.passages.tokens[1]),
        }


def test_a_sample_is_ragged_also_where_the_text_is_not():
    sample = Sample.of(subject_of("llama"), passages_of((20,)), max_length=20, seed=0)

    assert [len(tokens) for tokens in sample.passages.tokens] == [20, 15, 10, 5]


def test_a_sample_of_short_passages_has_two_tokens_at_least():
    sample = Sample.of(subject_of("llama"), passages_of((2, 3)), max_length=8, seed=0)

    assert [len(tokens) for tokens in sample.passages.tokens] == [2, 3, 2, 2]
