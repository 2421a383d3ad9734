"""The shape of a cloud of vectors against a plain singular value decomposition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backlight.surveys.tokens.measure.geometry import correlation, geometry, mean_cosine


def some_vectors(num=40, width=7, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(num, width)) * np.geomspace(1, 30, width) + random.normal(size=width)


def oracle(vectors, *, standardize):
    """Singular values and components of the centred, perhaps scaled, vectors."""
    centred = vectors - vectors.mean(axis=0)
    scale = np.ones(vectors.shape[1])
    if standardize:
        spread = np.sqrt(np.square(centred).mean(axis=0))
        scale = np.where(spread > 0, spread, 1.0)
    left, values, right = np.linalg.svd(centred / scale, full_matrices=False)
    return scale, left * values, values, right


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("shape", [(40, 7), (5, 12), (60, 30), (2, 3)])
def test_components_are_those_of_a_singular_value_decomposition(shape, standardize):
    vectors = some_vectors(*shape)
    scale, scores, values, right = oracle(vectors, standardize=standardize)
    shares = values**2 / (values**2).sum()

    found = geometry(vectors.astype(np.float32), standardize=standardize)

    kept = min(20, *shape)
    close = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(found.mean, vectors.mean(axis=0), **close)
    np.testing.assert_allclose(found.scale, scale, **close)
    np.testing.assert_allclose(found.explained, shares, **close)
    assert found.scores.shape == (shape[0], kept)
    assert found.loadings.shape == (kept, shape[1])
    real = np.flatnonzero(shares[:kept] > 1e-6)  # the last one is rounding where vectors are few
    signs = np.sign((found.loadings * right[:kept]).sum(axis=1))[real]
    np.testing.assert_allclose(
        found.loadings[real], signs[:, None] * right[real], rtol=0, atol=2e-3
    )
    np.testing.assert_allclose(
        found.scores[:, real], scores[:, real] * signs, rtol=0, atol=2e-3 * np.abs(scores).max()
    )
    normalised = values / values.sum()
    normalised = normalised[normalised > 1e-12]
    rank = np.exp(-(normalised * np.log(normalised)).sum())
    assert found.effective_rank == pytest.approx(rank, rel=1e-4)


def test_an_isotropic_cloud_uses_all_directions():
    square = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]

    found = geometry(np.concatenate([square, -square]), standardize=False)

    assert found.effective_rank == pytest.approx(8.0)
    assert found.components_90 == found.components_95 == 8
    np.testing.assert_allclose(found.explained, 1 / 8)


def test_a_line_uses_one_direction():
    vectors = np.outer(np.arange(5.0), [1.0, 2.0, -1.0]) + 3.0

    found = geometry(vectors, standardize=False)

    assert found.effective_rank == pytest.approx(1.0)
    assert found.components_90 == found.components_95 == 1


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ([0.9, 0.1], (1, 2)),
        ([0.5, 0.4, 0.05, 0.05], (2, 3)),
        ([0.4, 0.3, 0.2, 0.06, 0.04], (3, 4)),
        ([1.0], (1, 1)),
    ],
)
def test_components_are_counted_until_they_explain_so_much(shares, expected):
    spread = np.diag(np.sqrt(shares))

    found = geometry(np.concatenate([spread, -spread]), standardize=False)

    assert (found.components_90, found.components_95) == expected


def test_all_components_count_where_vectors_are_few():
    found = geometry(some_vectors(6, 300), standardize=True)

    assert found.components_95 <= 5
    assert len(found.explained) == 6
    assert found.explained.sum() == pytest.approx(1.0)


@settings(max_examples=30)
@given(st.integers(2, 9), st.integers(1, 5), st.integers(0, 99))
def test_the_mean_cosine_is_that_of_all_pairs(num, width, seed):
    vectors = some_vectors(num, width, seed)
    pairs = [
        vectors[one]
        @ vectors[other]
        / np.linalg.norm(vectors[one])
        / np.linalg.norm(vectors[other])
        for one in range(num)
        for other in range(one)
    ]

    assert mean_cosine(vectors) == pytest.approx(np.mean(pairs), abs=1e-12)


def test_vectors_of_no_length_have_no_cosine():
    vectors = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 2.0]])

    assert mean_cosine(vectors) == pytest.approx(0.0)
    assert np.isnan(mean_cosine(vectors[:2]))
    assert np.isnan(mean_cosine(vectors[:0]))


def test_the_mean_cosine_is_of_vectors_as_they_are():
    vectors = np.array([[3.0, 0.0], [4.0, 0.0], [5.0, 0.0]])

    assert geometry(vectors, standardize=True).mean_cosine == pytest.approx(1.0)


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize(
    "vectors",
    [np.ones((1, 3)), np.ones((4, 3)), np.zeros((3, 2)), np.empty((0, 3)), np.full((3, 2), 0.1)],
    ids=["one", "equal", "zero", "none", "equal but not exact"],
)
def test_vectors_without_variance_have_no_shape(vectors, standardize):
    assert geometry(vectors, standardize=standardize) is None


@pytest.mark.parametrize("standardize", [False, True])
def test_dimensions_that_never_change_are_left_as_they_are(standardize):
    vectors = some_vectors()
    vectors[:, 3] = 0.1

    found = geometry(vectors, standardize=standardize)

    assert found.scale[3] == 1.0
    assert np.abs(found.loadings[:6, 3]).max() < 1e-9
    assert np.isfinite(found.explained).all()


@pytest.mark.parametrize("size", [1e-30, 1e20])
def test_very_small_and_very_large_vectors_have_the_same_shape(size):
    vectors = some_vectors()

    one, other = (geometry(part, standardize=False) for part in (vectors, vectors * size))

    np.testing.assert_allclose(other.explained, one.explained)
    assert other.effective_rank == pytest.approx(one.effective_rank)


def test_correlation_is_pearsons_over_the_pairs_that_are_known():
    one, other = some_vectors(20, 2).T
    one[[3, 5]], other[7] = np.nan, np.inf
    keep = [row for row in range(20) if row not in (3, 5, 7)]

    expected = np.corrcoef(one[keep], other[keep])[0, 1]
    assert correlation(one, other) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("one", "other"),
    [([1.0, 2.0], [3.0, 5.0]), ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]), ([np.nan] * 4, [1.0] * 4)],
)
def test_too_few_or_constant_numbers_have_no_correlation(one, other):
    assert np.isnan(correlation(np.array(one), np.array(other)))
    assert np.isnan(correlation(np.array(other), np.array(one)))
