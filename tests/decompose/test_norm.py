"""The parts of a norm's backward against autograd through the norm written out."""

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import layer_norm, rms_norm
from torch.testing import assert_close

from backlight.decompose.norm import (
    norm_energies,
    split_layer_norm_gradient,
    split_rms_norm_gradient,
)

layer_norm_energies = partial(norm_energies, is_centred=True)
rms_norm_energies = partial(norm_energies, is_centred=False)


KINDS = {
    "layer": (split_layer_norm_gradient, layer_norm_energies, layer_norm),
    "rms": (split_rms_norm_gradient, rms_norm_energies, rms_norm),
}
EPS = (0.0, 1e-6, 1e-5, 0.3)

shapes = st.lists(st.integers(1, 4), min_size=0, max_size=3).flatmap(
    lambda tokens: st.integers(3, 17).map(lambda width: (*tokens, width))
)
kinds = st.sampled_from(sorted(KINDS))


def draw(shape, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    x = scale * torch.randn(shape, generator=generator, dtype=torch.float64) + 0.7
    grad = torch.randn(shape, generator=generator, dtype=torch.float64) + 0.4
    gain = 1 + torch.randn(shape[-1], generator=generator, dtype=torch.float64)
    return x, grad, gain


def autograd(norm, x, grad, gain, eps):
    x = x.clone().requires_grad_()
    norm(x, x.shape[-1:], gain, eps=eps).backward(grad)
    return x.grad


def relative_error(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


@given(
    shape=shapes,
    kind=kinds,
    eps=st.sampled_from(EPS),
    seed=st.integers(0, 99),
    scale=st.sampled_from((0.1, 1.0, 30.0)),
)
def test_parts_add_up_to_what_autograd_leaves_whatever_eps_is(shape, kind, eps, seed, scale):
    split, _, norm = KINDS[kind]
    x, grad, gain = draw(shape, seed, scale)

    parts = split(x, grad, gain, eps=eps)

    # Of three dimensions a layer norm leaves one: parts are large against what is left of them.
    error = parts.total - autograd(norm, x, grad, gain, eps)
    assert (error.norm(dim=-1) <= 1e-12 * parts.direct.norm(dim=-1)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_gradient_taken_behind_the_gain_is_not_split_rightly_without_it(kind):
    split, _, norm = KINDS[kind]
    x, grad, gain = draw((5, 8))
    expected = autograd(norm, x, grad, gain, 1e-5)

    assert relative_error(split(x, grad, gain, eps=1e-5).total, expected) < 1e-12
    assert relative_error(split(x, grad, None, eps=1e-5).total, expected) > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_energies_need_the_gain(kind):
    _, measure, _ = KINDS[kind]
    x, grad, gain = draw((5, 8))
    assert (
        relative_error(
            measure(x, grad, None, eps=0.0).r_radial, measure(x, grad, gain, eps=0.0).r_radial
        )
        > 0.1
    )
    assert_close(
        measure(x, grad, gain, eps=0.0).r_radial, measure(x, grad * gain, None, eps=0.0).r_radial
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_norm_without_gain_has_a_gain_of_ones(kind):
    split, measure, _ = KINDS[kind]
    x, grad, _ = draw((2, 3, 8))
    ones = torch.ones(8, dtype=torch.float64)
    assert_close(split(x, grad, None, eps=0.1).total, split(x, grad, ones, eps=0.1).total)
    assert_close(measure(x, grad, None, eps=0.1).rest, measure(x, grad, ones, eps=0.1).rest)


@given(shape=shapes, kind=kinds, eps=st.sampled_from(EPS), seed=st.integers(0, 99))
def test_energies_are_the_squared_lengths_of_the_parts(shape, kind, eps, seed):
    split, measure, _ = KINDS[kind]
    x, grad, gain = draw(shape, seed)

    energies, parts = measure(x, grad, gain, eps=eps), split(x, grad, gain, eps=eps)

    variance = energies.sigma.square()
    for found, part in [
        (energies.mean, parts.centering),
        (energies.radial, parts.radial),
        (energies.rest, parts.total),
        (energies.whole, parts.direct),
    ]:
        assert_close(found, part.square().sum(-1) * variance, rtol=1e-10, atol=1e-10)
    overlap = -(parts.radial * parts.total).sum(-1) * variance
    assert_close(energies.overlap, overlap, rtol=1e-9, atol=1e-9)


@given(shape=shapes, kind=kinds, seed=st.integers(0, 99))
def test_without_eps_the_shares_add_up_to_one(shape, kind, seed):
    _, measure, _ = KINDS[kind]
    x, grad, gain = draw(shape, seed)
    energies = measure(x, grad, gain, eps=0.0)
    rest = energies.rest / (grad * gain).square().sum(-1)
    assert_close(energies.r_mean + energies.r_radial + rest, torch.ones_like(rest))
    assert not energies.overlap.any()


def test_a_layer_norm_has_two_null_directions_and_eps_lets_one_pass_a_little():
    x, _, _ = draw((8,))
    sigma = (x.var(correction=0) + 0.3).sqrt()
    z = (x - x.mean()) / sigma

    shift = split_layer_norm_gradient(x, torch.ones_like(x), None, eps=0.3)
    stretch = split_layer_norm_gradient(x, z, None, eps=0.3)

    assert shift.total.abs().max() < 1e-14
    assert_close(stretch.total, z / sigma * 0.3 / sigma**2)
    assert split_layer_norm_gradient(x, x - x.mean(), None, eps=0.0).total.abs().max() < 1e-14


def test_the_jacobian_of_a_layer_norm_is_a_projection_over_sigma():
    x, _, _ = draw((6,))
    rows = [split_layer_norm_gradient(x, row, None, eps=0.0).total for row in torch.eye(6).double()]
    jacobian = torch.stack(rows) * x.std(correction=0)
    assert_close(jacobian, jacobian.T)
    assert_close(jacobian @ jacobian, jacobian)
    assert jacobian.trace().item() == pytest.approx(4)


def test_an_rms_norm_lets_a_shift_pass():
    x, grad, gain = draw((3, 8))
    parts = split_rms_norm_gradient(x, grad, gain, eps=1e-6)
    assert not parts.centering.any()
    assert parts.centering.untyped_storage().nbytes() == 8
    assert not rms_norm_energies(x, grad, gain, eps=1e-6).mean.any()


def test_gemma_gains_are_one_plus_weight():
    x, grad, _ = draw((4, 8))
    weight = 0.3 * torch.randn(8, dtype=torch.float64)
    found = split_rms_norm_gradient(x, grad, 1 + weight, eps=1e-6).total

    leaf = x.clone().requires_grad_()
    scaled = leaf * (leaf.square().mean(-1, keepdim=True) + 1e-6).rsqrt()
    (scaled * (1 + weight)).backward(grad)
    assert relative_error(found, leaf.grad) < 1e-12


def test_norms_of_heads_take_one_gain_for_all_heads_or_one_for_each():
    x, grad, gain = draw((2, 3, 4, 8))
    each = gain * torch.rand(4, 8, dtype=torch.float64)
    found = split_layer_norm_gradient(x, grad, each, eps=1e-5)
    for head in range(4):
        alone = split_layer_norm_gradient(
            x[:, :, head], grad[:, :, head], each[head], eps=1e-5
        ).total
        assert_close(found.total[:, :, head], alone)
    assert split_rms_norm_gradient(x, grad, gain, eps=1e-5).total.shape == x.shape


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_raised_before_anything_is_squared(kind, dtype):
    split, measure, _ = KINDS[kind]
    x, grad, gain = (tensor.to(dtype) for tensor in draw((5, 64)))
    found = split(x, grad, gain, eps=1e-6)
    exact = split(x.double(), grad.double(), gain.double(), eps=1e-6)
    assert found.total.dtype == torch.float32
    assert relative_error(found.total.double(), exact.total) < 1e-5
    assert measure(x, grad, gain, eps=1e-6).rest.dtype == torch.float32


def test_nothing_is_changed_in_place():
    x, grad, gain = draw((5, 8))
    copies = [tensor.clone() for tensor in (x, grad, gain)]
    for split, measure, _ in KINDS.values():
        split(x, grad, gain, eps=1e-5)
        measure(x, grad, gain, eps=1e-5)
    for tensor, copy in zip((x, grad, gain), copies, strict=True):
        assert torch.equal(tensor, copy)
