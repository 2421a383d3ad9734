"""The top tokens against sorting the whole stream."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backlight.stats.top import TopTokens
from zoo.streams import fed

TOP = partial(TopTokens, k=3)


def stream(lengths, width, seed, levels=None):
    random = np.random.default_rng(seed)
    rows = [random.normal(size=(length, width)) for length in lengths]
    # Few distinct values make many ties.
    return rows if levels is None else [np.round(row * levels) / levels for row in rows]


def sorted_whole(rows, dimension, k):
    places = [
        (-abs(value), passage, position, value)
        for passage, row in enumerate(rows)
        for position, value in enumerate(row[:, dimension])
    ]
    return [(passage, position, value) for _, passage, position, value in sorted(places)[:k]]


def assert_is_sorted_whole(top, rows, k):
    result = top.result()
    for dimension in range(rows[0].shape[1]):
        expected = sorted_whole(rows, dimension, k)
        found = list(
            zip(
                result.passages[dimension],
                result.positions[dimension],
                result.values[dimension],
                strict=True,
            )
        )[: len(expected)]
        assert found == expected
        assert (result.passages[dimension, len(expected) :] == -1).all()


@settings(deadline=None, max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=9),
    batch_size=st.integers(1, 4),
    seed=st.integers(0, 1000),
    levels=st.sampled_from([None, 1, 2]),
)
def test_the_top_is_that_of_the_whole_sorted_stream(lengths, batch_size, seed, levels):
    rows = stream(lengths, 4, seed, levels)
    order = np.random.default_rng(seed).permutation(len(rows)).tolist()

    assert_is_sorted_whole(fed(TOP, rows, batch_size, order), rows, 3)


@pytest.mark.parametrize("levels", [None, 1], ids=["distinct", "ties"])
def test_merging_is_seeing_both(levels):
    rows = stream([4, 6, 3, 5], 4, 7, levels)
    first, second = fed(TOP, rows, 1, [2, 0]), fed(TOP, rows, 2, [3, 1])

    first.merge(second)

    assert_is_sorted_whole(first, rows, 3)


def test_a_state_comes_back():
    rows = stream([4, 6], 2, 3)
    top, restored = fed(TOP, rows, 1, [0]), TopTokens(2, k=3)
    restored.restore(top.state())
    values = torch.from_numpy(rows[1])[None]

    restored.update(values, valid=torch.ones(1, 6, dtype=torch.bool), passages=(1,))

    assert_is_sorted_whole(restored, rows, 3)


@settings(deadline=None, max_examples=60)
@given(
    calls=st.lists(
        st.lists(st.tuples(st.integers(0, 3), st.integers(-2, 2)), max_size=5),
        min_size=1,
        max_size=8,
    ),
    seed=st.integers(0, 1000),
)
def test_taking_a_few_values_at_a_time_is_sorting_all(calls, seed):
    """Each value has a token of its own; the tokens come in any order."""
    k, width = 3, 4
    given_values = [value for call in calls for value in call]
    tokens = np.random.default_rng(seed).permutation(len(given_values)) + 1
    places = [(token // 3, token % 3) for token in tokens.tolist()]
    top, start = TopTokens(width, k=k), 0

    for call in calls:
        own = np.array(places[start : start + len(call)], dtype=np.int64).reshape(-1, 2)
        pairs = np.array(call, dtype=np.int64).reshape(-1, 2)
        top.take(pairs[:, 0], pairs[:, 1].astype(np.float64), own[:, 0], own[:, 1])
        start += len(call)

    result = top.result()
    for dimension in range(width):
        expected = sorted(
            (-abs(value), *place, value)
            for (own, value), place in zip(given_values, places, strict=True)
            if own == dimension
        )[:k]
        held = len(expected)
        assert result.passages[dimension].tolist()[:held] == [row[1] for row in expected]
        assert result.positions[dimension].tolist()[:held] == [row[2] for row in expected]
        assert result.values[dimension].tolist()[:held] == [row[3] for row in expected]
        assert (result.passages[dimension, held:] == -1).all()
        assert np.isnan(result.values[dimension, held:]).all()
