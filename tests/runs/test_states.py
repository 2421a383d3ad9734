import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backlight.errors import RunDirectoryError
from backlight.runs.files import npz_bytes
from backlight.runs.shelves import Folder, Memory
from backlight.runs.states import ShardStates, state_names
from backlight.runs.stores import Disk
from zoo.shards import Killed, Mortal, join, state_of

OWNER = "the digest of config.yaml"


def states(num, shelf):
    return ShardStates(num, shelf, join, owner=OWNER)


def in_order(num):
    shelf = Memory()
    kept = states(num, shelf)
    for shard in range(num):
        kept.publish(shard, state_of(shard))
    return npz_bytes(kept.whole())


@given(st.integers(1, 20).flatmap(lambda num: st.permutations(range(num))))
def test_the_merged_state_has_the_same_bytes_whatever_the_order_of_arrival(arrival):
    kept = states(len(arrival), Memory())
    for shard in arrival:
        kept.publish(shard, state_of(shard))

    assert npz_bytes(kept.whole()) == in_order(len(arrival))


@given(
    st.integers(1, 12).flatmap(lambda num: st.permutations(range(num))),
    st.lists(st.integers(0, 12), max_size=12),
)
def test_killed_between_any_two_file_operations_it_goes_on_to_the_same_bytes(arrival, lives):
    shelf = Memory()
    for num_operations in [*lives, 1000]:
        try:
            kept = states(len(arrival), Mortal(shelf, num_operations))
            kept.tidy()
            left = kept.missing()
            for shard in arrival:
                if shard in left:
                    kept.publish(shard, state_of(shard))
        except Killed:
            continue

    assert npz_bytes(kept.whole()) == in_order(len(arrival))
    assert shelf.names() == {state_names(len(arrival))[0]}


@given(st.integers(1, 12), st.integers(1, 5))
def test_what_workers_deposit_is_merged_in_the_same_tree(num, num_workers):
    shelf = Memory()
    for worker in range(num_workers):
        own = states(num, shelf)
        for shard in range(worker, num, num_workers):
            own.deposit(shard, state_of(shard))

    kept = states(num, shelf)
    kept.tidy()

    assert npz_bytes(kept.whole()) == in_order(num)
    assert len(shelf.names()) == 1


def test_the_tree_is_the_one_of_binary_numbers():
    kept = states(5, Memory())
    for shard in (4, 2, 0, 3, 1):
        kept.publish(shard, state_of(shard))

    assert str(kept.whole()["order"]) == "(((0 1) (2 3)) 4)"


def test_one_process_keeps_no_more_files_than_the_number_of_its_shards_has_digits():
    shelf = Memory()
    kept = states(100, shelf)
    for shard in range(99):
        kept.publish(shard, state_of(shard))
        assert len(shelf.names()) == (shard + 1).bit_count()


def test_a_shard_that_was_measured_twice_counts_once():
    kept = states(3, Memory())
    for shard in (0, 0, 1, 0, 1, 2):
        kept.publish(shard, state_of(shard))

    assert npz_bytes(kept.whole()) == in_order(3)


def test_what_is_missing_is_said():
    kept = states(4, Memory())
    kept.publish(1, state_of(1))
    kept.publish(0, state_of(0))

    assert kept.missing() == [2, 3]
    with pytest.raises(RunDirectoryError, match=r"2 of 4 shards are not measured yet\."):
        kept.whole()


def test_a_damaged_state_is_refused_and_measured_anew_once_it_is_deleted(tmp_path):
    folder = Folder(Disk(tmp_path), state_names(2))
    states(2, folder).publish(0, state_of(0))
    path = tmp_path / "shards" / "00000-00001.npz"
    content = bytearray(path.read_bytes())
    content[-200] ^= 1
    path.write_bytes(content)

    with pytest.raises(RunDirectoryError, match=re.escape("00000-00001.npz' is damaged")):
        states(2, folder).publish(1, state_of(1))
    path.unlink()
    kept = states(2, folder)
    kept.publish(0, state_of(0))

    assert npz_bytes(kept.whole()) == in_order(2)


def test_a_state_of_another_run_or_of_other_shards_is_refused(tmp_path):
    folder = Folder(Disk(tmp_path), state_names(2))
    ShardStates(2, folder, join, owner="another").publish(0, state_of(0))
    with pytest.raises(RunDirectoryError, match="it is that of another run"):
        states(2, folder).publish(1, state_of(1))

    states(2, folder).deposit(0, state_of(0))
    shards = tmp_path / "shards"
    (shards / "00000-00001.npz").replace(shards / "00001-00002.npz")
    with pytest.raises(RunDirectoryError, match="it is that of another run"):
        states(2, folder).publish(0, state_of(0))


def test_only_files_that_can_be_states_are_looked_at(tmp_path):
    folder = Folder(Disk(tmp_path), state_names(2))
    states(2, folder).publish(1, state_of(1))
    (tmp_path / "shards" / "notes.npz").write_bytes(b"mine")
    (tmp_path / "shards" / "00001-00003.npz").write_bytes(b"of a plan with more shards")

    assert folder.names() == {"shards/00001-00002.npz"}
