"""Beginnings that rows share."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from backlight.world.learning.prefixes import share_prefixes


def tokens_of(rows):
    return torch.tensor([[2, *row] for row in rows])


ROWS = st.lists(st.lists(st.integers(0, 2), min_size=6, max_size=6), min_size=1, max_size=12)


@given(ROWS, st.integers(1, 6))
def test_the_parts_make_up_the_rows_and_the_cut_is_the_cheapest(rows, longest):
    tokens = tokens_of(rows)
    shared = share_prefixes(tokens, longest)
    again = torch.cat([shared.prefixes[shared.which], shared.rest], dim=1)
    assert torch.equal(again, tokens)
    costs = [
        len({tuple(row[:cut]) for row in tokens.tolist()}) * cut + len(tokens) * (7 - cut)
        for cut in range(1, longest + 1)
    ]
    assert shared.prefixes.numel() + shared.rest.numel() == min(costs)
    assert 1 <= shared.prefixes.shape[1] <= longest


def test_rows_with_one_first_city_are_cut_after_it():
    rows = [[7, 8, 9, 1, 1], [7, 8, 9, 2, 1], [7, 8, 9, 3, 1]]
    shared = share_prefixes(tokens_of(rows), 5)
    assert shared.prefixes.tolist() == [[2, 7, 8, 9]]
    assert shared.which.tolist() == [0, 0, 0]
