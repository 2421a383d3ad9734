"""A log whose file is deleted, moved or full is kept in memory, whole, and told of once."""

import errno
import json
import shutil
import subprocess
import sys
import warnings

import pytest
import torch

from backlight.training import read_history, watch
from backlight.training.guarding.guard import WatchWarning
from backlight.training.log.reading import HEADER, LOG
from zoo.watched import Stack, train


def rename(path):
    path.rename(path.with_name("elsewhere"))


def replace(path):
    (path / LOG).unlink()
    (path / LOG).write_text("somebody else's\n")


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (shutil.rmtree, "was deleted or moved"),
        (rename, "was deleted or moved"),
        (replace, "replaced"),
    ],
)
@pytest.mark.parametrize("before", [0, 3])
def test_a_log_that_goes_away_is_kept_in_memory(tmp_path, act, reason, before):
    model = Stack()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    monitor = watch(model, optimizer, tmp_path / "run", schedule=1)
    train(model, optimizer, before)
    act(tmp_path / "run")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(model, optimizer, 6, start=before)
        monitor.close()
    (told,) = caught
    assert told.category is WatchWarning
    assert "cannot be written" in str(told.message)
    assert reason in str(told.message)
    history = monitor.history()
    assert history.steps.tolist() == [1, 2, 3, 4, 5, 6]
    assert len(history.losses) == 6
    if act is not replace:
        assert not (tmp_path / "run").exists()  # and it is not made again
    else:
        assert (tmp_path / "run" / LOG).read_text() == "somebody else's\n"


def test_a_moved_log_can_be_read_where_it_is(tmp_path):
    model = Stack()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(model, optimizer, tmp_path / "run", schedule=1):
        train(model, optimizer, 3)
        rename(tmp_path / "run")
        with pytest.warns(WatchWarning):
            train(model, optimizer, 6, start=3)
    assert read_history(tmp_path / "elsewhere").steps.tolist() == [1, 2, 3]


def test_what_a_full_disk_has_torn_is_not_lost(tmp_path, monkeypatch):
    model = Stack()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    monitor = watch(model, optimizer, tmp_path / "run", schedule=1)
    train(model, optimizer, 2)
    real = monitor._observer.writers.log._file

    class Full:
        """Writes one half of a line."""

        def write(self, text):
            real.write(text[: len(text) // 2])
            real.flush()
            raise OSError(errno.ENOSPC, "No space left on device")

        def __getattr__(self, name):
            return getattr(real, name)

    monitor._observer.writers.log._file = Full()
    with pytest.warns(WatchWarning, match="No space left"):
        train(model, optimizer, 4, start=2)
    assert monitor.history().steps.tolist() == [1, 2, 3, 4]
    monitor.close()


def test_an_abandoned_watch_closes_its_file(tmp_path):
    code = """if True:
        import gc, sys, torch
        from backlight.training import watch
        for number in range(2):
            model = torch.nn.Linear(2, 1)
            optimizer = torch.optim.SGD(model.parameters(), 0.1)
            watch(model, optimizer, f"{sys.argv[1]}/{number}")
            model(torch.ones(1, 2)).sum().backward()
            optimizer.step()
            del model, optimizer
            gc.collect()
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tmp_path)], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert read_history(tmp_path / "0").steps.tolist() == [1]


def test_old_logs_have_what_they_did_not_know(tmp_path):
    model = Stack()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(model, optimizer, tmp_path / "run", schedule=1):
        train(model, optimizer, 2)
    header = json.loads((tmp_path / "run" / HEADER).read_text())
    for entry in header["parameters"]:
        for name in ("elsewhere", "since", "until"):
            del entry[name]
    (tmp_path / "run" / HEADER).write_text(json.dumps(header))
    history = read_history(tmp_path / "run")
    assert history.steps.tolist() == [1, 2]
    assert {(info.elsewhere, info.since, info.until) for info in history.parameters} == {
        (False, 0, 0)
    }


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a small disk is mounted")
def test_a_disk_that_is_really_full_does_not_end_a_training(tmp_path):
    size = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(tmp_path)]
    if shutil.which("mount") is None or subprocess.run(size, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        model = torch.nn.Linear(100, 100)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with watch(model, optimizer, tmp_path / "run", schedule=1) as monitor:
                for step in range(300):
                    optimizer.zero_grad()
                    loss = model(torch.randn(2, 100)).mean()
                    (loss * (float("nan") if step == 9 else 1)).backward()
                    model.weight.grad.nan_to_num_()
                    model.bias.grad.nan_to_num_()
                    optimizer.step()
            history = monitor.history()
        told = [str(each.message) for each in caught]
        assert "The snapshot of the first bad step cannot be written" in told[0]
        assert "The log of the gradients cannot be written" in told[1]
        assert len(told) == 2
        assert history.steps.tolist() == list(range(1, 301))
        assert not list((tmp_path / "run").glob(".*"))
    finally:
        subprocess.run(["umount", str(tmp_path)], check=False)
