"""The longest vectors against sorting the whole stream."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from backlight.stats.top import LargestTokens

WIDTH = 3


def stream(lengths, seed, *, ties, dtype=np.float64):
    """Draw vectors; with ties, of few lengths, which come of different numbers in each vector."""
    random = np.random.default_rng(seed)
    if not ties:
        return [random.normal(size=(length, WIDTH)).astype(dtype) for length in lengths]
    base = random.normal(size=(2, WIDTH))
    return [
        np.stack([random.permutation(base[random.integers(2)]) for _ in range(length)]).astype(
            dtype
        )
        for length in lengths
    ]


def add(largest, rows, members):
    longest = max(len(rows[member]) for member in members)
    # What stands at pads is zero by contract; here it would win if it were looked at.
    values = torch.full((len(members), longest, WIDTH), 1e6, dtype=torch.from_numpy(rows[0]).dtype)
    valid = torch.zeros(values.shape[:2], dtype=torch.bool)
    for index, member in enumerate(members):
        values[index, : len(rows[member])] = torch.from_numpy(rows[member])
        valid[index, : len(rows[member])] = True
    largest.update(values, valid=valid, passages=members)


def fed(rows, order, batch_size, *, k=4, stride=1):
    largest = LargestTokens(WIDTH, k=k, stride=stride)
    for start in range(0, len(order), batch_size):
        add(largest, rows, order[start : start + batch_size])
    return largest


def sorted_whole(rows, k, stride=1):
    places = [
        (-np.linalg.norm(vector.astype(np.float64)), passage, place * stride, vector.tolist())
        for passage, row in enumerate(rows)
        for place, vector in enumerate(row)
    ]
    return [(passage, place, vector) for _, passage, place, vector in sorted(places)[:k]]


def listed(largest):
    result = largest.result()
    return list(
        zip(
            result.passages.tolist(),
            result.positions.tolist(),
            result.values.tolist(),
            strict=True,
        )
    )


@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=9),
    batch_size=st.integers(1, 4),
    seed=st.integers(0, 1000),
    stride=st.sampled_from([1, 3]),
)
def test_the_longest_vectors_are_those_of_the_whole_sorted_stream(
    lengths, batch_size, seed, stride
):
    rows = stream(lengths, seed, ties=False)
    order = np.random.default_rng(seed).permutation(len(rows)).tolist()

    found = fed(rows, order, batch_size, stride=stride)

    assert listed(found) == sorted_whole(rows, 4, stride)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=9),
    batch_size=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_among_equally_long_ones_the_result_does_not_depend_on_batches_or_their_order(
    dtype, lengths, batch_size, seed
):
    rows = stream(lengths, seed, ties=True, dtype=dtype)
    order = np.random.default_rng(seed).permutation(len(rows)).tolist()

    found = fed(rows, order, batch_size)

    assert listed(found) == listed(fed(rows, range(len(rows)), len(rows)))
    assert listed(found) == listed(fed(rows, range(len(rows)), 1))


def test_the_earlier_of_equal_vectors_is_kept():
    rows = [np.ones((3, WIDTH)) for _ in range(3)]

    found = [(passage, place) for passage, place, _ in listed(fed(rows, [2, 1, 0], 1))]

    assert found == [(0, 0), (0, 1), (0, 2), (1, 0)]


def test_fewer_tokens_than_are_kept_are_all_there_and_no_pads():
    rows = stream([2, 3], 1, ties=False)

    found = fed(rows, [0, 1], 2, k=10)

    assert len(listed(found)) == 5
    assert listed(found) == sorted_whole(rows, 10)


def test_vectors_of_zeros_are_tokens_too():
    rows = [np.zeros((1, WIDTH)), np.zeros((4, WIDTH))]

    assert [place for _, place, _ in listed(fed(rows, [0, 1], 2, k=10))] == [0, 0, 1, 2, 3]


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
def test_merging_is_seeing_both(ties):
    rows = stream([4, 6, 3, 5], 7, ties=ties)
    whole, first, second = fed(rows, range(4), 4), fed(rows, [2, 0], 1), fed(rows, [3, 1], 2)

    first.merge(second)

    assert listed(first) == listed(whole)


def test_a_restored_state_goes_on_bit_by_bit():
    rows = stream([4, 6], 3, ties=False, dtype=np.float32)
    whole, begun = fed(rows, [0, 1], 1), fed(rows, [0], 1)
    restored = LargestTokens(WIDTH, k=4)
    restored.restore(begun.state())

    add(restored, rows, [1])

    for name, array in whole.state().items():
        assert restored.state()[name].dtype == array.dtype
        np.testing.assert_array_equal(restored.state()[name], array, err_msg=name)
