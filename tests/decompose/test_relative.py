"""Lengths of changes are those of changes written out in full."""

import torch

from backlight.decompose.relative import (
    dimension_sizes,
    feature_sizes,
    head_grams,
    head_sizes,
    row_lengths,
    token_weights,
    unit_lengths,
    whole_sizes,
)

_RANDOM = torch.Generator().manual_seed(0)
_WEIGHT = torch.randn(6, 8, generator=_RANDOM, dtype=torch.float64)  # [stream, site]
_X = torch.randn(2, 5, 8, generator=_RANDOM, dtype=torch.float64)


def _through(change):
    return change @ _WEIGHT.T


def _only(members):
    kept = torch.zeros_like(_X)
    kept[..., members] = _X[..., members]
    return torch.linalg.vector_norm(kept @ _WEIGHT.T, dim=-1)


def test_each_dimension_is_as_long_as_what_it_alone_adds():
    found = dimension_sizes(_X, unit_lengths(8, _through, _X))

    expected = torch.stack([_only([index]) for index in range(8)], dim=-1)
    torch.testing.assert_close(found, expected)


def test_each_head_is_as_long_as_what_it_alone_adds():
    found = head_sizes(_X, head_grams(8, 4, _through, _X))

    expected = torch.stack([_only([2 * head, 2 * head + 1]) for head in range(4)], dim=-1)
    torch.testing.assert_close(found, expected)


def test_a_head_of_zeros_has_no_length():
    assert (
        head_sizes(torch.zeros(1, 8, dtype=torch.float64), head_grams(8, 4, _through, _X))
        .eq(0)
        .all()
    )


def test_each_feature_is_as_long_as_its_row_times_its_value():
    rows = torch.randn(3, 8, generator=_RANDOM, dtype=torch.float64)
    values, features = torch.tensor([2.0, -1.5]).double(), torch.tensor([2, 0])

    found = feature_sizes(values, features, row_lengths(rows, _through))

    expected = [
        torch.linalg.vector_norm(values[i] * rows[f] @ _WEIGHT.T) for i, f in enumerate(features)
    ]
    torch.testing.assert_close(found, torch.stack(expected))


def test_a_whole_site_is_as_long_as_what_it_adds():
    torch.testing.assert_close(whole_sizes(_X, _through), _only(list(range(8))))


def test_pads_and_tokens_without_a_stream_have_no_weight():
    norms = torch.tensor([[2.0, 0.0, 5.0]])
    valid = torch.tensor([[True, True, False]])

    assert token_weights(norms, valid).tolist() == [[0.5, 0.0, 0.0]]
    assert token_weights(norms, valid, scale=torch.full_like(norms, 3.0)).tolist() == [[1.5, 0, 0]]
