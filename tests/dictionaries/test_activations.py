"""Activation functions against their definitions, written with sorting and loops."""

import pytest
import torch
from torch.testing import assert_close

from backlight.dictionaries.activations import Gated, GroupMax, Relu, Threshold, TopK


@pytest.fixture
def pre():
    return torch.randn(9, 12, dtype=torch.float64)


def test_relu_keeps_what_is_positive(pre):
    assert_close(Relu()(pre), pre.clamp(min=0))


@pytest.mark.parametrize("k", [1, 5, 12, 40])
def test_top_k_keeps_the_k_largest_that_are_positive(pre, k):
    found = TopK(k=k)(pre)

    for row, kept in zip(pre, found, strict=True):
        largest = row.sort(descending=True).values[:k]
        assert_close(kept[kept != 0].sort(descending=True).values, largest[largest > 0])
        assert_close(kept[kept != 0], row[kept != 0])


def test_top_k_by_size_keeps_signs(pre):
    found = TopK(k=4, by_size=True)(pre)

    for row, kept in zip(pre, found, strict=True):
        assert_close(kept[kept != 0], row[kept != 0])
        assert row[kept == 0].abs().max() < kept[kept != 0].abs().min()
        assert (kept != 0).sum() == 4


def test_top_k_keeps_what_is_below_zero_if_asked_to(pre):
    found = TopK(k=pre.shape[1], keeps_negative=True)(pre)

    assert torch.equal(found, pre)
    assert (found < 0).any()


def test_a_value_at_its_threshold_does_not_fire():
    pre = torch.tensor([[1.0, 1.0, -0.5, 2.0]])

    found = Threshold(threshold=torch.tensor([1.0, 0.5, -1.0, 3.0]))(pre)

    assert_close(found, torch.tensor([[0.0, 1.0, 0.0, 0.0]]))


def test_a_gate_decides_whether_and_a_magnitude_how_much(pre):
    gate_bias, scale, bias = torch.randn(3, 12, dtype=torch.float64)

    found = Gated(gate_bias=gate_bias, magnitude_scale=scale.exp(), magnitude_bias=bias)(pre)

    assert_close(found, (pre + gate_bias > 0) * (pre * scale.exp() + bias).relu())


def test_group_max_keeps_the_largest_of_each_group(pre):
    found = GroupMax(k=3)(pre)

    for row, kept in zip(pre, found, strict=True):
        for group, survivors in zip(row.split(4), kept.split(4), strict=True):
            assert_close(survivors.max(), group.max().clamp(min=0))
            assert (survivors != 0).sum() <= 1


def test_activation_functions_leave_their_input_alone(pre):
    ones = torch.ones(12, dtype=torch.float64)
    before = pre.clone()

    for activation in (
        Relu(),
        TopK(k=3),
        TopK(k=3, by_size=True),
        TopK(k=3, keeps_negative=True),
        Threshold(threshold=ones),
        Gated(gate_bias=ones, magnitude_scale=ones, magnitude_bias=ones),
        GroupMax(k=3),
    ):
        activation(pre)
        assert torch.equal(pre, before)
