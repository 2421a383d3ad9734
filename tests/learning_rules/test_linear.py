"""Linear maps under feedback, against backward passes written out by hand."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from backlight.learning_rules.feedback import draw_feedback, spread
from backlight.learning_rules.linear import linear_with_feedback

X = [[1.0, 2.0], [0.0, -1.0]]
WEIGHT = [[1.0, 0.5], [-2.0, 3.0], [0.0, 1.0]]
FEEDBACK = [[10.0, 20.0, 30.0], [-1.0, 0.0, 1.0]]
ERROR = [[1.0, 0.0, 2.0], [0.0, -1.0, 1.0]]


def leaves(*values):
    return [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in values]


def test_the_error_goes_back_through_the_feedback_and_the_weights_learn_exactly():
    x, weight, bias = leaves(X, WEIGHT, [0.1, 0.2, 0.3])
    feedback, error = torch.tensor(FEEDBACK).double(), torch.tensor(ERROR).double()

    y = linear_with_feedback(x, weight, bias, feedback)
    y.backward(error)

    assert y[0].tolist() == pytest.approx([2.1, 4.2, 2.3])
    # B d: 10 + 60 and -1 + 2 for the first token; -20 + 30 and 0 + 1 for the second.
    assert x.grad.tolist() == [[70.0, 1.0], [10.0, 1.0]]
    # d x^T: d = (1, 0, 2) with x = (1, 2), and d = (0, -1, 1) with x = (0, -1).
    assert weight.grad.tolist() == [[1.0, 2.0], [0.0, 1.0], [2.0, 3.0]]
    assert bias.grad.tolist() == [1.0, -1.0, 3.0]


@pytest.mark.parametrize("tokens", [(), (5,), (2, 3)], ids=str)
def test_with_the_transposed_weights_it_is_backpropagation(tokens):
    x = torch.randn(*tokens, 4, dtype=torch.float64)
    error = torch.randn(*tokens, 3, dtype=torch.float64)
    weight, bias = torch.randn(3, 4, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    results = []
    for function in (
        lambda x, w, b: linear_with_feedback(x, w, b, w.detach().t()),
        nn.functional.linear,
    ):
        inputs = [tensor.clone().requires_grad_() for tensor in (x, weight, bias)]
        y = function(*inputs)
        y.backward(error)
        results.append([y.detach(), *(tensor.grad for tensor in inputs)])

    for found, expected in zip(*results, strict=True):
        assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_what_needs_no_gradient_gets_none():
    x, weight, bias = leaves(X, WEIGHT, [0.0, 0.0, 0.0])
    feedback = torch.tensor(FEEDBACK).double()

    linear_with_feedback(x.detach(), weight, None, feedback).sum().backward()
    assert x.grad is None
    assert weight.grad is not None

    linear_with_feedback(x, weight.detach(), bias.detach(), feedback).sum().backward()
    assert x.grad.tolist() == [[60.0, 0.0], [60.0, 0.0]]
    assert bias.grad is None


def test_operations_in_place_may_follow():
    x, weight = leaves(X, WEIGHT)
    y = linear_with_feedback(x, weight, None, torch.tensor(FEEDBACK).double()).relu_()
    y.sum().backward()
    assert x.grad.tolist() == [[60.0, 0.0], [0.0, 0.0]]  # the second token is all negative


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_autocast_lowers_what_it_lowers_in_a_plain_map(dtype):
    x, weight = torch.randn(5, 4).to(dtype), torch.randn(3, 4).to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = linear_with_feedback(x, weight, None, torch.randn(4, 3).to(dtype))
        plain = nn.functional.linear(x, weight)
    assert y.dtype == plain.dtype
    assert torch.equal(y, plain)


@pytest.mark.parametrize(
    ("scale", "expected"),
    [("forward", 0.3), ("xavier", (2 / 1100) ** 0.5), ("kaiming", (2 / 300) ** 0.5)],
)
def test_entries_have_the_spread_of_their_scale(scale, expected):
    weight = 0.3 * torch.randn(300, 800) + 5
    drawn = draw_feedback(weight, scale=scale, generator=torch.Generator().manual_seed(1))

    assert drawn.shape == (800, 300)
    assert drawn.std().item() == pytest.approx(expected, rel=0.01)
    assert abs(drawn.mean().item()) < 0.01 * expected
    assert spread(weight, scale=scale) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    ("scale", "fill"),
    [("xavier", nn.init.xavier_uniform_), ("kaiming", nn.init.kaiming_uniform_)],
)
def test_uniform_scales_are_those_of_torch(scale, fill):
    drawn = draw_feedback(torch.zeros(30, 800), scale=scale, generator=None)
    assert drawn.abs().max().item() == pytest.approx(
        fill(torch.empty(800, 30)).abs().max().item(), rel=1e-3
    )


def test_a_seed_gives_the_same_matrix_in_every_number_format():
    drawn = [
        draw_feedback(
            torch.zeros(3, 4, dtype=dtype),
            scale="xavier",
            generator=torch.Generator().manual_seed(3),
        )
        for dtype in (torch.float32, torch.float64, torch.bfloat16)
    ]
    assert_close(drawn[0].double(), drawn[1], rtol=1e-6, atol=1e-6)
    assert_close(drawn[0].bfloat16(), drawn[2])
