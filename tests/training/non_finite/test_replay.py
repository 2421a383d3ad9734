"""A bad batch is run again in a process of its own, or not at all; the event says which."""

import contextlib
import mmap
import os
import signal
import subprocess
import sys
import time
from collections import UserDict
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import pytest
import torch
from torch import nn

from backlight.errors import RunError
from backlight.training import watch
from backlight.training.non_finite import apart
from backlight.training.non_finite.apart import do_apart
from backlight.training.non_finite.inputs import Inputs


class Breaks(nn.Module):
    """Divides by zero where its input says so."""

    def forward(self, x):
        return x / (x.detach().abs().sum() < 1e6)


class Net(nn.Module):
    def __init__(self, unpack=lambda batch: batch):
        super().__init__()
        self.first, self.breaks, self.last = nn.Linear(4, 4), Breaks(), nn.Linear(4, 1)
        self.unpack = unpack

    def forward(self, batch):
        return self.last(self.breaks(self.first(self.unpack(batch)))).square().mean()


def event_of(model, make, *, bad=2):
    """Train on batches of which one breaks the model; give what is said of it."""
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with watch(model, optimizer, schedule=1, status=False) as monitor:
        for step in range(4):
            optimizer.zero_grad()
            model(make(torch.randn(2, 4) * (1e7 if step == bad else 1))).backward()
            if all(p.grad.isfinite().all() for p in model.parameters()):
                optimizer.step()
    (event,) = monitor.history().events
    return event


def test_a_batch_whose_labels_were_popped_is_run_again():
    model = Net(lambda batch: batch["x"] + 0 * batch.pop("labels").sum())
    for kind in (dict, UserDict):
        event = event_of(model, lambda x, kind=kind: kind(x=x, labels=torch.ones(2)))
        assert (event.where, event.module) == ("forward", "breaks")


@pytest.mark.parametrize(
    ("make", "unpack", "reason"),
    [
        (
            lambda x: iter([x]),
            next,
            r"its batch holds an iterator \(list_iterator\), which runs out",
        ),
        (
            lambda x: {"all": [1, (x for _ in range(2))]},
            lambda batch: next(batch["all"][1]),
            r"its batch holds an iterator \(generator\), which runs out",
        ),
        (
            lambda x: x,
            lambda batch: batch.mul_(2),
            "the tensors of its batch were written to since",
        ),
    ],
)
def test_a_batch_that_is_not_what_it_was_is_not_run_again(make, unpack, reason):
    event = event_of(Net(unpack), make)
    assert (event.where, event.module) == ("forward", None)
    with pytest.raises(AssertionError, match=rf"could not be repeated, since {reason}\.$"):
        raise AssertionError(event.text)


def test_a_model_that_draws_otherwise_is_not_believed():
    own = torch.Generator().manual_seed(0)
    model = Net(lambda batch: batch * torch.rand(2, 4, generator=own))
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with watch(model, optimizer) as monitor:
        model(torch.ones(2, 4)).backward()
        model.last.weight.grad.fill_(torch.nan)
        monitor._observer.detector.see_gradients([p.grad for p in model.parameters()], 1)
        optimizer.step()
    (event,) = monitor.history().events
    assert "could not be repeated, since it did not give the same result once more" in event.text


def test_a_pass_that_fails_when_it_is_repeated_is_told():
    calls = []

    def unpack(batch):
        calls.append(1)
        if os.getpid() != here:
            raise KeyError("only once")
        return batch

    here = os.getpid()
    event = event_of(Net(unpack), lambda x: x)
    assert "could not be repeated, since it failed (KeyError: 'only once')" in event.text
    assert len(calls) == 4


def test_several_processes_do_not_repeat_it(monkeypatch):
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 0)
    event = event_of(Net(), lambda x: x)
    assert "since there are several processes, which could only do that together" in event.text


