"""`backlight sae` over a corpus of several shards, by one process or several."""

import os
import signal
import tracemalloc
from dataclasses import replace
from functools import partial
from itertools import chain

import numpy as np
import pytest
import torch

import backlight
from backlight import cli
from backlight.errors import ConfigError
from backlight.surveys.driver.clock import Clock
from backlight.surveys.driver.engines import local
from backlight.surveys.driver.material.opening import Opening
from backlight.surveys.features import figures
from backlight.surveys.features.measure import chunks, setup
from backlight.surveys.features.measure.survey import FeatureSurvey, join_by_layer
from backlight.surveys.features.options import SaeConfig
from zoo.dictionaries import random_dictionary, written
from zoo.folders import contents, lines, numbers
from zoo.stopping import stopping

pytestmark = pytest.mark.usefixtures("place", "plain")

ALL_TOKENS = 247

WAYS = [
    {"splice": "error", "aggregation_mode": "both"},
    {"splice": "error", "aggregation_mode": "mean", "warn": True},
    {"splice": "error", "aggregate_by": "values", "keep_groups": True},
    {"splice": "error", "aggregation_mode": "both", "keep_groups": True, "path": 2},
    {"splice": "replace", "aggregation_mode": "both", "keep_groups": True},
    {"splice": "replace", "active_only": True, "keep_groups": True},
    {"splice": "replace", "aggregate_by": "grad_x_act", "path": 2},
]


@pytest.fixture
def plain(monkeypatch):
    """Leave figures out."""
    monkeypatch.setattr(figures, "draw", lambda results: iter(()))


@pytest.fixture(scope="session")
def dictionaries(tmp_path_factory):
    """One for each layer of the tiny model."""
    folder = tmp_path_factory.mktemp("dictionaries")
    return written(folder)


@pytest.fixture
def asked(options, dictionaries):
    """Options of a survey; random dictionaries reconstruct nothing, so that must be allowed."""
    own = {"sae_path": str(dictionaries), "allow_poor_reconstruction": True, "quiet": True}
    return {**options, **own}


@pytest.fixture
def large(asked, place):
    """A survey of a corpus of three shards as they are cut for everybody."""
    (place / "rows.txt").write_text("\n".join(lines(1200, seed=1)), encoding="utf-8")
    rest = {"dataset": "rows.txt", "num_samples": 1200, "batch_size": 64}
    return {**asked, **rest, "layers": "0,2"}


def words(asked, **others):
    line = ["sae"]
    for name, value in {**asked, **others}.items():
        line += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return line


def cut_at(monkeypatch, least):
    monkeypatch.setattr(chunks, "LEAST_TOKENS", least)


def prepared(asked, **others):
    options = SaeConfig(**{**asked, **others})
    return setup.prepare(options, Opening(options, None, Clock()))


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_shards_give_the_numbers_of_the_whole(asked, way, monkeypatch):
    at_once = backlight.sae(**asked, **way)
    merged, real = [], setup.join_by_layer

    def counting(*parts):
        merged.append(len(parts))
        return real(*parts)

    monkeypatch.setattr(setup, "join_by_layer", counting)
    cut_at(monkeypatch, 70)
    by_shards = backlight.sae(**asked, **way)

    assert len(merged) == 2
    assert at_once.statistics.keys() == by_shards.statistics.keys()
    for name, array in at_once.statistics.items():
        np.testing.assert_allclose(by_shards.statistics[name], array, rtol=2e-5, atol=1e-9)
    for name in ("layers", "top_features", "completeness"):
        if name in at_once.tables:
            assert by_shards.tables[name].num_rows == at_once.tables[name].num_rows > 0
    np.testing.assert_array_equal(
        by_shards.tables["layers"]["num_tokens"], at_once.tables["layers"]["num_tokens"]
    )


@pytest.mark.parametrize("memory", ["1KB", "40KB", "1GB"])
@pytest.mark.parametrize("splice", ["replace", "error"])
def test_a_shard_is_whole_chunks_of_the_whole_corpus(asked, splice, memory, monkeypatch):
    cut_at(monkeypatch, 70)
    made = prepared(asked, splice=splice, aggregation_mode="both", chunk_memory=memory)
    sharding, passages = made.sharding, made.corpus.passages
    going = setup.feature_pass(made.corpus.subject, made.state.plan)
    cut = partial(
        chunks.chunks_of,
        passages,
        bytes_per_position=going.bytes_per_position(made.plan),
        chunk_bytes=SaeConfig(chunk_memory=memory).chunk_bytes,
        chunk_tokens=70,
    )

    by_shard = [cut([sharding.batches[each] for each in shard]) for shard in sharding.shards]

    assert list(chain.from_iterable(by_shard)) == cut(sharding.batches)
    assert sum(map(len, sharding.shards)) == len(sharding.batches)
    assert len(sharding.shards) == 3
    assert made.total == ALL_TOKENS * len(made.plan)


