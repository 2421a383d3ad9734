import pytest
from hypothesis import given
from hypothesis import strategies as st

from backlight.runs.shards import MOST_SHARDS, Span, cut, tree

SIZES = st.lists(st.integers(2, 5000), min_size=1, max_size=60)


@given(SIZES, st.integers(1, 6000))
def test_every_batch_is_in_one_shard_and_shards_follow_each_other(sizes, least):
    shards = cut(sizes, least=least)

    assert [batch for shard in shards for batch in shard] == list(range(len(sizes)))


@given(SIZES, st.integers(1, 6000))
def test_a_shard_has_as_few_batches_as_give_it_enough_tokens(sizes, least):
    *shards, _ = cut(sizes, least=least)

    for shard in shards:
        tokens = [sizes[batch] for batch in shard]
        assert sum(tokens) >= least > sum(tokens[:-1])


@pytest.mark.parametrize("num", [MOST_SHARDS - 1, MOST_SHARDS, MOST_SHARDS + 1, 5000, 10_240])
def test_a_large_corpus_has_larger_shards_instead_of_more(num):
    assert len(cut([3000] * num)) <= MOST_SHARDS
    assert len(cut([3000] * num)) > MOST_SHARDS // 2 - 1


@given(st.integers(1, 300))
def test_the_tree_splits_the_whole_down_to_single_shards(num):
    spans = list(tree(num))

    assert spans[0] == Span(0, num)
    assert len(set(spans)) == len(spans) == 2 * num - 1
    assert sorted(span.start for span in spans if span.is_leaf) == list(range(num))
    for span in spans:
        if not span.is_leaf:
            first, second = span.halves()
            assert (first.start, first.stop, second.stop) == (span.start, second.start, span.stop)
            length = first.stop - first.start
            assert length & (length - 1) == 0
            assert length < span.stop - span.start <= 2 * length
