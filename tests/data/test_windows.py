"""Passages in an order drawn by chance."""

import numpy as np
import pytest

from backlight.data.batches import Passages
from backlight.data.windows import draw_windows


def corpus(num):
    random = np.random.default_rng(5)
    return Passages(tokens=[np.zeros(random.integers(2, 30), dtype=np.int64) for _ in range(num)])


@pytest.mark.parametrize(("num", "batch_size"), [(1, 4), (32, 4), (33, 4), (200, 3), (90, 64)])
def test_windows_are_the_drawn_order_one_after_another(num, batch_size):
    passages = corpus(num)

    found = draw_windows(passages, batch_size=batch_size, seed=7)

    order = np.random.default_rng(7).permutation(num).tolist()
    start = 0
    for shard, end in zip(found.shards, found.num_passages, strict=True):
        members = [member for batch in shard for member in found.batches[batch]]
        assert sorted(members) == sorted(order[start:end])
        start = end
    assert start == num
    assert found.shards[-1].stop == len(found.batches)
    size = -(-32 // batch_size) * batch_size
    assert found.num_passages[0] == min(num, size)


def test_within_a_window_passages_of_like_length_are_together():
    passages = corpus(64)

    found = draw_windows(passages, batch_size=4, seed=0)

    for batch in found.batches:
        lengths = [len(passages.tokens[member]) for member in batch]
        assert lengths == sorted(lengths, reverse=True)
    spread = [np.ptp([len(passages.tokens[m]) for m in batch]) for batch in found.batches]
    assert np.mean(spread) < 6


def test_of_any_corpus_there_are_no_more_windows_than_shards_may_be():
    ends = draw_windows(corpus(20_000), batch_size=4, seed=0).num_passages
    growth = np.diff(ends[-10:-1]) / ends[-10:-2]

    assert ends[:2] == [32, 64]
    assert growth == pytest.approx(1 / 64, rel=0.05)
    assert len(ends) + 64 * np.log(1e9 / 20_000) < 1024