def test_a_model_on_another_device_is_not_run_again():
    model = Net()
    model.register_buffer("far", torch.ones(2, device="meta"))
    event = event_of(model, lambda x: x)
    assert "which cannot use the model's device, meta" in event.text


def test_what_is_done_apart_changes_nothing_here(tmp_path, capfd):
    changed = []
    path = tmp_path / "kept.txt"
    with path.open("w") as file:
        file.write("before ")

        def work():
            changed.append(1)
            torch.manual_seed(5)
            sys.stdout.write("from the other process")
            sys.stdout.flush()
            os.write(2, b"from the other process")
            try:
                file.write("from the other process")
                file.flush()
            except OSError as error:
                return {"failed": type(error).__name__, "number": len(changed)}
            return {}

        state = torch.get_rng_state()
        assert do_apart(work) == {"failed": "OSError", "number": 1}
        assert not changed
        assert torch.equal(torch.get_rng_state(), state)
    assert path.read_text() == "before "
    assert capfd.readouterr() == ("", "")


def test_a_process_that_hangs_is_ended():
    begun = time.monotonic()
    with pytest.raises(RunError, match=r"it was not done within 0.2 seconds"):
        do_apart(lambda: time.sleep(60) or {}, seconds=0.2)
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("end", [lambda: os._exit(3), os.abort, lambda: os.kill(os.getpid(), 9)])
def test_a_process_that_dies_is_told(end):
    with pytest.raises(RunError, match="the process in which that was tried has died"):
        do_apart(lambda: end() or {})


def test_no_process_is_left_behind(monkeypatch):
    begun = []
    fork = os.fork
    monkeypatch.setattr(os, "fork", lambda: begun.append(fork()) or begun[-1])
    do_apart(dict)
    (child,) = begun
    with pytest.raises(ChildProcessError):  # nobody is left to be waited for
        os.waitpid(child, os.WNOHANG)


def test_a_system_without_fork_says_so(monkeypatch):
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(RunError, match="in a forked process, which this system does not have"):
        do_apart(dict)


def test_many_open_files_are_no_obstacle():
    held = [os.dup(1) for _ in range(200)]
    try:
        assert do_apart(lambda: {"answer": "x" * 100_000})["answer"] == "x" * 100_000
    finally:
        for number in held:
            os.close(number)


def test_inputs_are_kept_as_they_were():
    x = torch.ones(2)
    batch = {"x": x, "more": [x, {"y": (x, 1)}]}
    kept = Inputs.of((batch,), {"z": batch})
    batch["more"][1].clear()
    del batch["x"]
    (copied,) = kept.arguments
    assert copied["x"] is x
    assert copied["more"][1] == {"y": (x, 1)}
    assert kept.obstacle() is None
    x.add_(1)
    assert "written to" in kept.obstacle()


def test_a_process_that_ends_meanwhile_is_told_of_afterwards():
    heard = []
    before = signal.signal(signal.SIGCHLD, lambda *words: heard.append(words[0]))
    try:
        worker = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)

        def work():
            os.kill(worker.pid, signal.SIGKILL)  # while nothing is heard, since this is done apart
            time.sleep(0.3)
            return {}

        do_apart(work)
        assert heard == [signal.SIGCHLD]
        worker.communicate()
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_too_much_shared_memory_is_an_obstacle():
    with (
        mock.patch.object(apart, "_MOST_SHARED", 2**12),
        contextlib.closing(mmap.mmap(-1, 2**13)),
        pytest.raises(RunError, match="it shares more than a gigabyte of memory"),
    ):
        do_apart(dict)


def test_a_thread_cannot_keep_a_handler_from_being_called():
    before = signal.signal(signal.SIGCHLD, lambda *words: None)
    try:
        with ThreadPoolExecutor(1) as pool, pytest.raises(RunError, match="handles SIGCHLD"):
            pool.submit(do_apart, dict).result()
    finally:
        signal.signal(signal.SIGCHLD, before)
