"""Closed forms of surrogates against the surrogates themselves, and chance against random draws."""

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cosine_similarity
from torch.testing import assert_close

from backlight.decompose.norm import norm_energies
from backlight.decompose.surrogates import (
    SURROGATES,
    match_surrogates,
    norm_chance,
)
from backlight.errors import ConfigError

layer_norm_energies = partial(norm_energies, is_centred=True)
rms_norm_energies = partial(norm_energies, is_centred=False)
layer_norm_chance = partial(norm_chance, is_centred=True)
rms_norm_chance = partial(norm_chance, is_centred=False)

KINDS = {"layer": layer_norm_energies, "rms": rms_norm_energies}


def plain(kind, x, u, eps):
    """Write every surrogate and the truth out."""
    x = x - x.mean(-1, keepdim=True) if kind == "layer" else x
    mean = u.mean(-1, keepdim=True) if kind == "layer" else torch.zeros_like(u[..., :1])
    sigma = (x.square().mean(-1, keepdim=True) + eps).sqrt()
    z = x / sigma
    radial = z * (u * z).mean(-1, keepdim=True)
    surrogates = {
        "identity": u,
        "scale": u / sigma,
        "center_scale": (u - mean) / sigma,
        "projected": u - mean - radial,
        "radial_only": (u - radial) / sigma,
    }
    return surrogates, (u - mean - radial) / sigma


def draw(width, seed, num_tokens=7):
    generator = torch.Generator().manual_seed(seed)
    x, grad = torch.randn(2, num_tokens, width, generator=generator, dtype=torch.float64) + 0.5
    return x, grad, torch.randn(width, generator=generator, dtype=torch.float64)


@given(
    kind=st.sampled_from(sorted(KINDS)),
    width=st.integers(4, 20),
    eps=st.sampled_from((0.0, 1e-5, 0.5)),
    seed=st.integers(0, 99),
)
def test_cosines_and_lengths_are_those_of_the_surrogates_written_out(kind, width, eps, seed):
    x, grad, gain = draw(width, seed)

    match = match_surrogates(KINDS[kind](x, grad, gain, eps=eps))

    surrogates, truth = plain(kind, x, grad * gain, eps)
    assert tuple(surrogates) == SURROGATES
    assert_close(match.true_square, truth.square().sum(-1))
    for index, surrogate in enumerate(surrogates.values()):
        cosine = cosine_similarity(surrogate, truth, dim=-1)
        assert_close(match.cosine[..., index], cosine, rtol=1e-9, atol=1e-9)
        ratio = surrogate.norm(dim=-1) / truth.norm(dim=-1)
        assert_close(match.norm_ratio[..., index], ratio, rtol=1e-9, atol=1e-9)


def test_without_eps_cosines_follow_from_the_shares():
    x, grad, gain = draw(12, 3, num_tokens=50)
    energies = layer_norm_energies(x, grad, gain, eps=0.0)
    cosine = dict(zip(SURROGATES, match_surrogates(energies).cosine.unbind(-1), strict=True))
    left = 1 - energies.r_mean - energies.r_radial

    assert_close(cosine["identity"].square(), left)
    assert_close(cosine["scale"], cosine["identity"])
    assert_close(cosine["center_scale"].square(), left / (1 - energies.r_mean))
    assert_close(cosine["radial_only"].square(), left / (1 - energies.r_radial))
    assert_close(cosine["projected"], torch.ones_like(left))
    assert (cosine["center_scale"] >= cosine["identity"]).all()


def test_centring_means_nothing_to_an_rms_norm():
    x, grad, gain = draw(12, 4)
    match = match_surrogates(rms_norm_energies(x, grad, gain, eps=1e-5))
    scale, center_scale = (SURROGATES.index(name) for name in ("scale", "center_scale"))
    assert_close(match.cosine[:, scale], match.cosine[:, center_scale])
    radial_only = SURROGATES.index("radial_only")
    assert_close(match.norm_ratio[:, radial_only], torch.ones(7, dtype=torch.float64))
    assert_close(match.cosine[:, radial_only], torch.ones(7, dtype=torch.float64))


def test_in_single_precision_a_gradient_that_is_nearly_all_radial_keeps_its_digits():
    x, grad, _ = draw(64, 5)
    grad = x + 1e-3 * grad
    exact = match_surrogates(rms_norm_energies(x, grad, None, eps=1e-6))
    found = match_surrogates(rms_norm_energies(x.float(), grad.float(), None, eps=1e-6))
    assert exact.cosine[:, 0].max() < 0.01
    assert_close(found.cosine.double(), exact.cosine, rtol=1e-3, atol=0)


def test_a_token_without_gradient_has_no_cosine():
    x, grad, gain = draw(8, 6)
    grad[2] = 0
    cosine = match_surrogates(layer_norm_energies(x, grad, gain, eps=1e-5)).cosine
    assert cosine.isnan().any(-1).nonzero().flatten().tolist() == [2]


@pytest.mark.parametrize(
    ("measure", "chance"),
    [(layer_norm_energies, layer_norm_chance), (rms_norm_energies, rms_norm_chance)],
)
def test_random_gradients_sit_at_the_chance_level(measure, chance):
    generator = torch.Generator().manual_seed(7)
    x, u = 2 * torch.randn(2, 20_000, 16, generator=generator, dtype=torch.float64)
    x = x / x.std(-1, keepdim=True, correction=0)
    energies, levels = measure(x, u, None, eps=0.0), chance(16)

    assert energies.r_mean.mean().item() == pytest.approx(levels.r_mean, abs=1e-3)
    assert energies.r_radial.mean().item() == pytest.approx(levels.r_radial, abs=2e-3)
    match = match_surrogates(energies)
    cosines = match.cosine.square().mean(0).sqrt()
    assert_close(cosines.tolist(), list(levels.cosine.values()), rtol=0, atol=2e-3)


def test_chance_levels_at_width_128_are_those_of_the_facts():
    levels = layer_norm_chance(128, sigma=0.5)
    assert levels.r_mean == levels.r_radial == 1 / 128
    assert levels.cosine["identity"] == pytest.approx(0.9922, abs=5e-5)
    assert levels.cosine["center_scale"] == pytest.approx(0.9961, abs=5e-5)
    assert levels.cosine["projected"] == pytest.approx(1)
    assert levels.norm_ratio["projected"] == pytest.approx(0.5)
    assert levels.norm_ratio["scale"] == pytest.approx((1 - 2 / 128) ** -0.5)
    assert levels.norm_ratio["identity"] == pytest.approx(0.5 * levels.norm_ratio["scale"])

    assert rms_norm_chance(128).r_mean == 0
    assert rms_norm_chance(128).cosine["identity"] == pytest.approx((1 - 1 / 128) ** 0.5)


def test_a_norm_too_narrow_to_pass_a_gradient_has_no_chance_level():
    with pytest.raises(ConfigError, match="layer norm of width 2 leaves no gradient; take 3"):
        layer_norm_chance(2)
    with pytest.raises(ConfigError, match="RMS norm of width 1 leaves no gradient; take 2"):
        rms_norm_chance(1)
