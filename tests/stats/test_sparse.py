"""Statistics from the entries of features against the same over a dense matrix of all tokens."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from backlight.stats.sparse import Entries, SparseMoments

NUM_FEATURES = 6
NEVER = 4
"""A feature that fires at no token."""


def stream(lengths, seed=0):
    """Draw dense tokens, mostly zeros, and say where features fire; a firing one may be zero."""
    random = np.random.default_rng(seed)
    rows = []
    for length in lengths:
        fires = random.random((length, NUM_FEATURES)) < 0.35
        fires[:, NEVER] = False
        values = np.round(2 * random.normal(size=fires.shape)) / 2
        rows.append((np.where(fires, values, 0.0), fires))
    return rows


def entries_of(rows, passages, dtype=torch.float64):
    places = [
        (sequence, position, feature)
        for sequence, (_, fires) in enumerate(rows)
        for position, feature in np.argwhere(fires)
    ]
    sequences, positions, features = (
        torch.tensor([place[axis] for place in places], dtype=torch.long) for axis in range(3)
    )
    values = [rows[sequence][0][position, feature] for sequence, position, feature in places]
    return Entries(
        values=torch.tensor(values, dtype=dtype),
        features=features,
        sequences=sequences,
        positions=positions,
        lengths=torch.tensor([len(fires) for _, fires in rows]),
        passages=np.asarray(passages, dtype=np.int64),
    )


def fed(rows, order, batch_size, *, active_only, num_top=3):
    seen = SparseMoments(NUM_FEATURES, active_only=active_only, num_top=num_top)
    for start in range(0, len(order), batch_size):
        members = order[start : start + batch_size]
        seen.update(entries_of([rows[member] for member in members], members))
    return seen


def ratio_estimate(rows, counts):
    """The mean of a feature and its error; a sequence without own tokens is no cluster."""
    held = [(row.sum(), count) for row, count in zip(rows, counts, strict=True) if count]
    total, clusters = sum(count for _, count in held), len(held)
    if not held:
        return np.nan, np.nan
    mean = sum(s for s, _ in held) / total
    if clusters < 2:
        return mean, np.nan
    spread = sum((s - count * mean) ** 2 for s, count in held)
    return mean, np.sqrt(clusters / (clusters - 1) * spread) / total


def sorted_whole(rows, feature, num_top):
    places = [
        (-abs(values[position, feature]), passage, position, values[position, feature])
        for passage, (values, fires) in enumerate(rows)
        for position in np.flatnonzero(fires[:, feature])
    ]
    return [place[1:] for place in sorted(places)[:num_top]]


def assert_is_dense(result, rows, *, active_only, num_top=3):
    for feature in range(NUM_FEATURES):
        values = [dense[:, feature] for dense, _ in rows]
        counts = [fires[:, feature].sum() if active_only else len(fires) for _, fires in rows]
        total = sum(counts)
        for found, column in (
            (result.mean, values),
            (result.mean_abs, [np.abs(row) for row in values]),
        ):
            mean, error = ratio_estimate(column, counts)
            np.testing.assert_allclose(found.ratio[feature], mean, rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(found.se[feature], error, rtol=1e-7, atol=1e-8)
        square = sum((row**2).sum() for row in values)
        rms = np.sqrt(square / total) if total else np.nan
        np.testing.assert_allclose(result.rms[feature], rms, rtol=1e-12)
        expected = sorted_whole(rows, feature, num_top)
        top = zip(
            result.top.passages[feature],
            result.top.positions[feature],
            result.top.values[feature],
            strict=True,
        )
        assert list(top)[: len(expected)] == expected
        assert (result.top.passages[feature, len(expected) :] == -1).all()


@pytest.mark.parametrize("active_only", [False, True], ids=["all tokens", "active tokens"])
@given(
    lengths=st.lists(st.integers(1, 8), min_size=1, max_size=8),
    batch_size=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_statistics_are_those_of_the_dense_matrix(active_only, lengths, batch_size, seed):
    rows = stream(lengths, seed)
    order = np.random.default_rng(seed).permutation(len(rows)).tolist()

    result = fed(rows, order, batch_size, active_only=active_only).result()

    assert_is_dense(result, rows, active_only=active_only)


def test_a_feature_that_never_fires_is_zero_over_all_tokens_and_unknown_over_its_own():
    rows = stream([5, 8, 3])

    over_all = fed(rows, [0, 1, 2], 2, active_only=False).result()
    over_own = fed(rows, [0, 1, 2], 2, active_only=True).result()

    for found in (over_all.mean.ratio, over_all.mean_abs.ratio, over_all.mean.se, over_all.rms):
        assert found[NEVER] == 0
    for found in (over_own.mean.ratio, over_own.mean_abs.ratio, over_own.mean.se, over_own.rms):
        assert np.isnan(found[NEVER])
    assert (over_own.mean.below[NEVER], over_own.mean.num_sequences[NEVER]) == (0, 0)


@pytest.mark.parametrize("active_only", [False, True], ids=["all tokens", "active tokens"])
def test_sequences_where_nothing_fires_count_over_all_tokens_only(active_only):
    rows = [*stream([6, 4]), (np.zeros((5, NUM_FEATURES)), np.zeros((5, NUM_FEATURES), dtype=bool))]

    result = fed(rows, [2, 0, 1], 1, active_only=active_only).result()

    assert_is_dense(result, rows, active_only=active_only)


@pytest.mark.parametrize("active_only", [False, True], ids=["all tokens", "active tokens"])
def test_merging_two_streams_is_seeing_both(active_only):
    rows = stream([4, 6, 3, 5, 7])
    first = fed(rows, [2, 0], 1, active_only=active_only)
    second = fed(rows, [3, 4, 1], 2, active_only=active_only)
    untouched = {name: array.copy() for name, array in second.state().items()}

    first.merge(second)

    assert_is_dense(first.result(), rows, active_only=active_only)
    for name, array in untouched.items():
        np.testing.assert_array_equal(second.state()[name], array, err_msg=name)


@pytest.mark.parametrize("active_only", [False, True], ids=["all tokens", "active tokens"])
def test_a_restored_state_goes_on_bit_by_bit(active_only):
    rows = stream([4, 6, 3, 5])
    whole = fed(rows, [0, 1, 2, 3], 2, active_only=active_only)
    begun = fed(rows, [0, 1], 2, active_only=active_only)
    restored = SparseMoments(NUM_FEATURES, active_only=active_only, num_top=3)
    restored.restore(begun.state())

    restored.update(entries_of(rows[2:], [2, 3]))

    assert restored.state().keys() == whole.state().keys()
    for name, array in whole.state().items():
        np.testing.assert_array_equal(restored.state()[name], array, err_msg=name)


def test_float32_entries_are_summed_in_float64():
    length = 4096
    fires = np.ones((length, NUM_FEATURES), dtype=bool)
    rows = [(np.full(fires.shape, 0.1), fires)] * 2
    seen = SparseMoments(NUM_FEATURES, active_only=False, num_top=1)

    seen.update(entries_of(rows, [0, 1], torch.float32))

    exact = float(np.float32(0.1))
    np.testing.assert_allclose(seen.result().mean.ratio, exact, rtol=1e-14)
    np.testing.assert_allclose(seen.result().rms, exact, rtol=1e-14)
