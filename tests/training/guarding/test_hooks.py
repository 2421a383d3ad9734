"""Nothing that the watch does in a hook can end a training: each hook is broken in turn."""

import copy
import io
import math
import pickle
import re
import signal
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.optimizer import _global_optimizer_pre_hooks

import backlight.training
from backlight.training import read_history, watch
from backlight.training.guarding.guard import WatchWarning, attempt, in_words
from backlight.training.guarding.hooks import Hook
from backlight.training.watching.observer import Observer
from zoo.bits.harness import plain
from zoo.watched import Stack, batches, train


@pytest.fixture
def one_process():
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def everything(run_dir=None, *, watched=True):
    """A training that uses all hooks there are: give its weights and its watch."""
    model = Stack()
    for parameter in model.unused.parameters():
        parameter.requires_grad_(False)
    called = DistributedDataParallel(model)
    first = torch.optim.SGD([*model.embed.parameters(), *model.blocks.parameters()], 0.1)
    second, third = (
        torch.optim.SGD(part.parameters(), 0.1) for part in (model.head, nn.Linear(2, 2))
    )
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    options = {"schedule": 1, "scaler": scaler, "activations": True}
    monitor = watch(called, [first, second], run_dir, **options) if watched else None
    for step, (tokens, targets) in enumerate(batches(5)):
        loss = called(tokens, targets)["loss"]
        scaler.scale(loss * (math.inf if step == 3 else 1)).backward()
        scaler.step(first)
        second.step(closure=lambda loss=loss: loss)
        third.step()
        scaler.update()
        for parameter in model.parameters():
            parameter.grad = None
    if monitor is not None:
        monitor.close()
    return [parameter.detach().clone() for parameter in model.parameters()], monitor


def bodies():
    """Find the bodies of all hooks by watching what is called in such a training."""
    found = {}
    real = Hook.__init__

    def collect(self, hooks, body):
        real(self, hooks, body)
        name = body.__qualname__
        found[name] = found.get(name, 0) + 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Hook, "__init__", collect)
        everything()
    return found


BODIES = (
    "ActivationGradients._hook.<locals>.hook",
    "ActivationGradients._hook.<locals>.measure",
    "BackwardEnd._accumulated",
    "BackwardEnd._behind_others",
    "BackwardEnd._end",
    "DepthOrder._see",
    "LocalNorms._hook.<locals>.measure",
    "Observer._after_forward",
    "Observer._after_step",
    "Observer._before_forward",
    "Observer._before_step",
    "Observer._other_step",
)


def test_these_are_all_hooks_that_there_are(one_process):
    assert set(bodies()) == set(BODIES)


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
@pytest.mark.parametrize("call", [1, 2])
@pytest.mark.parametrize("body", [*BODIES, "skipped", "closure"])
def test_a_hook_that_breaks_ends_the_watch_and_not_the_training(
    one_process, tmp_path, monkeypatch, body, call
):
    expected, _ = everything(watched=False)
    calls = []

    def broken(real_body):
        def breaks(*words):
            calls.append(words)
            if len(calls) == call:
                raise ZeroDivisionError("broken on purpose")
            return real_body(*words)

        return breaks

    if body in BODIES:
        real = Hook.__init__

        def replace(self, hooks, found):
            real(self, hooks, broken(found) if found.__qualname__ == body else found)

        monkeypatch.setattr(Hook, "__init__", replace)
    else:
        name = {"skipped": "_skipped", "closure": "_before_update"}[body]
        monkeypatch.setattr(Observer, name, broken(getattr(Observer, name)))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found, monitor = everything(tmp_path / "run")

    told = [str(each.message) for each in caught if each.category is WatchWarning]
    assert plain(found) == plain(expected)
    (text,) = told
    assert re.match(
        r"The watch has ended at step \d, and the training goes on without it: "
        r"ZeroDivisionError: broken on purpose\.$",
        text,
    )
    assert len(calls) == call  # and it was never called again
    event = read_history(tmp_path / "run").events[-1]
    assert (event.what, event.text) == ("unwatched", text)
    assert monitor.history().events[-1] == event


def number_of_hooks(model, *optimizers):
    modules = [module._forward_hooks | module._forward_pre_hooks for module in model.modules()]
    tensors = [p._post_accumulate_grad_hooks or {} for p in model.parameters()]
    steps = [o._optimizer_step_pre_hooks | o._optimizer_step_post_hooks for o in optimizers]
    return sum(map(len, [*modules, *tensors, *steps, _global_optimizer_pre_hooks]))