def test_a_large_state_is_written_for_many_tokens():
    assert chunks.enough_tokens(1_000_000) == chunks.LEAST_TOKENS
    assert chunks.enough_tokens(200_000_000) == 20_000


@pytest.mark.parametrize("way", WAYS[2:6], ids=str)
def test_stopped_within_a_chunk_it_goes_on_to_the_same_bytes(asked, way, place, monkeypatch):
    cut_at(monkeypatch, 70)
    assert cli.main(words(asked, **way, output_dir="whole")) == 0
    bars, real = [], backlight.surveys.driver.conduct.Bar

    def counting(*title, **options):
        bars.append(options)
        return real(*title, **options)

    with stopping(setup, "survey_features", 5):
        assert cli.main(words(asked, **way, output_dir="out")) == 130
    monkeypatch.setattr("backlight.surveys.driver.conduct.Bar", counting)

    assert cli.main(words(asked, **way, output_dir="out", resume=True)) == 0

    assert numbers(place / "out") == numbers(place / "whole")
    assert not (place / "out" / "shards").exists()
    (bar,) = bars
    assert bar["total"] == ALL_TOKENS * 3
    assert bar["done"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("splice", ["replace", "error"])
def test_workers_find_the_same_bytes_though_one_is_killed(large, splice, place, monkeypatch):
    way = {"splice": splice, "aggregation_mode": "both", "keep_groups": True}
    backlight.sae(**large, **way, output_dir="alone")
    given, real = [], local._Worker.begin

    def begin(self, shard):
        real(self, shard)
        if len(given) == 1:
            os.kill(self.process.pid, signal.SIGKILL)
        given.append(shard)

    monkeypatch.setattr(local._Worker, "begin", begin)
    backlight.sae(**large, **way, output_dir="together", workers=2)

    assert len(set(given)) == 3
    assert len(given) == 4
    assert numbers(place / "together") == numbers(place / "alone")


def test_parts_give_the_bytes_of_a_run(asked, place, monkeypatch):
    cut_at(monkeypatch, 70)
    assert cli.main(words(asked, output_dir="whole")) == 0
    assert cli.main(["plan", *words(asked, output_dir="out")]) == 0
    for part in ("1/2", "0/2"):
        assert cli.main(["worker", "out", "--part", part]) == 0
    assert sum(name.startswith("shards/") for name in contents(place / "out")) == 3

    assert cli.main(["merge", "out"]) == 0

    assert numbers(place / "out") == numbers(place / "whole")


def test_dictionaries_in_memory_cannot_be_given_to_workers(options):
    loaded = {1: random_dictionary(32, dtype=torch.float32, seed=1)}

    with pytest.raises(ConfigError, match="other processes cannot be given dictionaries in memory"):
        backlight.sae(**options, dictionaries=loaded, site="mlp.out", workers=2)


def wide(placed, num_features):
    """Give a dictionary more features, for states alone."""
    counts = torch.zeros(num_features, dtype=torch.int64)
    return replace(placed, fidelity=replace(placed.fidelity, counts=counts))


def of_ones(survey):
    """A state that has seen something, of which merging adds up every number."""
    state = {name: array.copy() for name, array in survey.state().items()}
    for array in state.values():
        if array.dtype.kind == "f" and not np.isnan(array).any():
            array += 1
    return state


@pytest.mark.parametrize("splice", ["replace", "error"])
def test_to_merge_large_states_takes_little_more_memory_than_they(asked, splice):
    made = prepared(asked, splice=splice, aggregation_mode="both", keep_groups=True)
    placed = [wide(each, 5_000) for each in made.plan]

    def fresh(dictionaries=placed):
        return FeatureSurvey(made.state.plan, dictionaries)

    expected, other = fresh(), fresh()
    for each in (expected, other):
        each.restore(of_ones(fresh()))
    expected.merge(other)
    tracemalloc.start()
    first, second = of_ones(fresh()), of_ones(fresh())
    size = sum(array.nbytes for array in first.values())
    tracemalloc.reset_peak()
    joined = join_by_layer(fresh, placed, first, second)
    now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert joined.keys() == expected.state().keys()
    for name, array in expected.state().items():
        np.testing.assert_array_equal(joined[name], array)
    assert first == second == {}
    assert 0.95 * size < now < 1.1 * size
    assert peak < 3.2 * size  # of three layers: both states, and the states of two of one layer
