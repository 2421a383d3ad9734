"""`backlight layers` measured by several processes."""

import multiprocessing
import os
import signal

import pytest

import backlight
from backlight.errors import ConfigError, DatasetError, WorkerError
from backlight.runs.shards import LEAST_TOKENS, cut
from backlight.surveys.driver import conduct
from backlight.surveys.driver.engines import local
from zoo.folders import lines, numbers

pytestmark = pytest.mark.usefixtures("place", "no_figures")


@pytest.fixture
def large(options, place):
    """A survey of a corpus of three shards as they are cut for everybody."""
    (place / "rows.txt").write_text("\n".join(lines(420, seed=1)), encoding="utf-8")
    return {**options, "dataset": "rows.txt", "batch_size": 64, "quiet": True}


def killing(monkeypatch, places):
    """Kill the worker that has just been given a shard, at some places in the order of giving."""
    given, real = [], local._Worker.begin

    def begin(self, shard):
        real(self, shard)
        if len(given) in places:
            os.kill(self.process.pid, signal.SIGKILL)
        given.append(shard)

    monkeypatch.setattr(local._Worker, "begin", begin)
    return given


def test_workers_find_the_same_bytes_though_some_are_killed(large, place, monkeypatch):
    backlight.layers(**large, output_dir="alone")
    given = killing(monkeypatch, {1, 2})

    found = backlight.layers(**large, output_dir="together", workers=2)

    num_shards = len(cut([64 * 18] * 7, least=LEAST_TOKENS))
    assert num_shards >= 3
    assert len(given) == len(set(given)) + 2
    assert numbers(place / "together") == numbers(place / "alone")
    assert found.metadata["num_tokens"] > 2 * LEAST_TOKENS
    assert not multiprocessing.active_children()


@pytest.mark.slow  # each worker loads PyTorch and the model
def test_a_shard_that_kills_every_worker_is_an_error(large, monkeypatch):
    killing(monkeypatch, set(range(100)))

    with pytest.raises(WorkerError, match="3 workers died one after the other"):
        backlight.layers(**large, workers=1 + 1)
    assert not multiprocessing.active_children()


def test_a_model_or_data_in_memory_cannot_be_given_to_workers(options):
    with pytest.raises(ConfigError, match="other processes cannot be given a model or data"):
        backlight.layers(**{**options, "dataset": lines(9)}, workers=2)


@pytest.mark.slow  # each worker loads PyTorch and the model
def test_a_run_that_is_interrupted_leaves_no_process_and_goes_on(large, place, monkeypatch):
    backlight.layers(**large, output_dir="alone")
    real = local._Worker.answer

    def interrupted(self):
        answer = real(self)
        monkeypatch.setattr(local._Worker, "answer", stopped)
        return answer

    def stopped(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(local._Worker, "answer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        backlight.layers(**large, output_dir="out", workers=2)
    assert not multiprocessing.active_children()
    assert len(list((place / "out" / "shards").iterdir())) == 1
    monkeypatch.setattr(local._Worker, "answer", real)

    backlight.layers(**large, output_dir="out", resume=True, workers=2)

    assert numbers(place / "out") == numbers(place / "alone")


@pytest.mark.slow  # each worker loads PyTorch and the model
def test_what_workers_cannot_open_is_an_error_once(large, place, monkeypatch, capfd):
    real = local._Worker.__init__

    def gone(self, task):
        (place / "rows.txt").unlink(missing_ok=True)
        real(self, task)

    monkeypatch.setattr(local._Worker, "__init__", gone)

    with pytest.raises(DatasetError, match=r"rows\.txt"):
        backlight.layers(**large, output_dir="out", workers=2)

    assert "Traceback" not in capfd.readouterr().err
    assert not multiprocessing.active_children()


@pytest.mark.slow  # each worker loads PyTorch and the model
def test_progress_says_how_many_shards_workers_have_measured(large, monkeypatch):
    told = []
    monkeypatch.setattr(conduct.Bar, "after", lambda self, step, state="": told.append(state))

    backlight.layers(**large, workers=2)

    num = len(told)
    assert told == [f"{done} of {num} shards by 2 workers" for done in range(1, num + 1)]
