from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backlight.stats.ratio import Ratios


def sequences(num, width, seed=0):
    random = torch.Generator().manual_seed(seed)
    above = torch.randn(num, width, generator=random, dtype=torch.float64)
    below = torch.rand(num, width, generator=random, dtype=torch.float64) + 0.5
    return above, below


def fed(above, below, cuts=()):
    state = Ratios(above.shape[1])
    edges = [0, *cuts, len(above)]
    for start, stop in pairwise(edges):
        state.update(above[start:stop], below[start:stop])
    return state


def test_the_ratio_is_that_of_the_sums_and_its_error_that_of_cochran():
    above, below = sequences(9, 3)

    found = fed(above, below).result()

    ratio = above.sum(0) / below.sum(0)
    error = ((above - ratio * below).square().sum(0) * 9 / 8).sqrt() / below.sum(0)
    np.testing.assert_allclose(found.ratio, ratio, rtol=1e-12)
    np.testing.assert_allclose(found.se, error, rtol=1e-10)
    assert found.num_sequences.tolist() == [9, 9, 9]


def test_denominators_that_all_share_may_be_one_column():
    above, _ = sequences(6, 2)
    lengths = torch.tensor([[3], [5], [2], [9], [4], [1]])
    shared = Ratios(2, shared_below=True)
    shared.update(above, lengths)

    found = fed(above, lengths.expand(-1, 2).double()).result()

    np.testing.assert_array_equal(found.ratio, shared.result().ratio)
    np.testing.assert_array_equal(found.se, shared.result().se)


@given(cut=st.integers(0, 9), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_how_sequences_are_cut_into_batches_and_merged_does_not_matter(cut, seed):
    above, below = sequences(9, 2, seed)
    whole = fed(above, below)

    merged = fed(above[:cut], below[:cut])
    merged.merge(fed(above[cut:], below[cut:]))
    restored = Ratios(2)
    restored.restore(fed(above, below, cuts=(cut,)).state())

    for other in (merged, restored):
        np.testing.assert_allclose(other.result().ratio, whole.result().ratio, rtol=1e-12)
        np.testing.assert_allclose(other.result().se, whole.result().se, rtol=1e-6)


def test_nothing_to_divide_by_is_not_a_number():
    found = fed(torch.ones(2, 1, dtype=torch.float64), torch.zeros(2, 1, dtype=torch.float64))

    assert np.isnan(found.result().ratio).all()


def test_twice_the_error_holds_the_truth_about_as_often_as_it_should():
    random = torch.Generator().manual_seed(0)
    whole = torch.rand(60, 2000, generator=random, dtype=torch.float64) + 0.2
    part = whole * (0.3 + 0.1 * torch.randn(60, 2000, generator=random, dtype=torch.float64))

    found = fed(part, whole).result()

    inside = (np.abs(found.ratio - 0.3) < 2 * found.se).mean()
    assert 0.93 < inside < 0.97


def test_a_share_that_all_sequences_have_is_certain():
    whole = torch.tensor([[1.0], [5.0], [2.0]], dtype=torch.float64)

    found = fed(0.25 * whole, whole).result()

    assert found.ratio.item() == 0.25
    assert found.se.item() < 1e-7


def test_the_root_of_a_ratio_has_the_error_of_the_delta_method():
    above, below = sequences(9, 3)
    found = fed(above.square(), below).result()

    root = found.root()

    np.testing.assert_allclose(root.ratio**2, found.ratio)
    np.testing.assert_allclose(2 * root.ratio * root.se, found.se)


def test_the_root_of_nothing_has_no_error():
    nothing = torch.zeros(3, 1, dtype=torch.float64)

    root = fed(nothing, nothing + 1).result().root()

    assert root.ratio.item() == 0
    assert np.isnan(root.se).all()


@pytest.mark.parametrize("num", [0, 1])
def test_one_sequence_has_no_error(num):
    above, below = sequences(num, 1)

    assert np.isnan(fed(above, below).result().se).all()
