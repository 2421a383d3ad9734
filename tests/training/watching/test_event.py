"""What goes wrong in a training: where the first NaN came from, and that nothing ends the loop."""

import errno
import json
import math
import signal
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from backlight.training import read_history, watch
from backlight.training.guarding.guard import WatchWarning
from backlight.training.log.reading import LOG
from backlight.training.log.writer import TrainingLog
from backlight.training.non_finite.detector import Detector
from zoo.watched import Stack, batches, global_norm, train


def sgd(model, rate=0.1):
    return torch.optim.SGD(model.parameters(), rate)


def poison(weight):
    with torch.no_grad():
        weight.view(-1)[2] = math.nan


def at(step, action):
    """A forward pre-hook that acts before the forward pass of one step."""
    calls = []

    def hook(module, inputs):
        calls.append(None)
        if len(calls) == step:
            action(module)

    return hook


def test_a_weight_that_is_nan_is_blamed_at_its_step(tmp_path):
    model = Stack()
    optimizer = sgd(model)
    poisoned = model.blocks[1].up.weight
    model.register_forward_pre_hook(at(3, lambda module: poison(poisoned)))
    with watch(model, optimizer, tmp_path / "run", schedule=100):
        train(model, optimizer, 5, clip=1.0)

    (event,) = read_history(tmp_path / "run").events

    assert (event.step, event.what, event.where) == (3, "non_finite", "weight")
    assert (event.module, event.parameter) == ("blocks.1.up", "blocks.1.up.weight")
    assert event.text == (
        "At step 3 the weights blocks.1.up.weight held NaN or infinity before the step."
    )


class Breaks(nn.Module):
    """Gives infinity at one call, or in its backward pass, out of what is finite."""

    def __init__(self, call, backward):
        super().__init__()
        self.call, self.backward, self.calls = call, backward, 0

    def forward(self, x):
        if torch.is_grad_enabled():
            self.calls += 1
        if self.calls != self.call:
            return x
        return x + 0 * (x - x.detach()).abs().sqrt() if self.backward else x / 0.0


def broken(call, *, backward):
    model = Stack()
    model.blocks[1].drop = Breaks(call, backward)
    return model


def test_the_first_module_that_breaks_finite_inputs_is_blamed():
    model = broken(2, backward=False)
    optimizer = sgd(model)
    with watch(model, optimizer, schedule=100) as monitor:
        train(model, optimizer, 4)
    (event,) = monitor.history().events
    assert (event.step, event.where, event.module) == (2, "forward", "blocks.1.drop")
    assert "finite inputs into an output that is not finite is blocks.1.drop (Breaks)" in event.text


def test_a_break_in_the_backward_pass_is_blamed_on_the_gradient_nearest_to_the_loss():
    model = broken(2, backward=True)
    optimizer = sgd(model)
    with watch(model, optimizer, schedule=100) as monitor:
        train(model, optimizer, 4)
    (event,) = monitor.history().events
    assert (event.step, event.where) == (2, "backward")
    assert event.parameter == "blocks.1.down.bias"
    assert "the forward pass is finite, and on the way back from the loss" in event.text


def test_a_loss_that_breaks_outside_of_the_model_is_blamed():
    model = Stack()
    optimizer = sgd(model)
    tokens, _ = batches(1)[0]
    with watch(model, optimizer, schedule=100) as monitor:
        mean = model(tokens).mean()
        loss = (mean - mean.detach()).log()
        monitor.loss(loss)
        loss.backward()
        optimizer.step()
    (event,) = monitor.history().events
    assert (event.step, event.where, event.module) == (1, "forward", "")
    assert "outputs are finite, but the loss computed from them is not" in event.text


def test_a_loop_that_stops_at_a_bad_loss_is_told_of_as_well():
    model = broken(2, backward=False)
    optimizer = sgd(model)
    with watch(model, optimizer, schedule=1) as monitor:
        train(model, optimizer, 1)
        loss = model(*batches(2)[1])["loss"]
        assert not loss.isfinite()
        loss.backward()
    (event,) = monitor.history().events
    assert (event.step, event.module) == (2, "blocks.1.drop")


def test_gradients_that_recover_and_break_again_are_told_twice():
    model = Stack()
    optimizer = sgd(model)

    def spoil(step, model):
        for parameter in model.parameters():
            parameter.grad = None  # the user leaves the step out

    with watch(model, optimizer, schedule=1) as monitor:
        for step in range(6):
            tokens, targets = batches(6)[step]
            loss = model(tokens, targets)["loss"] * (math.inf if step in (1, 2, 4) else 1)
            loss.backward()
            if step in (1, 2, 4):
                spoil(step, model)
            optimizer.step()
            optimizer.zero_grad()
    assert [event.step for event in monitor.history().events] == [2, 5]


