"""Moments against the whole stream at once."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backlight.stats.moments import Moments
from backlight.stats.ratio import Ratios
from zoo.streams import fed, padded, sequences

WIDTH = 6


def explicit_error(rows):
    """The ratio estimator, written with every sequence at hand."""
    tokens = np.concatenate(rows)
    mean, count, clusters = tokens.mean(0), len(tokens), len(rows)
    residuals = np.stack([row.sum(0) - len(row) * mean for row in rows])
    return np.sqrt(clusters / (clusters - 1) * (residuals**2).sum(0)) / count


@settings(deadline=None, max_examples=40)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=2, max_size=12),
    batch_size=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_moments_are_those_of_the_whole_stream(lengths, batch_size, seed):
    rows = sequences(lengths, seed=seed)
    tokens = np.concatenate(rows)

    result = fed(Moments, rows, batch_size).result()

    assert (result.num_tokens, result.num_sequences) == (len(tokens), len(rows))
    np.testing.assert_allclose(result.mean, tokens.mean(0), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(result.mean_abs, np.abs(tokens).mean(0), rtol=1e-12)
    np.testing.assert_allclose(result.rms, np.sqrt((tokens**2).mean(0)), rtol=1e-12)
    np.testing.assert_allclose(result.std, tokens.std(0), rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(result.max_abs, np.abs(tokens).max(0))
    np.testing.assert_allclose(result.mean_se, explicit_error(rows), rtol=1e-8, atol=1e-12)
    absolute = [np.abs(row) for row in rows]
    np.testing.assert_allclose(result.mean_abs_se, explicit_error(absolute), rtol=1e-8, atol=1e-12)


def test_merging_two_streams_is_seeing_both():
    rows = sequences([3, 8, 1, 5, 4, 7])
    whole = fed(Moments, rows, 2)
    first, second = fed(Moments, rows[:4], 2), fed(Moments, rows[4:], 1)

    first.merge(second)

    for name, array in whole.state().items():
        np.testing.assert_allclose(first.state()[name], array, rtol=1e-13, err_msg=name)


def test_a_restored_state_goes_on_bit_by_bit():
    rows = sequences([3, 8, 1, 5])
    whole, begun = fed(Moments, rows, 2), fed(Moments, rows[:2], 2)
    restored = Moments(WIDTH)
    restored.restore(begun.state())

    values, valid = padded(rows[2:])
    restored.update(values, valid=valid, passages=(2, 3))

    for name, array in whole.state().items():
        np.testing.assert_array_equal(restored.state()[name], array, err_msg=name)


def test_an_update_leaves_its_argument_alone():
    values, valid = padded(sequences([4, 2]))
    before = values.clone()

    Moments(WIDTH).update(values, valid=valid, passages=(0, 1))

    assert torch.equal(values, before)


def test_float32_values_are_summed_in_float64():
    values = torch.full((1, 4096, 1), 0.1, dtype=torch.float32)
    moments = Moments(1)

    moments.update(values, valid=torch.ones(1, 4096, dtype=torch.bool), passages=(0,))

    assert moments.result().mean[0] == pytest.approx(float(np.float32(0.1)), rel=1e-15)


def test_one_sequence_has_no_standard_error():
    result = fed(Moments, sequences([6]), 1).result()

    assert np.isnan(result.mean_se).all()
    assert np.isnan(result.mean_abs_se).all()


def test_the_clustered_error_covers_the_true_mean_as_often_as_it_says():
    """Tokens of a sequence share a shift, so the naive error would be far too small."""
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        rows = [
            random.normal(0, 1, 1) + random.normal(0, 0.3, (random.integers(3, 12), 1))
            for _ in range(60)
        ]
        result = fed(Moments, rows, 60).result()
        covered += abs(result.mean[0]) < 1.96 * result.mean_se[0]

    assert 0.91 < covered / 400 < 0.98


def test_independent_tokens_of_equal_lengths_give_the_textbook_error():
    random = np.random.default_rng(2)
    means = random.normal(size=(500, 1))
    seen = Ratios(1, shared_below=True)
    seen.update(torch.from_numpy(means), torch.ones(500, 1, dtype=torch.int64))

    np.testing.assert_allclose(seen.result().se, means.std(0, ddof=1) / np.sqrt(500), rtol=1e-12)
