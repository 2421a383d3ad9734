"""The softmax of attention: reference numbers, and its Jacobian written out."""

import pytest
import torch
from torch.testing import assert_close

from backlight.decompose.softmax import (
    jacobian_trace,
    softmax_backward,
    softmax_jacobian,
    visible_softmax,
)


def double(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


@pytest.mark.parametrize(
    ("scores", "weights", "norm"),
    [
        ((2, 0, 0), (0.78699, 0.10651, 0.10651), 0.25146),
        ((10, 0, 0), (0.999909, 4.54e-5, 4.54e-5), 1.3618e-4),
    ],
    ids=str,
)
def test_the_numbers_of_the_two_textbook_rows(scores, weights, norm):
    seen = torch.ones(1, 3, dtype=torch.bool)
    found = visible_softmax(double(*scores).view(1, 1, 3), seen)[0].flatten()
    assert_close(found, double(*weights), rtol=0, atol=5e-6)
    jacobian = softmax_jacobian(found)
    assert torch.linalg.matrix_norm(jacobian, 2).item() == pytest.approx(norm, rel=5e-5)
    assert jacobian.trace().item() == pytest.approx(1 - found.square().sum().item())


def test_the_backward_is_the_jacobian_times_the_gradient():
    weights, grad = double(2, 0, -1, 0.5).softmax(-1), double(1, -3, 2, 0.4)
    scores_grad, average = softmax_backward(weights, grad)
    assert_close(scores_grad, softmax_jacobian(weights) @ grad)
    assert_close(average, weights @ grad)
    assert abs(scores_grad.sum().item()) < 1e-15


def test_a_sink_is_one_more_column_of_every_row():
    scores = torch.randn(2, 3, 4, dtype=torch.float64)
    visible = torch.ones(3, 4, dtype=torch.bool).tril(1)
    sinks = double(0.7, -2.0)
    weights, sunk = visible_softmax(scores, visible, sinks)

    hidden = scores.masked_fill(~visible, -torch.inf)
    column = sinks.view(2, 1, 1).expand(2, 3, 1)
    full = torch.cat([hidden, column], dim=-1).softmax(-1)
    assert_close(weights, full[..., :4])
    assert_close(sunk, full[..., 4])
    assert not weights[:, ~visible].any()

    gradient = torch.randn(2, 3, 4, dtype=torch.float64)
    found, average = softmax_backward(weights, gradient)
    assert_close(found.sum(-1) - sunk * average, torch.zeros(2, 3, dtype=torch.float64))
    assert_close(jacobian_trace(weights, sunk), 1 - full.square().sum(-1))


def test_the_trace_is_zero_where_one_weight_takes_all_and_largest_for_even_rows():
    rows = torch.stack([double(1, 0, 0, 0), double(0.25, 0.25, 0.25, 0.25)])
    assert jacobian_trace(rows, torch.zeros(2).double()).tolist() == [0, 0.75]
