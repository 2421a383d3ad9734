"""`backlight layers` over a corpus of several shards."""

import re
from functools import partial

import numpy as np
import pytest

import backlight
from backlight import cli
from backlight.errors import RunDirectoryError
from backlight.runs.shards import cut
from backlight.runs.states import ShardStates
from backlight.surveys.driver.shards import sharding
from backlight.surveys.layers.measure import setup
from zoo.folders import contents, numbers
from zoo.stopping import stopping_after

pytestmark = pytest.mark.usefixtures("place", "no_figures")

NUM_BATCHES, NUM_SHARDS = 5, 3  # of 247 tokens


def cut_at(monkeypatch, least):
    monkeypatch.setattr(sharding, "cut", partial(cut, least=least))


@pytest.fixture
def words(survey, monkeypatch):
    """A survey of several shards."""
    cut_at(monkeypatch, 70)
    return partial(survey, output_dir="out", aggregation_mode="both")


@pytest.fixture
def whole(words, place):
    """What an uninterrupted survey finds."""
    assert cli.main(words(output_dir="whole")) == 0
    return numbers(place / "whole")


def test_shards_give_the_numbers_of_the_whole(options, monkeypatch):
    at_once = backlight.layers(**options, aggregation_mode="both")
    merged, real = [], sharding.Sharding.join

    def counting(self, first, second):
        merged.append(len(self.shards))
        return real(self, first, second)

    monkeypatch.setattr(sharding.Sharding, "join", counting)
    cut_at(monkeypatch, 70)
    by_shards = backlight.layers(**options, aggregation_mode="both")

    assert merged == [NUM_SHARDS] * (NUM_SHARDS - 1)
    assert by_shards.metadata["num_tokens"] == at_once.metadata["num_tokens"] == 247
    for name, array in at_once.statistics.items():
        np.testing.assert_allclose(by_shards.statistics[name], array, rtol=1e-12, atol=1e-18)


def test_a_finished_run_keeps_no_state_of_a_shard(words, place, whole):
    assert not [name for name in contents(place / "whole") if "shards" in name]
    assert not (place / "whole" / "shards").exists()


@pytest.mark.parametrize("seconds", [0.0, 1000.0], ids=["checkpoints", "no checkpoints"])
@pytest.mark.parametrize("num_batches", range(NUM_BATCHES))
def test_stopped_in_any_shard_a_survey_goes_on_to_the_same_bytes(
    words, place, whole, monkeypatch, num_batches, seconds
):
    with stopping_after(setup, "profile", num_batches, seconds=seconds):
        assert cli.main(words()) == 130
    left, real = [], setup.profile

    def counting(recorder, passages, batches, state, **options):
        left.append(len(batches) - state.loss.num_batches)
        return real(recorder, passages, batches, state, **options)

    monkeypatch.setattr(setup, "profile", counting)
    assert cli.main(words(resume=True)) == 0

    assert numbers(place / "out") == whole
    assert sum(left) <= NUM_BATCHES - num_batches + (0 if seconds == 0 else 1)
    assert not (place / "out" / "shards").exists()


@pytest.mark.parametrize("num_shards", range(NUM_SHARDS + 1))
def test_stopped_between_a_shard_and_the_next_it_goes_on(
    words, place, whole, monkeypatch, num_shards
):
    real, done = ShardStates.publish, []

    def stopping(self, shard, state):
        if len(done) == num_shards:
            raise KeyboardInterrupt
        real(self, shard, state)
        done.append(shard)

    def finish(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ShardStates, "publish", stopping)
        patch.setattr(backlight.runs.directory.RunDirectory, "finish", finish)
        assert cli.main(words()) == 130
    states = [name for name in contents(place / "out") if name.startswith("shards/")]
    assert len(states) == num_shards.bit_count() - (num_shards == NUM_SHARDS)

    assert cli.main(words(resume=True)) == 0
    assert numbers(place / "out") == whole


def test_a_survey_along_paths_is_merged_from_shards(options, monkeypatch):
    asked = {**options, "path": 2, "layers": "0,2"}
    at_once = backlight.layers(**asked).tables["completeness"]
    cut_at(monkeypatch, 70)
    by_shards = backlight.layers(**asked).tables["completeness"]

    for name, column in at_once.columns.items():
        np.testing.assert_array_equal(by_shards[name], column)


@pytest.mark.parametrize("least", [20, 100, 1000])
def test_states_of_another_cut_are_not_taken_up(options, monkeypatch, least):
    cut_at(monkeypatch, 70)
    with stopping_after(setup, "profile", 4, seconds=0.0), pytest.raises(KeyboardInterrupt):
        backlight.layers(**options, output_dir="out")
    cut_at(monkeypatch, least)

    with pytest.raises(RunDirectoryError, match="The shards changed since the run in 'out' began"):
        backlight.layers(**options, output_dir="out", resume=True)


def test_an_edited_state_is_refused(options, place, monkeypatch):
    cut_at(monkeypatch, 70)
    with stopping_after(setup, "profile", 4, seconds=1000.0), pytest.raises(KeyboardInterrupt):
        backlight.layers(**options, output_dir="out")
    path = place / "out" / "shards" / f"00000-0000{NUM_SHARDS - 1}.npz"
    content = path.read_bytes()
    path.write_bytes(content[:5000] + bytes(400) + content[5400:])

    with pytest.raises(RunDirectoryError, match=re.escape(f"{path.name}' is damaged")):
        backlight.layers(**options, output_dir="out", resume=True)


def test_overwriting_leaves_no_state_of_the_run_before(words, place, whole, monkeypatch):
    with stopping_after(setup, "profile", 4, seconds=0.0):
        assert cli.main(words()) == 130
    assert (place / "out" / "shards").exists()

    assert cli.main(words(overwrite=True)) == 0
    assert numbers(place / "out") == whole
