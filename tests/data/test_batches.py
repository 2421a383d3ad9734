from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from backlight.data.batches import Batch, Passages, bucket, tokenize
from backlight.data.corpora import Rows
from backlight.errors import DatasetError
from zoo.tokenizers import WordTokenizer

LENGTHS = st.lists(st.integers(2, 30), min_size=1, max_size=40)


def of_lengths(lengths):
    random = np.random.default_rng(0)
    return Passages(tokens=[random.integers(3, 99, length) for length in lengths])


def test_rows_become_passages_in_their_order():
    passages = tokenize(["a b c", "b a"], WordTokenizer(), max_length=8)

    assert [row.tolist() for row in passages.tokens] == [[3, 4, 5], [4, 3]]
    assert all(row.dtype == np.int64 for row in passages.tokens)
    assert passages.num_tokens == 5
    assert (dict(passages.left_out), passages.num_cut) == ({}, 0)


def test_a_passage_is_cut_after_max_length_and_counted():
    passages = tokenize(["a b c d", "a b c", "a"], WordTokenizer(), max_length=3)

    assert [row.tolist() for row in passages.tokens] == [[3, 4, 5], [3, 4, 5]]
    assert passages.num_cut == 1
    assert passages.account() == {
        "num_passages": 2,
        "num_tokens": 6,
        "left_out": {"fewer_than_two_tokens": 1},
        "num_cut": 1,
        "num_unknown": 0,
    }


def test_what_was_left_out_before_is_told_too():
    rows = Rows(rows=["a b", "c"], left_out={"blank": 3})

    passages = tokenize(rows, WordTokenizer(), max_length=8)

    assert passages.left_out == {"blank": 3, "fewer_than_two_tokens": 1}


def test_a_row_of_one_token_is_skipped_and_counted():
    passages = tokenize(["a b", "c", "", "d e f"], WordTokenizer(), max_length=8)

    assert [len(row) for row in passages.tokens] == [2, 3]
    assert passages.left_out == {"fewer_than_two_tokens": 2}


def test_a_corpus_without_a_next_token_is_refused():
    with pytest.raises(DatasetError, match=r"None of the 2 passages has two tokens or more"):
        tokenize(["a", "b"], WordTokenizer(), max_length=8)


@pytest.mark.parametrize(
    "other",
    [[[1, 2], [3, 4, 5]], [[4, 5], [1, 2, 3]], [[1, 2, 3], [4, 6]], [[1, 2, 3], [4, 5], [6, 7]]],
    ids=["cut elsewhere", "in another order", "another token", "one more"],
)
def test_another_corpus_has_another_fingerprint(other):
    def fingerprint(rows):
        return Passages(tokens=[np.array(row) for row in rows]).fingerprint()

    here = [[1, 2, 3], [4, 5]]
    assert fingerprint(here) == fingerprint([list(row) for row in here])
    assert fingerprint(here) != fingerprint(other)


def test_a_batch_is_padded_on_the_right():
    passages = Passages(tokens=[np.array([5, 6]), np.array([7, 8, 9, 4]), np.array([3, 3, 3])])

    batch = Batch.of(passages, (2, 0, 1))

    assert batch.passages == (2, 0, 1)
    assert batch.input_ids.tolist() == [[3, 3, 3, 0], [5, 6, 0, 0], [7, 8, 9, 4]]
    assert batch.lengths.tolist() == [3, 2, 4]
    assert batch.valid.int().tolist() == [[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]]
    assert batch.num_tokens == 9


def test_token_zero_is_no_pad():
    batch = Batch.of(Passages(tokens=[np.array([0, 0, 0])]), (0,))

    assert batch.valid.all()
    assert batch.num_tokens == 3


def test_a_moved_batch_is_the_same_batch():
    batch = Batch.of(of_lengths([3, 5]), (0, 1))

    moved = batch.to(torch.device("meta"))

    assert moved.passages == batch.passages
    for name in ("input_ids", "lengths", "valid"):
        tensor = getattr(moved, name)
        assert tensor.device.type == "meta"
        assert tensor.shape == getattr(batch, name).shape


@given(lengths=LENGTHS, batch_size=st.integers(1, 9), seed=st.integers(0, 5))
def test_every_passage_is_in_exactly_one_batch(lengths, batch_size, seed):
    batches = bucket(of_lengths(lengths), batch_size=batch_size, seed=seed)

    assert sorted(member for batch in batches for member in batch) == list(range(len(lengths)))
    assert len(batches) == -(-len(lengths) // batch_size)
    assert sorted(map(len, batches))[1:] == [batch_size] * (len(batches) - 1)


@given(lengths=LENGTHS, batch_size=st.integers(1, 9), seed=st.integers(0, 5))
def test_no_cut_into_batches_has_fewer_pads_than_by_length(lengths, batch_size, seed):
    batches = bucket(of_lengths(lengths), batch_size=batch_size, seed=seed)

    ranges = sorted(
        (max(lengths[member] for member in batch), min(lengths[member] for member in batch))
        for batch in batches
    )
    assert all(low >= high for (high, _), (_, low) in pairwise(ranges))


def test_batches_are_fixed_by_the_seed():
    passages = of_lengths([5] * 40)
    batches = bucket(passages, batch_size=4, seed=1)

    assert bucket(passages, batch_size=4, seed=1) == batches
    assert bucket(passages, batch_size=4, seed=2) != batches


def test_long_batches_do_not_all_come_first():
    batches = bucket(of_lengths(range(2, 66)), batch_size=4, seed=0)

    longest = [max(batch) for batch in batches]
    assert longest not in (sorted(longest), sorted(longest, reverse=True))
