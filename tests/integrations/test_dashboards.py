"""Dashboards get the numbers; a library that is not there is asked for kindly."""

import builtins
import math

import pytest
import torch

from backlight.errors import ConfigError
from backlight.integrations import extras
from backlight.training import watch
from backlight.training.watching.writers import Sink
from zoo.watched import Stack, train


@pytest.mark.parametrize(
    ("name", "library", "words"),
    [
        ("TensorBoardSink", "torch.utils.tensorboard", ("somewhere",)),
        ("WandbSink", "wandb", ()),
        ("TrackioSink", "trackio", ("project",)),
    ],
)
def test_a_missing_library_is_asked_for(monkeypatch, name, library, words):
    import backlight.integrations as integrations

    sink = getattr(integrations, name)
    real = builtins.__import__

    def missing(asked, *others):
        raise ImportError(f"No module named {asked!r}")

    monkeypatch.setattr(extras, "import_module", missing)
    with pytest.raises(ConfigError, match=rf"{name} needs .* pip install 'backlight\[train\]'"):
        sink(*words)
    assert builtins.__import__ is real


def watched(sink):
    assert isinstance(sink, Sink)
    model = Stack()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(model, optimizer, schedule=1, sinks=[sink]) as monitor:
        train(model, optimizer, 3, clip=0.1)
    return monitor.history()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_tensorboard_gets_the_numbers(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from backlight.integrations import TensorBoardSink

    history = watched(TensorBoardSink(tmp_path))
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    found = events.Scalars("gradient/norm")
    assert [event.step for event in found] == [1, 2, 3]
    for event, norm in zip(found, history.global_norm, strict=True):
        assert math.isclose(event.value, norm, rel_tol=1e-6)
    assert "gradient/layers/blocks.1" in events.Tags()["scalars"]


@pytest.mark.filterwarnings("ignore")
def test_wandb_gets_the_numbers(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    from backlight.integrations import WandbSink

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = wandb.init(project="watch", dir=str(tmp_path))
    history = watched(WandbSink(run))
    assert math.isclose(run.summary["gradient/norm"], history.global_norm[-1])
    assert run.summary["gradient/step"] == 3
    run.finish()


@pytest.mark.filterwarnings("ignore")
def test_trackio_gets_the_numbers(tmp_path, monkeypatch):
    pytest.importorskip("trackio")
    from backlight.integrations import TrackioSink

    sink = TrackioSink("watch", embed=False)
    logged = []
    monkeypatch.setattr(sink._run, "log", lambda numbers, step: logged.append((step, numbers)))
    history = watched(sink)
    assert [step for step, _ in logged] == [1, 2, 3]
    assert logged[-1][1]["gradient/norm"] == history.global_norm[-1]
