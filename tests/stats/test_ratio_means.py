"""Means over sequences against the ratio estimator, written with every sequence at hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from backlight.stats.ratio import Ratios


def sequences(lengths, width=4, seed=0):
    random = np.random.default_rng(seed)
    return [random.normal(0.3, 1.0, (length, width)) for length in lengths]


def own_tokens(rows, seed=0):
    """Say of each token in which dimensions it counts; elsewhere it is zero."""
    random = np.random.default_rng(seed)
    return [random.random(row.shape) < 0.4 for row in rows]


def fed(rows, batch_size, counted=None):
    seen = Ratios(rows[0].shape[1], shared_below=counted is None)
    add(seen, rows, batch_size, counted)
    return seen


def add(seen, rows, batch_size, counted=None):
    sums = torch.from_numpy(np.stack([row.sum(0) for row in rows]))
    lengths = torch.tensor([[len(row)] for row in rows])
    if counted is not None:
        lengths = torch.from_numpy(np.stack([mask.sum(0) for mask in counted]))
    for some, counts in zip(sums.split(batch_size), lengths.split(batch_size), strict=True):
        seen.update(some, counts)


def ratio_estimate(column, counts):
    """Cochran's estimator for one dimension; a sequence without own tokens is no cluster."""
    held = [(sum(row), count) for row, count in zip(column, counts, strict=True) if count]
    total, clusters = sum(count for _, count in held), len(held)
    if not held:
        return np.nan, np.nan
    mean = sum(s for s, _ in held) / total
    if clusters < 2:
        return mean, np.nan
    spread = sum((s - count * mean) ** 2 for s, count in held)
    return mean, np.sqrt(clusters / (clusters - 1) * spread) / total


def assert_is_ratio_estimate(result, rows, counts):
    for dimension in range(rows[0].shape[1]):
        own = [count[dimension] for count in counts]
        mean, error = ratio_estimate([row[:, dimension] for row in rows], own)
        np.testing.assert_allclose(result.ratio[dimension], mean, rtol=1e-10)
        np.testing.assert_allclose(result.se[dimension], error, rtol=1e-7, atol=1e-12)


LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=10)


@given(lengths=LENGTHS, batch_size=st.integers(1, 4), seed=st.integers(0, 1000))
def test_the_mean_and_its_error_are_those_of_the_ratio_estimator(lengths, batch_size, seed):
    rows = sequences(lengths, seed=seed)

    result = fed(rows, batch_size).result()

    assert (result.below, result.num_sequences) == ([sum(lengths)], [len(lengths)])
    assert_is_ratio_estimate(result, rows, [[length] * 4 for length in lengths])


@given(lengths=LENGTHS, batch_size=st.integers(1, 4), seed=st.integers(0, 1000))
def test_each_dimension_may_have_tokens_and_sequences_of_its_own(lengths, batch_size, seed):
    rows = sequences(lengths, seed=seed)
    counted = own_tokens(rows, seed)
    rows = [np.where(mask, row, 0.0) for row, mask in zip(rows, counted, strict=True)]

    result = fed(rows, batch_size, counted).result()

    counts = [mask.sum(0) for mask in counted]
    np.testing.assert_array_equal(result.below, np.sum(counts, axis=0))
    np.testing.assert_array_equal(result.num_sequences, np.sum(np.stack(counts) > 0, axis=0))
    assert_is_ratio_estimate(result, rows, counts)


@pytest.mark.parametrize("count_each", [False, True], ids=["all tokens", "own tokens"])
def test_merging_two_streams_is_seeing_both(count_each):
    rows = sequences([3, 8, 1, 5, 4, 7])
    counted = own_tokens(rows) if count_each else [None] * 6
    parts = [
        fed(rows[some], 2, counted[some] if count_each else None)
        for some in (slice(0, 6), slice(0, 4), slice(4, 6))
    ]
    whole, first, second = parts
    untouched = {name: array.copy() for name, array in second.state().items()}

    first.merge(second)

    for name, array in whole.state().items():
        np.testing.assert_allclose(first.state()[name], array, rtol=1e-13, err_msg=name)
        np.testing.assert_array_equal(second.state()[name], untouched[name], err_msg=name)


@pytest.mark.parametrize("count_each", [False, True], ids=["all tokens", "own tokens"])
def test_a_restored_state_goes_on_bit_by_bit(count_each):
    rows = sequences([3, 8, 1, 5])
    counted = own_tokens(rows) if count_each else None
    whole = fed(rows, 2, counted)
    begun = fed(rows[:2], 2, counted and counted[:2])
    restored = Ratios(4, shared_below=not count_each)
    restored.restore(begun.state())

    add(restored, rows[2:], 2, counted and counted[2:])

    assert restored.state().keys() == whole.state().keys()
    for name, array in whole.state().items():
        np.testing.assert_array_equal(restored.state()[name], array, err_msg=name)


def test_a_restored_state_does_not_follow_the_one_it_came_from():
    rows = sequences([3, 8])
    begun, restored = fed(rows, 2), Ratios(4, shared_below=True)
    restored.restore(begun.state())
    before = restored.result().ratio

    add(begun, rows, 2)

    np.testing.assert_array_equal(restored.result().ratio, before)


def test_one_sequence_has_a_mean_and_no_standard_error():
    rows = sequences([6])

    result = fed(rows, 1).result()

    np.testing.assert_allclose(result.ratio, rows[0].mean(0))
    assert np.isnan(result.se).all()


def test_nothing_seen_has_no_mean():
    result = Ratios(3, shared_below=True).result()

    assert np.isnan(result.ratio).all()
    assert np.isnan(result.se).all()


def test_sequences_with_the_same_mean_have_no_error():
    lengths = torch.tensor([[2], [5], [3]])

    seen = Ratios(1, shared_below=True)
    seen.update(0.7 * lengths.double(), lengths)

    np.testing.assert_allclose(seen.result().se, 0.0, atol=1e-8)
