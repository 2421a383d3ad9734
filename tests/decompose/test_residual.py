"""Residual paths against autograd through the branch alone, and the law of telescoping."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.functional import layer_norm
from torch.testing import assert_close

from backlight.decompose.norm import split_layer_norm_gradient
from backlight.decompose.residual import residual_paths, sum_paths

WIDTH = 6


@pytest.fixture
def blocks():
    """Four residual blocks, each a norm and a small network."""
    torch.manual_seed(0)
    return [
        nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 9), nn.GELU(), nn.Linear(9, WIDTH))
        .double()
        .requires_grad_(False)
        for _ in range(4)
    ]


@pytest.fixture
def stream(blocks):
    """Every state of the residual stream, with the gradient of a nonlinear loss."""
    states = [torch.randn(2, 5, WIDTH, dtype=torch.float64, requires_grad=True)]
    for block in blocks:
        states.append(states[-1] + block(states[-1]))
        states[-1].retain_grad()
    states[-1].cos().sum().backward()
    return states


def test_the_transform_path_is_the_gradient_of_the_branch_alone(blocks, stream):
    for block, before, after in zip(blocks, stream, stream[1:], strict=False):
        x = before.detach().requires_grad_()
        (expected,) = torch.autograd.grad(block(x), x, after.grad)
        paths = residual_paths(before.grad, after.grad)
        assert_close(paths.transform, expected)
        assert torch.equal(paths.direct, after.grad)


def test_the_last_step_of_the_transform_path_is_the_norm(blocks, stream):
    norm, *rest = blocks[1]
    x = stream[1].detach()
    leaf = layer_norm(x, (WIDTH,), norm.weight, norm.bias, norm.eps).requires_grad_()
    (behind,) = torch.autograd.grad(nn.Sequential(*rest)(leaf), leaf, stream[2].grad)
    parts = split_layer_norm_gradient(x, behind, norm.weight, eps=norm.eps)
    assert_close(parts.total, residual_paths(stream[1].grad, stream[2].grad).transform)


def test_transform_paths_add_up_from_the_top_to_the_embedding(stream):
    total = stream[-1].grad.clone()
    for before, after in pairwise(stream):
        total += residual_paths(before.grad, after.grad).transform
    assert_close(total, stream[0].grad)


def test_sums_leave_out_pads_and_follow_the_law_of_cosines(stream):
    valid = torch.tensor([[True] * 5, [True] * 2 + [False] * 3])
    paths = residual_paths(stream[0].grad, stream[1].grad)

    sums = sum_paths(paths, valid)

    assert sums.num_tokens.tolist() == sums.num_live.tolist() == [5, 2]
    for index, length in enumerate((5, 2)):
        direct, transform = paths.direct[index, :length], paths.transform[index, :length]
        assert_close(sums.direct_square[index], direct.square().sum())
        assert_close(sums.transform_square[index], transform.square().sum())
        assert_close(sums.total_square[index], stream[0].grad[index, :length].square().sum())
        cosine = torch.cosine_similarity(direct, transform, dim=-1)
        assert_close(paths.cosine[index, :length], cosine)
        assert_close(sums.cosine[index], cosine.sum())
    assert_close(sums.total_square, sums.direct_square + sums.transform_square + 2 * sums.inner)


def test_paths_that_work_against_each_other_have_a_negative_product():
    grad_out = torch.zeros(1, 1, 2, dtype=torch.float64)
    grad_out[..., 0] = 2
    grad_in = grad_out.clone()
    grad_in[..., 0] = 1  # the transform path is (-1, 0): it works against the direct one

    sums = sum_paths(residual_paths(grad_in, grad_out), torch.ones(1, 1, dtype=torch.bool))

    assert sums.direct_square.item() == 4
    assert sums.transform_square.item() == 1
    assert sums.total_square.item() == 1
    assert sums.inner.item() == -2
    assert sums.cosine.item() == pytest.approx(-1)


def test_a_token_without_gradient_has_no_cosine_and_is_not_live():
    grad_in, grad_out = torch.ones(2, 1, 3, 4)
    grad_in[0, 1] = grad_out[0, 1] = 0
    grad_in[0, 2] = 3
    paths = residual_paths(grad_in, grad_out)
    assert paths.cosine.isnan().tolist() == [[True, True, False]]
    sums = sum_paths(paths, torch.ones(1, 3, dtype=torch.bool))
    assert sums.num_live.item() == 1
    assert sums.cosine.item() == pytest.approx(1)


def test_half_precision_is_raised_before_it_is_subtracted():
    grad_out = torch.full((1, 2), 100.0, dtype=torch.bfloat16)
    paths = residual_paths(torch.full((1, 2), 100.5, dtype=torch.bfloat16), grad_out)
    assert paths.transform.dtype == torch.float32
