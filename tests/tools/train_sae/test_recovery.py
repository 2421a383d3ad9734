"""What a reconstruction in a site's place leaves of the loss."""

import numpy as np
import pytest
import torch

from backlight.data.batches import Passages
from backlight.dictionaries.activations import Relu
from backlight.dictionaries.dictionary import Card, Dictionary, LinearEncoder
from backlight.tools.train_sae.recovery import measure_recovery
from zoo.subjects import subject_of

WIDTH = 32
PASSAGES = Passages(
    tokens=[np.random.default_rng(0).integers(3, 99, length) for length in (9, 14, 5, 2)]
)
BATCHES = [(0, 1), (2, 3)]


@pytest.fixture
def subject():
    return subject_of()


def dictionary(size=1.0):
    """The identity as a dictionary: a feature for each direction of each axis."""
    rows = torch.cat([torch.eye(WIDTH), -torch.eye(WIDTH)])
    encoder = LinearEncoder(
        rows=rows, bias=torch.zeros(2 * WIDTH), input_bias=None, activation=Relu()
    )
    card = Card(format="none", path="", architecture="identity")
    return Dictionary(encoder=encoder, rows=size * rows, bias=torch.zeros(WIDTH), card=card)


def plain_loss(subject):
    """The mean loss of all predicted tokens, by Transformers, passage by passage."""
    nats = num_tokens = 0.0
    for tokens in PASSAGES.tokens:
        ids = torch.from_numpy(tokens)[None]
        with torch.no_grad():
            nats += subject.model(input_ids=ids, labels=ids).loss.item() * (len(tokens) - 1)
        num_tokens += len(tokens) - 1
    return nats / num_tokens


@pytest.mark.parametrize("site", ["layers.1.mlp.out", "layers.0.resid.post", "layers.2.attn.z"])
def test_a_perfect_reconstruction_recovers_everything_and_zeros_nothing(subject, site):
    place = subject.sites[site]

    perfect = measure_recovery(subject, place, dictionary(), PASSAGES, BATCHES)
    nothing = measure_recovery(subject, place, dictionary(0.0), PASSAGES, BATCHES)

    assert perfect.share == pytest.approx(1.0, abs=1e-4)
    assert nothing.share == pytest.approx(0.0, abs=1e-4)
    assert perfect.zeroed == nothing.zeroed
    assert perfect.num_tokens == 8 + 13 + 4 + 1


def test_the_clean_loss_is_the_plain_loss_of_transformers(subject):
    place = subject.sites["layers.1.mlp.out"]

    found = measure_recovery(subject, place, dictionary(), PASSAGES, BATCHES)

    assert found.clean == pytest.approx(plain_loss(subject), rel=1e-6)


def test_zeros_are_what_a_module_that_returns_zeros_does(subject):
    found = measure_recovery(
        subject, subject.sites["layers.1.mlp.out"], dictionary(), PASSAGES, BATCHES
    )
    subject.model.model.layers[1].mlp.down_proj.weight.data.zero_()

    assert found.zeroed == pytest.approx(plain_loss(subject), rel=1e-6)


def test_how_passages_are_batched_does_not_matter(subject):
    place = subject.sites["layers.1.mlp.out"]

    one, other = (
        measure_recovery(subject, place, dictionary(0.5), PASSAGES, batches)
        for batches in (BATCHES, [(3,), (1, 2, 0)])
    )

    assert one.spliced == pytest.approx(other.spliced, rel=1e-6)
