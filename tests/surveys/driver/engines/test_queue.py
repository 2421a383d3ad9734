"""Shards that are given out, lost and given out again."""

import pytest
from hypothesis import given, strategies

from backlight.errors import WorkerError
from backlight.surveys.driver.engines.queue import MOST_DEATHS, ShardQueue


@given(strategies.data())
def test_every_shard_is_done_once_whatever_is_lost_and_doubted(data):
    queue, done, out = ShardQueue(range(5)), [], []
    deaths = dict.fromkeys(range(5), 0)
    while queue.is_open:
        if (shard := queue.take()) is not None:
            out.append(shard)
        if not out or data.draw(strategies.booleans()):
            queue.doubt()
            continue
        shard = out.pop(data.draw(strategies.integers(0, len(out) - 1)))
        if deaths[shard] < MOST_DEATHS - 1 and data.draw(strategies.booleans()):
            deaths[shard] += 1
            queue.lost(shard)
        elif queue.done(shard):
            done.append(shard)

    assert sorted(done) == list(range(5))
    assert queue.take() is None


def test_what_is_lost_is_next_and_what_is_doubted_is_given_to_two_at_most():
    queue = ShardQueue([0, 1, 2])
    assert [queue.take(), queue.take()] == [0, 1]
    queue.lost(1)
    assert [queue.take(), queue.take(), queue.take()] == [1, 2, None]

    queue.doubt()
    assert [queue.take() for _ in range(4)] == [0, 1, 2, None]
    queue.doubt()

    assert queue.take() is None


def test_a_shard_that_kills_every_worker_ends_the_run_and_says_why():
    queue = ShardQueue([7])
    for _ in range(MOST_DEATHS - 1):
        queue.take()
        queue.lost(7, "no memory")
    queue.take()

    with pytest.raises(
        WorkerError, match=r"3 workers died .* shard 7; no memory\. Fewer --workers"
    ):
        queue.lost(7, "no memory")
