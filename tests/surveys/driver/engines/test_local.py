"""What the driver makes of what processes of this machine do, without the processes."""

from multiprocessing import Pipe

import numpy as np
import pytest

from backlight.errors import DatasetError, WorkerError
from backlight.surveys import SURVEYS
from backlight.surveys.driver.engines import local
from backlight.surveys.driver.engines.local import LocalWorkers
from backlight.surveys.driver.engines.task import Task


class FakeWorker(local._Worker):
    """A worker whose options say at once what becomes of a shard: a state, an error, or None."""

    def __init__(self, task):
        self.connection, self._theirs = Pipe()
        self._task, self.shard, self.is_left = task, None, False
        TEAM.append(self)

    def begin(self, shard):
        self.shard = shard
        answer = self._task.options(shard)
        if answer is not None:
            self._theirs.send(answer)
        else:
            self._theirs.close()

    def dismiss(self):
        self.is_left = True
        self.connection.close()
        self._theirs.close()


TEAM = []


def engine(*becomes):
    tasks = [
        Task(survey=SURVEYS["layers"], options=each, material={}, threads=1) for each in becomes
    ]
    return LocalWorkers(tasks)


@pytest.fixture(autouse=True)
def _fakes(monkeypatch):
    TEAM.clear()
    monkeypatch.setattr(local, "_Worker", FakeWorker)


def state_of(shard):
    return {"seen": np.array(shard)}


def test_a_worker_is_at_its_next_shard_before_its_last_one_is_merged():
    states = engine(state_of).measured([4, 5])

    assert next(states)[0] == 4
    assert TEAM[0].shard == 5
    assert [shard for shard, _ in states] == [5]


@pytest.mark.parametrize("num", [1, 2, 3, 9])
def test_every_shard_comes_back_once_and_everyone_is_dismissed(num):
    states = engine(*[state_of] * num).measured(range(7))

    assert sorted((shard, int(state["seen"])) for shard, state in states) == [
        (shard, shard) for shard in range(7)
    ]
    assert len(TEAM) == min(num, 7)
    assert all(each.is_left for each in TEAM)


def test_the_shard_of_a_worker_that_dies_is_measured_by_the_one_in_its_place():
    deaths = []

    def dies_once(shard):
        if shard == 2 and not deaths:
            deaths.append(shard)
            return None
        return state_of(shard)

    states = engine(dies_once, dies_once).measured(range(5))

    assert sorted(shard for shard, _ in states) == list(range(5))
    assert (deaths, len(TEAM)) == ([2], 3)


def test_a_shard_that_kills_every_worker_ends_the_run_with_the_others_kept():
    states = engine(lambda shard: None if shard == 1 else state_of(shard)).measured([0, 1])

    assert next(states)[0] == 0
    with pytest.raises(WorkerError, match=r"3 workers died one after the other .* shard 1"):
        next(states)


def test_what_a_worker_raises_is_raised_here():
    states = engine(lambda shard: DatasetError("no text")).measured([0])

    with pytest.raises(DatasetError, match="no text"):
        next(states)
    assert TEAM[0].is_left
