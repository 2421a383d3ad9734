"""Sparse codes against the dense matrix they stand for."""

import pytest
import torch
from torch.testing import assert_close

from backlight.dictionaries.codes import Codes, concatenate


def sparse(tokens, features, share=0.3):
    dense = torch.randn(tokens, features)
    return dense * (torch.rand(tokens, features) < share)


def test_what_is_kept_is_written_out_again():
    dense = sparse(7, 11)

    assert torch.equal(Codes.of(dense).dense(), dense)


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_a_product_is_that_of_the_dense_matrix(share):
    dense, rows = sparse(7, 11, share), torch.randn(11, 5)
    dense[0] = dense[-1] = 0  # tokens at which nothing fires, at both ends

    assert_close(Codes.of(dense).times(rows), dense @ rows)


def test_counts_are_tokens_at_which_a_feature_fires():
    dense = sparse(30, 6)
    dense[:, 5] = 0

    assert torch.equal(Codes.of(dense).counts(), (dense != 0).sum(dim=0))


def test_codes_put_together_are_those_of_all_tokens():
    dense = sparse(20, 6)
    dense[5:8] = 0

    parts = [Codes.of(part) for part in dense.split([5, 3, 12])]

    whole, expected = concatenate(parts), Codes.of(dense)
    assert whole.num_tokens == 20
    for name in ("tokens", "features", "values"):
        assert torch.equal(getattr(whole, name), getattr(expected, name))
