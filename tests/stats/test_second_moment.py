"""Statistics along directions against the explicit products of all tokens with them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from backlight.stats.second_moment import SecondMoment
from zoo.streams import fed, padded, sequences

WIDTH = 6
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10}


def directions(num=7, dtype=torch.float64):
    generator = torch.Generator().manual_seed(5)
    return torch.randn(num, WIDTH, generator=generator, dtype=torch.float64).to(dtype)


def explicit(rows, ways):
    """Multiply every token with every direction; mean, root of the mean square, ratio estimator."""
    products = [row @ ways.double().numpy().T for row in rows]
    tokens, clusters = np.concatenate(products), len(rows)
    mean = tokens.mean(0)
    rest = np.stack([part.sum(0) - len(part) * mean for part in products])
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(np.float64(clusters) / (clusters - 1) * (rest**2).sum(0)) / len(tokens)
    return mean, np.sqrt((tokens**2).mean(0)), error


def close(found, expected, tolerance):
    size = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * size)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=2, max_size=12),
    batch_size=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_statistics_along_directions_are_those_of_the_explicit_products(
    dtype, lengths, batch_size, seed
):
    rows, ways = sequences(lengths, seed=seed), directions(dtype=dtype)

    along = fed(SecondMoment, rows, batch_size, dtype=dtype).along(ways)

    mean, rms, error = explicit(rows, ways)
    assert (along.num_tokens, along.num_sequences) == (sum(lengths), len(lengths))
    close(along.mean, mean, TOLERANCE[dtype])
    close(along.rms, rms, TOLERANCE[dtype])
    # A difference of squares: its root has half their digits where sequences hardly differ.
    scale = rms.max() / np.sqrt(len(lengths))
    np.testing.assert_allclose(along.mean_se**2, error**2, rtol=0, atol=TOLERANCE[dtype] * scale**2)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_each_standard_error_is_that_of_its_explicit_products(dtype):
    rows, ways = sequences([9, 4, 17, 30, 12, 1, 8, 25], seed=3), directions(50, dtype)

    along = fed(SecondMoment, rows, 3, dtype=dtype).along(ways)

    mean, rms, error = explicit(rows, ways)
    np.testing.assert_allclose(along.mean_se, error, rtol=TOLERANCE[dtype])
    np.testing.assert_allclose(along.rms, rms, rtol=TOLERANCE[dtype])
    close(along.mean, mean, TOLERANCE[dtype])


def test_merging_two_streams_is_seeing_both():
    rows = sequences([3, 8, 1, 5, 4, 7])
    whole = fed(SecondMoment, rows, 2)
    first, second = fed(SecondMoment, rows[:4], 2), fed(SecondMoment, rows[4:], 1)
    untouched = {name: array.copy() for name, array in second.state().items()}

    first.merge(second)

    for name, array in whole.state().items():
        np.testing.assert_allclose(first.state()[name], array, rtol=1e-12, err_msg=name)
        np.testing.assert_array_equal(second.state()[name], untouched[name], err_msg=name)


def test_a_restored_state_goes_on_bit_by_bit():
    rows = sequences([3, 8, 1, 5])
    whole, begun = fed(SecondMoment, rows, 2), fed(SecondMoment, rows[:2], 2)
    restored = SecondMoment(WIDTH)
    restored.restore(begun.state())

    values, valid = padded(rows[2:])
    restored.update(values, valid=valid, passages=(2, 3))

    for name, array in whole.state().items():
        np.testing.assert_array_equal(restored.state()[name], array, err_msg=name)
    for found, expected in (
        (restored.along(directions()).rms, whole.along(directions()).rms),
        (restored.along(directions()).mean_se, whole.along(directions()).mean_se),
    ):
        np.testing.assert_array_equal(found, expected)


def test_a_state_holds_one_triangle_of_each_matrix():
    state = fed(SecondMoment, sequences([4, 2]), 2).state()

    assert {array.size for array in state.values()} == {3, WIDTH, WIDTH * (WIDTH + 1) // 2}


def test_one_sequence_has_no_standard_error():
    rows, ways = sequences([6]), directions()

    along = fed(SecondMoment, rows, 1).along(ways)

    mean, rms, _ = explicit(rows, ways)
    np.testing.assert_allclose(along.mean, mean, rtol=1e-10)
    np.testing.assert_allclose(along.rms, rms, rtol=1e-10)
    assert np.isnan(along.mean_se).all()


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_a_direction_that_no_token_has_a_part_in_gives_zero(dtype):
    rows = sequences([5, 9, 3])
    away = np.ones(WIDTH) / np.sqrt(WIDTH)
    rows = [row - np.outer(row @ away, away) for row in rows]

    along = fed(SecondMoment, rows, 2, dtype=dtype).along(torch.from_numpy(away)[None].to(dtype))

    small = TOLERANCE[dtype] ** 0.5
    for found in (along.mean, along.rms, along.mean_se):
        np.testing.assert_allclose(found, 0.0, atol=small)


def test_an_update_leaves_its_argument_alone():
    values, valid = padded(sequences([4, 2]))
    before = values.clone()

    SecondMoment(WIDTH).update(values, valid=valid, passages=(0, 1))

    assert torch.equal(values, before)


def test_no_token_has_no_statistics():
    with pytest.raises(AssertionError, match="no token was seen"):
        SecondMoment(WIDTH).along(directions())
