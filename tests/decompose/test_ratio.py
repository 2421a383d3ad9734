"""Ratios of sums against the clustered mean of the streaming statistics, and their coverage."""

import numpy as np
import torch
from torch.testing import assert_close

from backlight.decompose.ratio import ratio_of_sums
from backlight.stats.cluster import ClusterMean


def test_over_counts_a_ratio_is_the_clustered_mean():
    sums = torch.randn(6, 3, dtype=torch.float64)
    lengths = torch.tensor([[4], [1], [7], [2], [2], [9]])
    clusters = ClusterMean(3)
    clusters.update(sums, lengths)
    expected = clusters.result()

    found = ratio_of_sums(sums, lengths.double())

    np.testing.assert_allclose(found.value, expected.mean)
    np.testing.assert_allclose(found.se, expected.se)


def test_twice_the_error_holds_the_truth_about_as_often_as_it_should():
    random = torch.Generator().manual_seed(0)
    whole = torch.rand(60, 2000, generator=random, dtype=torch.float64) + 0.2
    part = whole * (0.3 + 0.1 * torch.randn(60, 2000, generator=random, dtype=torch.float64))
    found = ratio_of_sums(part, whole)
    inside = ((found.value - 0.3).abs() < 2 * found.se).double().mean().item()
    assert 0.93 < inside < 0.97


def test_a_share_that_all_sequences_have_is_certain_and_one_sequence_is_not_enough():
    whole = torch.tensor([[1.0], [5.0], [2.0]], dtype=torch.float64)
    found = ratio_of_sums(0.25 * whole, whole)
    assert_close(found.value, torch.tensor([0.25]).double())
    assert found.se.item() < 1e-15
    assert ratio_of_sums(whole[:1], whole[:1]).se.isnan().all()


def test_nothing_over_nothing_has_no_ratio():
    found = ratio_of_sums(torch.zeros(3, 2), torch.zeros(3, 2))
    assert found.value.isnan().all()
    assert found.se.isnan().all()
