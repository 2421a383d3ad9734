"""Gradient scalers: numbers are those of a plain loop, and skipped steps are counted and told."""

import math

import numpy as np
import pytest
import torch

from backlight.training import read_history, watch
from zoo.watched import Stack, batches, train


def scaled(model, optimizer, scaler, *, number=4, unscale=True, clip=None, accumulate=1, spoil=()):
    for step in range(number):
        optimizer.zero_grad()
        tokens, targets = batches(number)[step]
        for part in range(accumulate):
            piece = slice(part * len(tokens) // accumulate, (part + 1) * len(tokens) // accumulate)
            loss = model(tokens[piece], targets[piece])["loss"] / accumulate
            scaler.scale(loss).backward()
        if step + 1 in spoil:
            model.head.weight.grad[0, 0] = math.inf
        if unscale:
            scaler.unscale_(optimizer)
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        scaler.step(optimizer)
        scaler.update()


def adam(model, **options):
    return torch.optim.Adam(model.parameters(), 1e-2, **options)


@pytest.mark.parametrize("unscale", [True, False])
@pytest.mark.parametrize("options", [{}, {"fused": True}])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_scaled_training_gives_the_numbers_of_a_plain_loop(unscale, options, accumulate):
    clip = 0.3 if unscale else None
    plain, model = Stack(dtype=torch.float32), Stack(dtype=torch.float32)
    with watch(plain, optimizer := adam(plain, **options), schedule=2) as expected:
        train(plain, optimizer, 4, clip=clip, accumulate=accumulate)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    optimizer = adam(model, **options)
    with watch(model, optimizer, schedule=2, scaler=scaler, activations=True) as monitor:
        scaled(model, optimizer, scaler, unscale=unscale, clip=clip, accumulate=accumulate)
    left, right = expected.history(), monitor.history()
    np.testing.assert_allclose(right.global_norm, left.global_norm, rtol=1e-5)
    np.testing.assert_allclose(right.clipped_norm, left.clipped_norm, rtol=1e-5)
    for name, table in left.statistics.items():
        np.testing.assert_allclose(
            right.statistics[name], table, rtol=1e-3, atol=1e-7, err_msg=name
        )
    assert right.scale.tolist() == [2.0**12] * 3
    assert np.isnan(left.scale).all()
    assert not right.events
    assert "step" not in vars(scaler)
    assert (right.activation_norms < 1).all()


@pytest.mark.parametrize("options", [{}, {"fused": True}])
def test_a_skipped_step_is_counted_and_told_and_is_no_trouble(tmp_path, options):
    model = Stack(dtype=torch.float32)
    optimizer = adam(model, **options)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    with watch(model, optimizer, tmp_path / "run", schedule=2, scaler=scaler) as monitor:
        # The overflow is not seen by the backward pass: the spoiled gradient comes behind it.
        hook = model.head.weight.register_hook(lambda gradient: gradient * overflow[0])
        overflow = [1.0]
        model.register_forward_pre_hook(
            lambda *_: overflow.__setitem__(0, math.inf if monitor.steps == 1 else 1.0)
        )
        scaled(model, optimizer, scaler, unscale=False)
        hook.remove()
    history = read_history(tmp_path / "run")
    (event,) = history.events
    assert (event.step, event.what, event.snapshot) == (2, "skipped", None)
    assert "Step 2 was left out by the gradient scaler: gradients multiplied by 4096" in event.text
    assert monitor.steps == 4
    assert history.steps.tolist() == [1, 2, 4]
    assert history.scale.tolist() == [2.0**12, 2.0**12, 2.0**11]
    assert not math.isfinite(history.global_norm[1])
    assert math.isfinite(history.global_norm[2])
    head = [info.name for info in history.parameters].index("head.weight")
    assert history.statistics["update_ratio"][1, head] == 0
    assert len(history.losses) == 4


def test_a_weight_that_is_nan_is_no_overflow():
    model = Stack(dtype=torch.float32)
    optimizer = adam(model)
    scaler = torch.amp.GradScaler("cpu")
    with watch(model, optimizer, schedule=1, scaler=scaler) as monitor:
        scaled(model, optimizer, scaler, number=1)
        with torch.no_grad():
            model.head.weight[0, 0] = math.nan
        scaled(model, optimizer, scaler, number=1)
    (event,) = monitor.history().events
    assert (event.step, event.what, event.parameter) == (2, "non_finite", "head.weight")


def test_autocast_is_as_it_was_when_the_batch_is_repeated():
    model = Stack(dtype=torch.float32)
    with torch.no_grad():
        model.blocks[1].up.weight.fill_(3e4)  # beyond what half precision can add up
        model.blocks[1].norm.bias.fill_(3.0)
    optimizer = adam(model)
    scaler = torch.amp.GradScaler("cpu")
    tokens, targets = batches(1)[0]
    with watch(model, optimizer, schedule=1, scaler=scaler) as monitor:
        with torch.autocast("cpu", dtype=torch.float16):
            loss = model(tokens, targets)["loss"]
        scaler.scale(loss).backward()
        scaler.step(optimizer)
    (event,) = monitor.history().events
    assert (event.what, event.where, event.module) == ("non_finite", "forward", "blocks.1.up")