@pytest.mark.parametrize("name", ["_before_forward", "_after_backward", "_before_step"])
def test_all_hooks_are_gone_after_a_failure(monkeypatch, name):
    def fail(*words):
        raise ZeroDivisionError

    monkeypatch.setattr(Observer, name, fail)
    model = Stack()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    before = number_of_hooks(model, optimizer)
    watch(model, optimizer)
    with pytest.warns(WatchWarning, match="has ended at step 1"):
        train(model, optimizer, 1)
    train(model, optimizer, 2, start=1)  # the list that was gone through is cleared now
    assert number_of_hooks(model, optimizer) == before


def test_other_hooks_of_the_lists_are_still_called_after_a_failure(monkeypatch):
    def fail(*words):
        raise ZeroDivisionError

    monkeypatch.setattr(Observer, "_before_step", fail)
    model = Stack()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    calls = []
    optimizer.register_step_pre_hook(lambda *words: calls.append("before ours"))
    watch(model, optimizer)
    optimizer.register_step_pre_hook(lambda *words: calls.append("behind ours"))
    with pytest.warns(WatchWarning):
        train(model, optimizer, 2)
    assert calls == ["before ours", "behind ours"] * 2


def test_what_the_user_does_to_the_process_passes(monkeypatch):
    for kind in (KeyboardInterrupt, SystemExit, GeneratorExit):

        def interrupt(*words, kind=kind):
            raise kind

        model = Stack()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        with watch(model, optimizer) as monitor:
            monkeypatch.setattr(monitor._observer.losses, "see", interrupt)
            with pytest.raises(kind):
                train(model, optimizer, 1)
            monkeypatch.undo()
            train(model, optimizer, 2)
        assert monitor.steps == 2


def test_an_alarm_of_the_user_passes(monkeypatch):
    def ring(number, frame):
        raise TimeoutError("the user's limit")

    model = Stack()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    before = signal.signal(signal.SIGALRM, ring)
    try:
        with watch(model, optimizer) as monitor:
            monkeypatch.setattr(
                monitor._observer.losses, "see", lambda *words: signal.raise_signal(signal.SIGALRM)
            )
            with pytest.raises(TimeoutError, match="the user's limit"):
                train(model, optimizer, 1)
            monkeypatch.undo()
            train(model, optimizer, 2)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert monitor.steps == 2


def test_only_the_guard_catches_everything():
    sources = Path(backlight.__file__).parent
    broad = [
        str(path.relative_to(sources))
        for path in sources.rglob("*.py")
        if re.search(r"^ *except( Exception\b.*)?:", path.read_text(), re.MULTILINE)
    ]
    assert broad == ["training/guarding/guard.py"]


def test_hooks_are_registered_in_one_place():
    sources = Path(backlight.training.__file__).parent
    found = [
        str(path.relative_to(sources))
        for path in sources.rglob("*.py")
        if re.search(r"\.register_\w+\(", path.read_text())
    ]
    assert sorted(found) == [
        "guarding/hooks.py",
        "non_finite/batches.py",
    ]  # the last one: in a fork


def test_a_copy_is_not_watched_and_needs_no_backlight():
    model = Stack()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(model, optimizer, schedule=1, activations=True) as monitor:
        buffer = io.BytesIO()
        torch.save(model, buffer)
        assert b"backlight" not in buffer.getvalue()
        assert b"backlight" not in pickle.dumps(model)
        twin = copy.deepcopy(model)
        other = torch.optim.SGD(twin.parameters(), 0.1)
        train(twin, other, 3)
        assert monitor.steps == 0
        assert len(monitor.history().losses) == 0
        train(model, optimizer, 2)
        assert monitor.steps == 2
    with watch(twin, other, schedule=1) as again:  # but it can be
        train(twin, other, 2)
    assert again.history().steps.tolist() == [1, 2]


def test_a_failure_is_quoted_in_a_few_words():
    assert in_words(ValueError("a\n b")) == "ValueError: a b"
    assert in_words(KeyError()) == "KeyError"
    assert len(in_words(ValueError("x" * 10_000))) == len("ValueError: ") + 200


def test_the_guard_gives_back_what_failed():
    error = attempt(lambda: 1 / 0)
    assert isinstance(error, ZeroDivisionError)
    assert attempt(lambda: 1) is None
