"""Dictionaries that are learned from activations."""

import pytest
import torch
from torch.testing import assert_close

from backlight.dictionaries import training
from backlight.dictionaries.activations import Threshold
from backlight.dictionaries.dictionary import Card
from backlight.dictionaries.quality import Reconstruction
from backlight.dictionaries.training import Training, train
from backlight.errors import DictionaryError, NonFiniteError

WIDTH, FEATURES, K = 24, 32, 2
CARD = Card(format="none", path="", architecture="batch_top_k")


def sparse_data(num_tokens, *, seed=0, size=1.0, shift=0.0):
    """Sums of two of 32 directions, with positive weights."""
    random = torch.Generator().manual_seed(seed)
    directions = torch.randn(FEATURES, WIDTH, generator=torch.Generator().manual_seed(99))
    directions /= directions.norm(dim=1, keepdim=True)
    chosen = torch.rand(num_tokens, FEATURES, generator=random).topk(K, dim=1).indices
    weights = 1.0 + torch.rand(num_tokens, K, generator=random)
    dense = torch.zeros(num_tokens, FEATURES).scatter_(1, chosen, weights)
    return size * (dense @ directions + shift)


def learned(x, *, num_epochs=8, seed=0, learning_rate=3e-2):
    state = Training(x, num_features=FEATURES, seed=seed)
    steps = train(
        x,
        state,
        k=K,
        num_epochs=num_epochs,
        batch_size=64,
        learning_rate=learning_rate,
        seed=seed,
    )
    progress = list(steps)
    return state.dictionary(CARD), progress


def quality(dictionary, x):
    codes = dictionary.encode(x)
    gathered = Reconstruction()
    gathered.update(
        x, dictionary.decode(codes, x), codes, first=torch.zeros(len(x), dtype=torch.bool)
    )
    return gathered.result()


@pytest.mark.parametrize(("size", "shift"), [(1.0, 0.0), (1e-3, 0.0), (300.0, 0.5)])
def test_it_learns_sparse_data_of_any_size_and_place(size, shift):
    dictionary, steps = learned(sparse_data(4000, size=size, shift=shift))

    found = quality(dictionary, sparse_data(1000, seed=1, size=size, shift=shift))

    assert found.explained_variance > 0.9
    assert found.l0 == pytest.approx(K, rel=0.1)
    last = steps[-20:]
    assert sum(step.explained_variance for step in last) / len(last) > 0.85
    assert sum(step.l0 for step in last) / len(last) == pytest.approx(K, rel=0.1)
    assert steps[0].explained_variance < 0.5


def test_what_it_gives_has_rows_of_norm_one_and_one_threshold():
    found, _ = learned(sparse_data(1000), num_epochs=2)

    assert_close(found.rows.norm(dim=1), torch.ones(FEATURES))
    assert isinstance(found.encoder.activation, Threshold)
    assert found.encoder.activation.threshold.unique().numel() == 1
    assert found.encoder.activation.threshold[0] > 0
    assert found.encoder.input_bias is found.bias


def test_the_same_seed_gives_the_same_bits_and_another_gives_others():
    x = sparse_data(1000)

    first, second, third = (learned(x, num_epochs=2, seed=seed)[0] for seed in (3, 3, 4))

    assert torch.equal(first.rows, second.rows)
    assert torch.equal(first.encoder.rows, second.encoder.rows)
    assert torch.equal(first.encoder.activation.threshold, second.encoder.activation.threshold)
    assert not torch.equal(first.rows, third.rows)


def test_a_dictionary_that_was_taken_does_not_change_when_learning_goes_on():
    x = sparse_data(500)
    state = Training(x, num_features=FEATURES, seed=0)
    taken = state.dictionary(CARD)
    kept = [taken.rows.clone(), taken.encoder.rows.clone(), taken.bias.clone()]

    state.step(x[:64], k=K, learning_rate=1e-2, dead_after=1000)

    assert all(map(torch.equal, kept, [taken.rows, taken.encoder.rows, taken.bias]))
    assert not torch.equal(state.dictionary(CARD).rows, taken.rows)


def test_dead_features_are_revived(monkeypatch):
    x, fresh = sparse_data(4000), sparse_data(1000, seed=1)
    revived = quality(learned(x)[0], fresh)

    monkeypatch.setattr(training, "_REVIVAL_WEIGHT", 0.0)
    left_alone = quality(learned(x)[0], fresh)

    assert revived.dead_share < 0.6 * left_alone.dead_share
    assert revived.explained_variance > left_alone.explained_variance


def test_activations_that_do_not_fill_a_batch_teach_nothing():
    assert not learned(sparse_data(63))[1]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_activations_that_are_not_finite_are_refused(bad):
    x = sparse_data(100)
    x[7, 3] = bad

    with pytest.raises(NonFiniteError, match=r"activations are NaN or infinite"):
        Training(x, num_features=FEATURES, seed=0)


def test_activations_that_do_not_vary_are_refused():
    with pytest.raises(DictionaryError, match=r"the same at all tokens"):
        Training(torch.ones(50, WIDTH), num_features=FEATURES, seed=0)


def test_a_training_that_breaks_down_says_what_to_lower():
    x = sparse_data(1000)

    with pytest.raises(NonFiniteError, match=r"Lower --learning_rate \(now .*\)"):
        learned(x, learning_rate=1e30)