def test_the_flag_is_exact_where_it_is_read_late():
    model = broken(3, backward=True)
    optimizer = sgd(model)
    monitor = watch(model, optimizer, schedule=5)
    monitor._observer.detector.at_once = False  # as on a device that must not be waited for
    seen = train(model, optimizer, 6)
    assert math.isnan(global_norm(seen[2]["raw"]))
    monitor.close()
    (event,) = monitor.history().events
    assert (event.step, event.where) == (3, "backward")
    assert "could not be repeated, since its weights or its batch are not there" in event.text
    assert event.text.endswith("This was noticed at step 5.")


def test_late_or_not_a_bad_weight_is_told_from_one_that_was_spoiled():
    model = Stack()
    optimizer = sgd(model)
    model.register_forward_pre_hook(at(3, lambda module: poison(module.blocks[1].up.weight)))
    monitor = watch(model, optimizer, schedule=5)
    monitor._observer.detector.at_once = False
    train(model, optimizer, 6)
    monitor.close()
    (event,) = monitor.history().events
    assert (event.step, event.where, event.parameter) == (3, "weight", "blocks.1.up.weight")


def test_a_late_look_knows_that_the_loss_was_bad():
    model = broken(3, backward=False)
    optimizer = sgd(model)
    monitor = watch(model, optimizer, schedule=5)
    monitor._observer.detector.at_once = False
    train(model, optimizer, 6)
    monitor.close()
    (event,) = monitor.history().events
    assert (event.step, event.where, event.module) == (3, "forward", None)
    assert "the forward pass could not be repeated" in event.text


def test_a_replay_leaves_no_trace():
    model = Stack(dropout=0.5)
    model.blocks[0].drop = nn.BatchNorm1d(6).double()
    masks = []
    model.blocks[2].drop.register_forward_hook(
        lambda module, inputs, output: masks.append(output.detach() == 0)
    )
    optimizer = sgd(model)

    with watch(model, optimizer, schedule=1) as monitor:
        tokens, targets = batches(1)[0]
        model(tokens, targets)["loss"].backward()
        model.head.weight.grad[0, 0] = math.inf
        monitor._observer.detector.see_gradients([p.grad for p in model.parameters()], 1)
        before = {name: buffer.clone() for name, buffer in model.named_buffers()}
        modes = [module.training for module in model.modules()]
        state = torch.get_rng_state()
        gradients = [p.grad for p in model.parameters()]
        monitor._observer.events.look(1, untouched=True)
    (event,) = monitor.history().events
    assert "the forward pass is finite" in event.text  # so the loss was that of the same dropout
    assert len(masks) == 1  # the user's hook was called once more, but not here
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    assert [module.training for module in model.modules()] == modes
    assert all(p.grad is g for p, g in zip(model.parameters(), gradients, strict=True))


def test_the_snapshot_reproduces_the_first_bad_step(tmp_path):
    model = broken(2, backward=False)
    model.register_buffer("strided", torch.ones(4, 3).t())
    optimizer = sgd(model)
    with watch(model, optimizer, tmp_path / "run", schedule=100):
        train(model, optimizer, 4)
    (event,) = read_history(tmp_path / "run").events
    note = json.loads((tmp_path / "run" / event.snapshot).read_text())
    tensors = load_file(tmp_path / "run" / note["tensors"])

    assert note["first_non_finite_step"] == note["taken_at_step"] == 2
    assert note["weights_are_those_of_the_first_step"]
    assert note["training"]
    fresh = broken(1, backward=False)
    fresh.register_buffer("strided", torch.ones(4, 3).t())
    weights = {n.removeprefix("weights/"): t for n, t in tensors.items() if n.startswith("weights")}
    fresh.load_state_dict(weights)
    assert torch.equal(tensors["inputs/0"], batches(4)[1][0])
    assert not fresh(tensors["inputs/0"], tensors["inputs/1"])["loss"].isfinite()
    assert not [file for file in (tmp_path / "run").iterdir() if file.name.endswith(".part")]


def test_many_bad_steps_do_not_fill_the_disk(tmp_path):
    model = Stack()
    optimizer = sgd(model)
    with watch(model, optimizer, tmp_path / "run", schedule=1):
        for step in range(12):
            tokens, targets = batches(12)[step]
            (model(tokens, targets)["loss"] * (math.inf if step % 2 else 1)).backward()
            if step % 2 == 0:
                optimizer.step()
            optimizer.zero_grad()
    events = read_history(tmp_path / "run").events
    assert len(events) > 3
    assert [event.snapshot is not None for event in events] == [True] * 3 + [False] * (
        len(events) - 3
    )
    assert len(list((tmp_path / "run").glob("*.safetensors"))) == 3


