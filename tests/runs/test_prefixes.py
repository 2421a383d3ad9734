"""Shards of which no more are kept than are needed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backlight.errors import RunDirectoryError
from backlight.runs.files import npz_bytes
from backlight.runs.prefixes import PrefixStates
from backlight.runs.shelves import Memory
from backlight.runs.states import ShardStates, state_names
from zoo.shards import Killed, Mortal, join, state_of


class Enough:
    """Is content with some shards, and writes down what it was asked."""

    def __init__(self, num_shards):
        self.num_shards, self.asked = num_shards, []

    def part(self, state):
        return {"sum": state["sum"]}

    def is_enough(self, part, num_shards):
        self.asked.append((num_shards, part["sum"].tobytes()))
        return num_shards >= self.num_shards


def states(num, shelf, rule):
    return PrefixStates(num, shelf, join, owner="run", rule=rule)


def whole_of(num):
    """The bytes of a run that has no more shards than these, and was never stopped."""
    kept = ShardStates(num, Memory(), join, owner="run")
    for shard in range(num):
        kept.publish(shard, state_of(shard))
    return npz_bytes(kept.whole())


_ARRIVALS = st.integers(1, 20).flatmap(
    lambda num: st.tuples(st.permutations(range(num)), st.integers(1, num))
)


@given(_ARRIVALS)
def test_a_stopped_run_has_the_bytes_of_a_run_of_its_shards_alone(arrival_and_enough):
    arrival, enough = arrival_and_enough
    kept = states(len(arrival), Memory(), Enough(enough))
    for shard in arrival:
        kept.publish(shard, state_of(shard))

    assert kept.num_needed == enough
    assert npz_bytes(kept.whole()) == whole_of(enough)
    assert kept.missing() == []


@given(_ARRIVALS)
def test_it_is_asked_once_in_order_with_the_same_sums_whatever_the_order_of_arrival(given_arrival):
    arrival, enough = given_arrival
    rule, in_order = Enough(enough), Enough(enough)
    for one, order in ((rule, arrival), (in_order, range(len(arrival)))):
        kept = states(len(arrival), Memory(), one)
        for shard in order:
            kept.publish(shard, state_of(shard))

    assert rule.asked == in_order.asked
    assert [count for count, _ in rule.asked] == list(range(1, enough + 1))
    last = ShardStates(enough, Memory(), join, owner="run")
    for shard in range(enough):
        last.publish(shard, state_of(shard))
    assert rule.asked[-1][1] == last.whole()["sum"].tobytes()


@given(_ARRIVALS, st.lists(st.integers(0, 12), max_size=12))
def test_killed_between_any_two_file_operations_it_stops_at_the_same_place(given_arrival, lives):
    arrival, enough = given_arrival
    asked_alone = Enough(enough)
    alone = states(len(arrival), Memory(), asked_alone)
    for shard in range(enough):
        alone.publish(shard, state_of(shard))
    shelf = Memory()
    for num_operations in [*lives, 1000]:
        rule = Enough(enough)
        try:
            kept = states(len(arrival), Mortal(shelf, num_operations), rule)
            kept.tidy()
            for shard in arrival:
                kept.publish(shard, state_of(shard))
        except Killed:
            continue
        finally:
            assert set(rule.asked) <= set(asked_alone.asked)

    assert kept.num_needed == enough
    assert npz_bytes(kept.whole()) == whole_of(enough)
    assert kept.part()["sum"].tobytes() == asked_alone.asked[-1][1]


def test_shards_behind_the_last_that_is_needed_are_dropped():
    shelf = Memory()
    kept = states(9, shelf, Enough(3))
    for shard in (8, 4, 1, 0, 2):
        kept.publish(shard, state_of(shard))
    kept.publish(7, state_of(7))

    assert shelf.names() == {"shards/00000-00002.npz", "shards/00002-00003.npz"}


def test_nothing_is_merged_before_it_was_asked_whether_it_is_enough():
    shelf = Memory()
    kept = states(8, shelf, Enough(3))
    for shard in (2, 3):
        kept.publish(shard, state_of(shard))

    assert shelf.names() == {"shards/00002-00003.npz", "shards/00003-00004.npz"}
    assert kept.missing() == [0, 1, 4, 5, 6, 7]


@given(st.integers(1, 40))
def test_every_file_has_one_of_the_names_that_are_listed(num):
    shelf = Memory()
    names = set()
    kept = states(num, shelf, Enough(num))
    for shard in range(num):
        kept.publish(shard, state_of(shard))
        names |= shelf.names()

    assert names <= set(state_names(num))


def test_a_damaged_state_is_refused():
    shelf = Memory()
    kept = states(4, shelf, Enough(4))
    kept.publish(0, state_of(0))
    shelf.put("shards/00000-00001.npz", shelf.read("shards/00000-00001.npz")[:-9])

    with pytest.raises(RunDirectoryError, match="delete it to measure them anew"):
        states(4, shelf, Enough(4)).tidy()
