"""What the driver makes of what actors of a cluster do, without a cluster."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest

from backlight.errors import DatasetError, WorkerError
from backlight.surveys import SURVEYS
from backlight.surveys.driver.engines import actors
from backlight.surveys.driver.engines.actors import RayActors
from backlight.surveys.driver.engines.task import Task

TASK = Task(
    survey=SURVEYS["layers"], options=SimpleNamespace(device="auto"), material={}, threads=1
)


class RayError(Exception):
    """As Ray has it."""


class FakeRay:
    """A cluster of which a test says what becomes of each call."""

    def __init__(self, becomes, *, gpus=0):
        self.exceptions = SimpleNamespace(RayError=RayError)
        self.becomes, self.gpus = becomes, gpus
        self.calls, self.killed, self.declared, self.left = [], [], {}, False

    def is_initialized(self):
        return False

    def init(self, address, **_):
        self.address = address

    def shutdown(self):
        self.left = True

    def cluster_resources(self):
        return {"CPU": 2.0, "GPU": float(self.gpus)}

    def remote(self, kind):
        assert kind is actors.Measurer
        return self

    def options(self, **declared):
        self.declared = declared
        fake = self
        places = iter(range(100))

        def start(task, directory):
            place = next(places)

            def call(name):
                def remote(*shard):
                    fake.calls.append((place, name, *shard))
                    return len(fake.calls) - 1

                return SimpleNamespace(remote=remote)

            return _Actor(place, open=call("open"), measure=call("measure"))

        return SimpleNamespace(remote=start)

    def wait(self, references, *, num_returns, timeout):
        assert 0 < timeout <= 60
        ready = [each for each in references if self.becomes(self.calls[each]) != "hangs"]
        return ready[:num_returns], []

    def get(self, reference):
        answer = self.becomes(self.calls[reference])
        if isinstance(answer, RayError):
            raise answer
        return answer

    def kill(self, actor, *, no_restart):
        assert no_restart
        self.killed.append(actor.place)


class _Actor:
    def __init__(self, place, **calls):
        self.place = place
        self.__dict__.update(calls)


def state_of(call):
    return {"seen": np.array(call[2])} if call[1] == "measure" else None


def measured(monkeypatch, becomes, shards=range(4), num=2, **cluster):
    fake = FakeRay(becomes, **cluster)
    monkeypatch.setattr("backlight.surveys.driver.engines.cluster.ray_module", lambda: fake)
    engine = RayActors("auto", num, TASK)
    found = []

    def go():
        found.extend((shard, int(state["seen"])) for shard, state in engine.measured(shards))

    return fake, go, found


def test_all_shards_are_measured_and_the_cluster_is_left(monkeypatch):
    fake, go, found = measured(monkeypatch, state_of)

    go()

    assert sorted(found) == [(shard, shard) for shard in range(4)]
    assert fake.declared == {"num_cpus": 1, "num_gpus": 0, "max_restarts": -1}
    assert fake.killed == [0, 1]
    assert fake.left


def test_an_actor_is_at_its_next_shard_before_its_last_one_is_merged(monkeypatch):
    fake = FakeRay(state_of)
    monkeypatch.setattr("backlight.surveys.driver.engines.cluster.ray_module", lambda: fake)
    states = RayActors("auto", 1, TASK).measured([4, 5])

    assert next(states)[0] == 4
    assert fake.calls[-1] == (0, "measure", 5)
    assert [shard for shard, _ in states] == [5]


def test_each_actor_has_a_gpu_where_the_cluster_has_some(monkeypatch):
    fake, go, _ = measured(monkeypatch, state_of, gpus=2)

    go()

    assert fake.declared["num_gpus"] == 1


def test_a_shard_of_an_actor_that_dies_is_measured_by_a_living_one(monkeypatch):
    dead = []

    def becomes(call):
        if call[0] == 0 and call[1] == "measure":
            dead.append(call[2])
            return RayError("The actor died.")
        return "hangs" if call[0] == 0 and dead else state_of(call)

    fake, go, found = measured(monkeypatch, becomes)

    go()

    assert len(set(dead)) == 1
    assert sorted(found) == [(shard, shard) for shard in range(4)]
    assert [call for call in fake.calls if call[0] == 0][-1] == (0, "open")  # it got nothing more


def test_what_never_comes_back_is_measured_by_another_one_without_waiting(monkeypatch):
    _, go, found = measured(
        monkeypatch,
        lambda call: "hangs" if call[:2] == (1, "measure") else state_of(call),
    )

    go()

    assert sorted(found) == [(shard, shard) for shard in range(4)]


def test_actors_for_which_there_is_no_place_are_told_once(monkeypatch, caplog):
    asked = []

    def becomes(call):
        asked.append(call)
        return "hangs" if call[0] == 1 or len(asked) < 5 else state_of(call)

    _, go, found = measured(monkeypatch, becomes)

    with caplog.at_level(logging.WARNING, "backlight"):
        go()

    assert len(found) == 4
    assert [each.getMessage() for each in caplog.records] == [
        "Of 2 workers on the cluster 2 did not start yet; the cluster has 2 CPUs and 0 GPUs."
    ]


def test_what_an_actor_cannot_open_is_an_error_of_the_run(monkeypatch):
    fake, go, _ = measured(monkeypatch, lambda call: DatasetError("There is no text rows.txt."))

    with pytest.raises(DatasetError, match=r"There is no text rows\.txt\."):
        go()
    assert fake.killed == [0, 1]


def test_actors_that_cannot_be_started_at_all_are_an_error_that_says_why(monkeypatch):
    fake, go, _ = measured(
        monkeypatch, lambda call: RayError("failed to import\nNo module named 'backlight'")
    )

    with pytest.raises(
        WorkerError, match=r"no actor could be started; .*No module named 'backlight'.*same Python"
    ):
        go()
    assert fake.killed == [0, 1]
    assert len(fake.calls) <= 6


def test_a_shard_that_kills_every_actor_is_an_error_that_says_why(monkeypatch):
    _, go, _ = measured(
        monkeypatch,
        lambda call: RayError("CUDA out of memory") if call[1] == "measure" else state_of(call),
        shards=[5],
    )

    with pytest.raises(WorkerError, match=r"measured shard 5; the last one: .*CUDA out of memory"):
        go()


def test_an_actor_answers_what_is_wrong_and_opens_what_is_measured_once(monkeypatch, tmp_path):
    opened = []

    def measuring(task):
        opened.append(task)
        if len(opened) == 1:
            raise DatasetError("not here")
        return lambda shard: {"seen": np.array(shard)}

    monkeypatch.setattr(actors, "measuring", measuring)
    monkeypatch.chdir(tmp_path)
    actor = actors.Measurer(TASK, str(tmp_path / "elsewhere"))

    assert isinstance(actor.open(), DatasetError)
    assert actor.open() is None
    assert actor.open() is None
    assert actor.measure(3)["seen"] == 3
    assert opened == [TASK, TASK]
