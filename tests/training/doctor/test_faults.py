"""The doctor in real small trainings: planted faults, and healthy runs.

All kinds and seeds: ``python benchmarks/doctor.py``, and the tests marked slow.
"""

import numpy as np
import pytest
import torch
from torch import nn

from backlight.training.doctor.diagnosis import diagnose
from backlight.training.watching.schedules import log_spaced
from backlight.training.watching.watch import watch
from zoo.faults import FAULTS, post_norm_training
from zoo.healthy import HEALTHY
from zoo.other_trainings import OTHERS
from zoo.small_training import local_training

FAST = ("nan_in_a_weight", "cut_graph", "rate_of_one_block")


def check(name, seed):
    planted = FAULTS[name](seed)
    diagnosis = diagnose(planted.training.watched())
    first = diagnosis.findings[0]
    assert planted.finds_module(first.place.module), str(diagnosis)
    assert planted.finds_step(first.since_step), str(diagnosis)


@pytest.mark.parametrize("name", FAST)
def test_the_module_and_the_step_of_a_fault_are_named(name):
    check(name, seed=7)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_every_kind_of_fault_is_found(name):
    check(name, seed=8)


def test_a_healthy_training_has_no_findings():
    assert diagnose(local_training(7, num_steps=60).watched()).findings == ()


@pytest.mark.slow
def test_at_most_one_in_twenty_healthy_trainings_has_findings():
    # Small trainings have a burst of their own now and then: see docs/doctor.md.
    diagnoses = {name: diagnose(make(11).watched()) for name, make in HEALTHY.items()}

    odd = {name: str(each) for name, each in diagnoses.items() if each.findings}
    assert len(diagnoses) == 20
    assert len(odd) <= 1, odd


@pytest.mark.parametrize(
    "name",
    [
        "ReLU discriminator",
        "sparse autoencoder, L1",
        "GAN, generator",
        "layers dropped at random",
        "VAE, KL from zero",
        "action values",
    ],
)
def test_a_healthy_training_of_another_kind_is_healthy(name):
    diagnosis = diagnose(OTHERS[name](7).watched())

    assert diagnosis.is_healthy, str(diagnosis)


@pytest.mark.slow
def test_at_most_one_in_twenty_healthy_trainings_of_other_kinds_is_not_healthy():
    diagnoses = {name: diagnose(make(12).watched()) for name, make in OTHERS.items()}

    odd = {name: str(each) for name, each in diagnoses.items() if not each.is_healthy}
    assert len(diagnoses) > 40
    assert len(odd) <= 2, odd


@pytest.mark.slow
@pytest.mark.parametrize("schedule", [10, log_spaced(4)], ids=["every tenth", "log-spaced"])
def test_a_healthy_training_has_none_on_any_schedule(schedule):
    assert diagnose(local_training(7, num_steps=200).watched(schedule=schedule)).findings == ()


@pytest.mark.slow
def test_the_post_norm_model_learns_with_a_warm_up():
    assert diagnose(post_norm_training(7, warm_up=80).watched()).is_healthy


def train(layers, x, y, *, steps=40, rate=0.1, loss=nn.functional.mse_loss):
    """Train a stack of layers on one batch, watched."""
    model = nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    with watch(model, optimizer, schedule=1, status=False) as monitor:
        for _ in range(steps):
            optimizer.zero_grad()
            value = loss(model(x), y)
            value.backward()
            monitor.loss(value)
            optimizer.step()
    return monitor.history()


@pytest.fixture
def points():
    torch.manual_seed(1)
    return torch.randn(64, 16), torch.randn(64, 16)


def test_sigmoids_without_residual_connections_vanish_and_the_loss_stops_early(points):
    hidden = [part for _ in range(8) for part in (nn.Linear(16, 16), nn.Sigmoid())]
    x, y = points

    diagnosis = diagnose(train([*hidden, nn.Linear(16, 16)], x, y + 2, steps=150, rate=0.5))

    first = diagnosis.findings[0]
    assert (first.symptom, first.verdict, first.since_step) == (
        "vanishing_with_depth",
        "vanishing",
        1,
    )
    assert {each.symptom for each in first.followed_by} & {"loss_plateau", "loss_flat"}


def test_large_weights_without_norms_explode_until_nothing_is_finite(points):
    layers = [nn.Linear(16, 16) for _ in range(8)]
    for layer in layers:
        nn.init.normal_(layer.weight, std=1.5)

    diagnosis = diagnose(train(layers, *points, rate=1e-3))

    assert diagnosis.verdict in ("exploding", "non-finite")
    assert {each.symptom for each in diagnosis.findings} & {"gradient_huge", "non_finite"}


def test_a_stack_of_dead_relus_is_dead_where_they_are(points):
    layers = [part for _ in range(4) for part in (nn.Linear(16, 16), nn.ReLU())] + [
        nn.Linear(16, 16)
    ]
    nn.init.constant_(layers[4].bias, -100.0)

    diagnosis = diagnose(train(layers, *points))

    assert diagnosis.verdict == "dead"
    assert any("4" in str(each.place) or "whole" in str(each.place) for each in diagnosis.findings)


def test_identical_tokens_give_queries_and_keys_no_gradient_and_values_one():
    # Noci et al. 2022: after a rank collapse, the softmax passes nothing.
    torch.manual_seed(0)
    q, k, v = (nn.Linear(8, 8) for _ in range(3))
    x = torch.randn(1, 1, 8).expand(1, 5, 8)
    weights = (q(x) @ k(x).transpose(1, 2)).softmax(dim=-1)
    (weights @ v(x)).square().sum().backward()

    assert q.weight.grad.abs().max() < 1e-5 * v.weight.grad.abs().max()
    assert k.weight.grad.abs().max() < 1e-5 * v.weight.grad.abs().max()
    assert np.isfinite(v.weight.grad.norm().item())
