"""Muon and AdamW, side by side."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from backlight.world.learning.optimizers import Optimizers, pace
from backlight.world.model import new_city_model

SHARES = st.floats(0, 1)


def tiny():
    return new_city_model(0, hidden_size=16, num_layers=2, num_heads=2)


def learn(model, optimizers, steps, *, scale=1.0):
    for step in range(*steps):
        random = torch.Generator().manual_seed(step)
        tokens = torch.randint(4, 98, (3, 9), generator=random)
        model(input_ids=tokens, labels=tokens).loss.backward()
        optimizers.step(scale)


def made(model):
    return Optimizers(model, learning_rate=0.02, vector_learning_rate=1e-3)


@given(SHARES, SHARES, SHARES)
def test_the_pace_is_a_share(done, warm_up, decay):
    assert 0 <= pace(done, warm_up=warm_up, decay=decay) <= 1


def test_the_pace_rises_stays_and_falls():
    paces = [pace(done, warm_up=0.2, decay=0.5) for done in (0, 0.1, 0.2, 0.5, 0.75, 1)]
    assert paces == pytest.approx([0, 0.5, 1, 1, 0.5, 0])
    assert pace(0, warm_up=0, decay=0) == pace(1, warm_up=0, decay=0) == 1


def test_updates_of_inner_matrices_are_nearly_orthogonal_and_of_the_size_asked_for():
    model, before = tiny(), tiny()
    learn(model, made(model), (0, 1))
    for (name, new), old in zip(model.named_parameters(), before.parameters(), strict=True):
        change = (new - old).detach()
        if new.ndim == 2 and "layers" in name:
            values = torch.linalg.svdvals(change) / max(1.0, new.shape[0] / new.shape[1]) ** 0.5
            assert 0.01 < values.max() < 0.026, name  # the iteration stops between 0.7 and 1.2
        else:  # the first step of Adam is the learning rate, whatever the gradient
            assert change.abs().max() < 1.01e-3, name


def test_the_scale_multiplies_both_learning_rates():
    whole, half, before = tiny(), tiny(), tiny()
    learn(whole, made(whole), (0, 1))
    learn(half, made(half), (0, 1), scale=0.5)
    for a, b, start in zip(whole.parameters(), half.parameters(), before.parameters(), strict=True):
        assert_close(2 * (b - start), a - start, atol=1e-7, rtol=1e-3)


def test_a_restored_optimizer_goes_on_as_if_nothing_had_been():
    straight = tiny()
    learn(straight, made(straight), (0, 6))
    first, optimizers = tiny(), None
    optimizers = made(first)
    learn(first, optimizers, (0, 3))
    state = optimizers.state()
    assert all(isinstance(array, np.ndarray) for array in state.values())
    second = tiny()
    second.load_state_dict(first.state_dict())
    again = made(second)
    again.load(state)
    learn(second, again, (3, 6))
    for a, b in zip(straight.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_state_is_a_copy():
    model = tiny()
    optimizers = made(model)
    learn(model, optimizers, (0, 1))
    state = optimizers.state()
    kept = {name: array.copy() for name, array in state.items()}
    learn(model, optimizers, (1, 2))
    assert all((state[name] == kept[name]).all() for name in kept)
