"""The longest vectors against sorting the whole stream."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backlight.stats.top import LargestTokens
from zoo.streams import fed, padded

LONGEST = partial(LargestTokens, k=4)
# What stands at pads is zero by contract; here it would win if it were looked at.
found_in = partial(fed, pads=1e6)

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

    found = found_in(partial(LONGEST, stride=stride), rows, batch_size, order)

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

    found = found_in(LONGEST, rows, batch_size, order)

    assert listed(found) == listed(found_in(LONGEST, rows, len(rows)))
    assert listed(found) == listed(found_in(LONGEST, rows, 1))


def test_the_earlier_of_equal_vectors_is_kept():
    rows = [np.ones((3, WIDTH)) for _ in range(3)]

    found = listed(found_in(LONGEST, rows, 1, [2, 1, 0]))

    assert [place[:2] for place in found] == [(0, 0), (0, 1), (0, 2), (1, 0)]


def test_fewer_tokens_than_are_kept_are_all_there_and_no_pads():
    rows = stream([2, 3], 1, ties=False)

    found = found_in(partial(LONGEST, k=10), rows, 2)

    assert len(listed(found)) == 5
    assert listed(found) == sorted_whole(rows, 10)


def test_vectors_of_zeros_are_tokens_too():
    rows = [np.zeros((1, WIDTH)), np.zeros((4, WIDTH))]

    found = found_in(partial(LONGEST, k=10), rows, 2)

    assert [place for _, place, _ in listed(found)] == [0, 0, 1, 2, 3]


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
def test_merging_is_seeing_both(ties):
    rows = stream([4, 6, 3, 5], 7, ties=ties)
    whole = found_in(LONGEST, rows, 4)
    first, second = found_in(LONGEST, rows, 1, [2, 0]), found_in(LONGEST, rows, 2, [3, 1])

    first.merge(second)

    assert listed(first) == listed(whole)


def test_a_restored_state_goes_on_bit_by_bit():
    rows = stream([4, 6], 3, ties=False, dtype=np.float32)
    whole, begun = found_in(LONGEST, rows, 1), found_in(LONGEST, rows, 1, [0])
    restored = LargestTokens(WIDTH, k=4)
    restored.restore(begun.state())

    values, valid = padded(rows[1:], pads=1e6)
    restored.update(values, valid=valid, passages=[1])

    for name, array in whole.state().items():
        assert restored.state()[name].dtype == array.dtype
        np.testing.assert_array_equal(restored.state()[name], array, err_msg=name)
