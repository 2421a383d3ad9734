"""Real clusters of Ray on this machine, of which workers and machines are killed.

They need the extra ``cluster``.
"""

import os
import re
import signal

import pytest

import backlight
from backlight import cli
from backlight.errors import DatasetError
from backlight.surveys.driver.engines import actors
from zoo.dictionaries import written
from zoo.folders import lines, numbers
from zoo.processes import commands

ray = pytest.importorskip("ray")

from ray.cluster_utils import Cluster  # noqa: E402  # it is not there without Ray

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("place", "no_figures"),
    pytest.mark.filterwarnings("ignore"),  # Ray's own
]


@pytest.fixture
def large(options, place):
    """A survey of a corpus of several shards."""
    (place / "rows.txt").write_text("\n".join(lines(840, seed=1)), encoding="utf-8")
    return {**options, "dataset": "rows.txt", "num_samples": 840, "batch_size": 64, "quiet": True}


@pytest.fixture
def machines(monkeypatch):
    """Three simulated machines of one CPU each, which this process has joined."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    ray.init(cluster.address, logging_level="ERROR")
    monkeypatch.setattr(actors, "SECONDS_TO_DOUBT", 5.0)
    yield cluster, nodes
    ray.shutdown()
    cluster.shutdown()


def measurers():
    """Find the processes of actors."""
    return [pid for pid, _, words in commands() if words.startswith(b"ray::Measurer")]


def at_shard(monkeypatch, number, act):
    """Act once, right after so many shards were given out."""
    real, given = actors._Team.begin, []

    def begin(self, shard):
        real(self, shard)
        given.append(shard)
        if len(given) == number:
            act()

    monkeypatch.setattr(actors._Team, "begin", begin)
    return given


@pytest.fixture
def features(large, place):
    """A survey of features of random dictionaries, which reconstruct nothing."""
    written(place / "dictionaries")
    rows = lines(2400, seed=1)  # a shard of features has more tokens
    (place / "rows.txt").write_text("\n".join(rows), encoding="utf-8")
    own = {"sae_path": "dictionaries", "allow_poor_reconstruction": True, "num_samples": len(rows)}
    return {**large, **own, "figures": "none"}


@pytest.mark.parametrize("survey", ["layers", "flow", "sae"])
def test_two_actors_of_which_one_is_killed_find_the_same_bytes(
    survey, large, features, place, monkeypatch
):
    measure = getattr(backlight, survey)
    asked = features if survey == "sae" else {**large, "figures": "none"}
    measure(**asked, output_dir="alone")
    given = at_shard(monkeypatch, 3, lambda: os.kill(measurers()[0], signal.SIGKILL))

    measure(**asked, output_dir="together", workers=2, cluster="auto")

    assert len(given) > len(set(given)) >= 3
    assert numbers(place / "together") == numbers(place / "alone")
    assert not measurers()
    assert not ray.is_initialized()


def test_three_machines_of_which_one_goes_away_find_the_same_bytes(
    large, place, monkeypatch, machines
):
    cluster, nodes = machines
    backlight.layers(**large, output_dir="alone")
    given = at_shard(monkeypatch, 3, lambda: cluster.remove_node(nodes[0], allow_graceful=False))

    backlight.layers(**large, output_dir="together", workers=3, cluster="auto")

    assert len(set(given)) >= 5
    assert numbers(place / "together") == numbers(place / "alone")
    assert ray.is_initialized()  # the caller had joined it


def test_prompts_are_measured_on_a_cluster_too(place):
    words = ["tokens", "--task_type", "distance", "--n_samples", "200", "--batch_size", "20"]
    words += ["--target_layers", "1", "--figures", "none", "--quiet", "--output_dir"]
    assert cli.main([*words, "alone"]) == 0

    assert cli.main([*words, "together", "--cluster", "auto", "--workers", "2"]) == 0

    assert numbers(place / "together") == numbers(place / "alone")


def test_a_text_that_actors_do_not_have_is_an_error_once(large, place, monkeypatch, capfd):
    real = actors.joined

    def gone(address):
        (place / "rows.txt").unlink()
        return real(address)

    monkeypatch.setattr(actors, "joined", gone)

    with pytest.raises(DatasetError, match=re.escape("rows.txt")):
        backlight.layers(**large, output_dir="out", workers=2, cluster="auto")
    assert "Traceback" not in capfd.readouterr().err
