"""The gradients that a dictionary descends, against autograd through dense arithmetic."""

import pytest
import torch
from torch.testing import assert_close

from backlight.dictionaries.codes import Codes
from backlight.dictionaries.squared_error import Parameters, gradients, largest, revival_gradients

TOKENS, WIDTH, FEATURES = 24, 5, 13


def drawn():
    def tensor(*shape):
        return torch.randn(*shape, dtype=torch.float64, requires_grad=True)

    parameters = Parameters(
        encoder=tensor(FEATURES, WIDTH),
        encoder_bias=tensor(FEATURES),
        decoder=tensor(FEATURES, WIDTH),
        bias=tensor(WIDTH),
    )
    return parameters, torch.randn(TOKENS, WIDTH, dtype=torch.float64)


def detached(parameters):
    return Parameters(*(each.detach() for each in parameters))


def test_they_are_what_autograd_finds_through_the_dense_autoencoder():
    parameters, x = drawn()
    pre = parameters.pre_activations(x)
    fires = pre > 0.7
    error = (pre * fires) @ parameters.decoder + parameters.bias - x
    expected = torch.autograd.grad(error.square().sum(), parameters)

    codes = Codes.of((pre * fires).detach())
    found = gradients(detached(parameters), x, codes, error.detach())

    for mine, theirs in zip(found, expected, strict=True):
        assert_close(mine, theirs)


def test_those_of_the_revival_are_what_autograd_finds():
    parameters, x = drawn()
    error, dead, k = torch.randn_like(x), torch.arange(FEATURES) % 3 == 1, 2
    pre = parameters.pre_activations(x)[:, dead]
    top = pre.topk(k, dim=1)
    features = torch.zeros_like(pre).scatter(1, top.indices, top.values.relu())
    missed = features @ parameters.decoder[dead] + error
    named = (parameters.encoder, parameters.encoder_bias, parameters.decoder)
    expected = torch.autograd.grad(missed.square().sum(), named)

    found = revival_gradients(detached(parameters), x, error, dead, k=k)

    for mine, theirs in zip(found, expected, strict=False):
        assert_close(mine, theirs)
    assert not found.bias.any()
    assert not found.encoder[~dead].any()


@pytest.mark.parametrize("k", [1, 4, 13])
def test_k_features_stay_on_average_and_they_are_the_largest(k):
    pre = torch.rand(64, 13).repeat_interleave(8, dim=0)  # every eighth token tells it all

    codes, threshold = largest(pre, k)

    assert len(codes.values) == k * len(pre)
    dense = codes.dense()
    assert_close(dense, torch.where(pre > threshold, pre, 0.0))
    assert dense[dense > 0].min() > threshold
    assert (pre[dense == 0] <= threshold).all()


def test_what_is_negative_never_stays():
    pre = torch.randn(800, 13) - 1.0

    codes, threshold = largest(pre, 12)

    assert threshold == 0.0
    assert_close(codes.dense(), pre.relu())
