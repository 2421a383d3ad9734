"""A survey in several views: what it may depend on, and how it is taken up again."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from backlight.capture.record import record
from backlight.data.batches import bucket
from backlight.errors import NonFiniteError
from backlight.surveys.flow.measure import survey
from backlight.surveys.flow.measure.survey import survey_flow
from backlight.surveys.flow.tables import flow_tables
from zoo.flow import fresh, subject_of, surveyed, tables_of
from zoo.models import tiny_model
from zoo.subjects import LENGTHS, passages_of

F64 = torch.float64
NAMES = ("norms", "attention", "residual")


def assert_same_tables(found, expected, **tolerance):
    assert list(found) == list(expected)
    for name, table in expected.items():
        for column, values in table.columns.items():
            if values.dtype.kind == "f":
                np.testing.assert_allclose(
                    found[name][column], values, err_msg=f"{name} {column}", **tolerance
                )
            else:
                assert found[name][column].tolist() == values.tolist()


@pytest.mark.parametrize("name", ["llama", "mistral", "gpt2", "gemma3", "gpt_oss", "phi"])
def test_batches_and_their_pads_do_not_matter(name):
    subject = subject_of(name, F64)

    # Of two tokens, the first attends to itself alone: queries and keys have no gradient then but
    # what is rounded, and whether that counts as a sequence is up to chance.
    lengths = (9, 14, 5, 3, 11, 7)
    single, wide = (
        tables_of(surveyed(subject, batch_size=size, lengths=lengths)) for size in (1, 6)
    )

    # Errors of shares that all sequences have come from cancelling sums.
    assert_same_tables(wide, single, rtol=1e-4, atol=1e-7)


def test_numbers_are_the_same_whichever_views_are_asked_for_together():
    subject = subject_of("qwen3")
    together = tables_of(surveyed(subject))

    for name in NAMES:
        alone = tables_of(surveyed(subject, [name]))
        assert_same_tables({key: together[key] for key in alone}, alone, rtol=1e-5, atol=1e-8)


def test_there_is_one_pass_for_each_batch(monkeypatch):
    calls = []

    def counted(*given, **options):
        calls.append(given)
        return record(*given, **options)

    monkeypatch.setattr(survey, "record", counted)

    surveyed(subject_of("llama"), batch_size=2)

    assert len(calls) == 3


def test_a_survey_is_taken_up_bit_by_bit():
    subject, passages = subject_of("qwen3"), passages_of()
    batches = bucket(passages, batch_size=2, seed=0)
    whole, first, second = (fresh(subject) for _ in range(3))
    for _ in survey_flow(subject, passages, batches, whole):
        pass
    steps = survey_flow(subject, passages, batches, first)
    progress = next(steps)

    second.restore({name: array.copy() for name, array in first.state().items()})
    for _ in survey_flow(subject, passages, batches, second):
        pass

    assert progress.resumable
    assert first.loss.num_batches == 1
    assert whole.state().keys() == second.state().keys()
    for name, array in whole.state().items():
        assert np.array_equal(array, second.state()[name]), name
    assert whole.loss.num_batches == second.loss.num_batches == 3
    assert whole.loss.nats == second.loss.nats


def test_two_surveys_of_parts_are_merged_into_that_of_the_whole():
    subject, passages = subject_of("gpt2"), passages_of()
    whole = surveyed(subject, batch_size=2)
    parts = [fresh(subject), fresh(subject)]
    batches = bucket(passages, batch_size=2, seed=0)
    for part, own in zip(parts, (batches[:1], batches[1:]), strict=True):
        for _ in survey_flow(subject, passages, own, part):
            pass

    parts[0].merge(parts[1])

    assert_same_tables(tables_of(parts[0]), tables_of(whole), rtol=1e-6, atol=1e-7)
    assert parts[0].loss.num_predicted == whole.loss.num_predicted == sum(LENGTHS) - len(LENGTHS)
    assert parts[0].loss.nats == pytest.approx(whole.loss.nats)


def test_the_state_does_not_grow_with_the_corpus():
    subject, passages = subject_of("llama"), passages_of((5, 6) * 8)
    state, sizes = fresh(subject), set()

    for _ in survey_flow(subject, passages, [(n,) for n in range(16)], state):
        sizes.add(sum(array.size for array in state.state().values()))

    assert len(sizes) == 1


def test_loss_and_predicted_tokens_are_those_of_the_corpus():
    subject, passages = subject_of("llama"), passages_of()

    state = surveyed(subject)

    nats = 0.0
    for tokens in passages.tokens:
        ids = torch.from_numpy(tokens)[None]
        loss = subject.model(input_ids=ids, labels=ids, use_cache=False).loss
        nats += loss.item() * (len(tokens) - 1)
    assert state.loss.nats == pytest.approx(nats, rel=1e-5)


def test_a_sum_over_tokens_weighs_longer_passages_more():
    subject = subject_of("llama", F64)

    mean, total = (
        tables_of(surveyed(subject, ["residual"], reduction=reduction))["depth"]["gradient_norm"]
        for reduction in ("sequence_mean", "token_sum")
    )

    assert (total > mean).all()


def test_one_sequence_has_ratios_but_no_errors():
    subject, passages, state = subject_of("llama"), passages_of(), fresh(subject_of("llama"))

    for _ in survey_flow(subject, passages, [(1,)], state):
        pass

    for table in flow_tables(state):
        for column, values in table.columns.items():
            if column.endswith(("_se", "slope_low", "slope_high")):
                assert np.isnan(values).all(), (table.name, column)
            elif column in ("growth", "shrink", "r_radial", "slope"):
                assert np.isfinite(values).all()


def test_a_gradient_that_is_not_a_number_is_an_error_with_its_place():
    class Break(torch.autograd.Function):
        @staticmethod
        def forward(_, x):
            return x.clone()

        @staticmethod
        def backward(_, grad):
            return grad / 0

    class Broken(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return Break.apply(self.inner(x))

    subject = replace(subject_of("llama"), model=tiny_model("llama"))
    trunk = subject.model.model
    trunk.layers[1].mlp = Broken(trunk.layers[1].mlp)
    subject = replace(subject, forward=lambda ids: trunk(input_ids=ids, use_cache=False)[0])

    with pytest.raises(NonFiniteError, match=r"At layers\.\d\.\S+, gradients of passage"):
        for _ in survey_flow(
            subject, passages_of(), [(0, 1)], fresh(subject, ["norms", "residual"])
        ):
            pass
