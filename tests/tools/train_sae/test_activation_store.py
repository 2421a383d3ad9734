"""Activations of a corpus, gathered in memory."""

import numpy as np
import pytest
import torch

from backlight.capture.record import record_activations
from backlight.data.batches import Batch, Passages
from backlight.errors import NonFiniteError
from backlight.tools.train_sae.activation_store import ActivationStore, store_activations
from zoo.subjects import subject_of

SITE = "layers.1.mlp.out"
PASSAGES = Passages(
    tokens=[np.random.default_rng(0).integers(3, 99, length) for length in (9, 14, 5, 2)]
)
BATCHES = [(2, 0), (3, 1)]


@pytest.fixture
def subject():
    return subject_of()


def gathered(subject, *, with_first):
    state = ActivationStore(PASSAGES.num_tokens)
    steps = list(
        store_activations(
            subject, subject.sites[SITE], PASSAGES, BATCHES, state, with_first=with_first
        )
    )
    return state, steps


def alone(subject, member):
    tape = record_activations(subject, Batch.of(PASSAGES, [member]), [subject.sites[SITE]])
    return tape.activations[SITE][0]


def test_every_token_is_there_in_the_order_of_the_batches_and_no_pad(subject):
    state, steps = gathered(subject, with_first=True)

    expected = torch.cat([alone(subject, member) for members in BATCHES for member in members])
    torch.testing.assert_close(state.values, expected)
    assert state.first.nonzero()[:, 0].tolist() == [0, 5, 14, 16]
    assert [step.num_tokens for step in steps] == [14, 16]


def test_first_tokens_can_be_left_out(subject):
    whole, _ = gathered(subject, with_first=True)
    rest, _ = gathered(subject, with_first=False)

    torch.testing.assert_close(rest.values, whole.values[~whole.first])
    assert not rest.first.any()


def test_nothing_is_there_before_anything_was_added():
    assert len(ActivationStore(10).values) == len(ActivationStore(10).first) == 0


def test_an_activation_that_is_not_finite_is_an_error(subject):
    subject.model.model.layers[1].mlp.down_proj.weight.data[0, 0] = float("nan")

    with pytest.raises(
        NonFiniteError, match=r"at layers.1.mlp.out are not finite in one of .*2, 0"
    ):
        gathered(subject, with_first=True)