def test_no_snapshot_is_taken_where_none_is_wanted(tmp_path):
    model = broken(2, backward=False)
    optimizer = sgd(model)
    with watch(model, optimizer, tmp_path / "run", snapshot=False):
        train(model, optimizer, 3)
    assert read_history(tmp_path / "run").events[0].snapshot is None
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == [
        "steps.jsonl",
        "watch.json",
    ]


@pytest.mark.parametrize("when", ["start", "later"])
def test_a_full_disk_is_told_once_and_the_watch_goes_on_in_memory(tmp_path, monkeypatch, when):
    model = Stack()
    optimizer = sgd(model)

    def full(*words):
        raise OSError(errno.ENOSPC, "No space left on device")

    place = TrainingLog, "_write_header" if when == "start" else "_append"
    if when == "later":
        monitor = watch(model, optimizer, tmp_path / "run", schedule=1)
        train(model, optimizer, 2)
        monkeypatch.setattr(*place, full)
    else:
        monkeypatch.setattr(*place, full)
        with pytest.warns(WatchWarning, match="cannot be written .*No space left.* in memory"):
            monitor = watch(model, optimizer, tmp_path / "run", schedule=1)
        train(model, optimizer, 2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(model, optimizer, 4, start=2)
    assert len(caught) == (when == "later")
    monitor.close()
    history = monitor.history()
    assert history.steps.tolist() == [1, 2, 3, 4]
    assert len(history.losses) == 4


class Broken:
    def __init__(self):
        self.seen = []

    def write(self, step, numbers):
        self.seen.append((step, dict(numbers)))
        if step == 2:
            raise ConnectionError("offline")

    def close(self):
        raise ValueError("closed twice")


def test_a_broken_sink_is_let_go_of_and_the_others_go_on():
    class Working(Broken):
        def write(self, step, numbers):
            self.seen.append((step, dict(numbers)))

    model = Stack()
    optimizer = sgd(model)
    broken_sink, working = Broken(), Working()
    monitor = watch(model, optimizer, schedule=1, sinks=[broken_sink, working])
    with pytest.warns(WatchWarning, match="Broken failed .ConnectionError: offline.*gets no more"):
        train(model, optimizer, 4)
    with pytest.warns(WatchWarning, match="Working failed .ValueError: closed twice"):
        monitor.close()
    assert [step for step, _ in broken_sink.seen] == [1, 2]
    assert [step for step, _ in working.seen] == [1, 2, 3, 4]
    history = monitor.history()
    for row, (_, numbers) in enumerate(working.seen):
        assert numbers["gradient/norm"] == history.global_norm[row]
        assert numbers["gradient/clipped_norm"] == history.clipped_norm[row]
        assert numbers["loss"] == history.losses[row]
        assert numbers["learning_rate/0"] == 0.1
        layers = history.layer_norms()
        np.testing.assert_allclose(
            [numbers[f"gradient/layers/{name}"] for name in layers.names], layers.norms[row]
        )
        assert "scale" not in numbers


@pytest.mark.slow
def test_a_killed_training_leaves_a_readable_log(tmp_path):
    code = f"""
        import sys, torch
        sys.path.insert(0, {str(Path(__file__).parents[2])!r})
        from backlight.training import watch
        from zoo.watched import Stack, batches
        model = Stack()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        watch(model, optimizer, {str(tmp_path / "run")!r}, schedule=1)
        for step in range(10**6):
            tokens, targets = batches(1)[0]
            model(tokens, targets)["loss"].backward()
            optimizer.step()
            optimizer.zero_grad()
            print(step + 1, flush=True)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    )
    done = 0
    while done < 20:
        done = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().split()
    process.wait()
    process.stdout.close()
    done = max([done, *map(int, rest[:-1])])
    history = read_history(tmp_path / "run")
    assert history.steps.tolist() == list(range(1, len(history.steps) + 1))
    assert len(history.steps) >= done
    assert len(history.losses) >= done - 1
    assert (tmp_path / "run" / LOG).stat().st_size


def test_the_status_line_is_for_terminals(capsys, monkeypatch):
    def run():
        model = Stack()
        optimizer = sgd(model)
        with watch(model, optimizer, schedule=1):
            train(model, optimizer, 2, clip=0.1)
        return capsys.readouterr().err

    assert run() == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    shown = run()
    assert shown.count("\r") == 2
    assert shown.endswith("\n")
    assert "step 2  loss " in shown
    assert " clipped to 0.1  update/weight " in shown


def test_at_once_is_where_it_costs_nothing():
    model = Stack()
    assert Detector(model, list(model.parameters())).at_once
