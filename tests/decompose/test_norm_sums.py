"""Sums by sequence against the same numbers of all tokens at once."""

from functools import partial

import pytest
import torch
from torch.testing import assert_close

from backlight.decompose.norm import norm_energies
from backlight.decompose.norm_sums import sum_norm_energies
from backlight.decompose.surrogates import match_surrogates

LENGTHS = torch.tensor([6, 1, 4])

layer_norm_energies = partial(norm_energies, is_centred=True)
rms_norm_energies = partial(norm_energies, is_centred=False)


def batch(heads=()):
    generator = torch.Generator().manual_seed(0)
    x, grad = torch.randn(2, 3, 6, *heads, 10, generator=generator, dtype=torch.float64)
    valid = torch.arange(6) < LENGTHS[:, None]
    grad[0, 5] = 0  # a last token, which predicts nothing
    return x, grad, valid


@pytest.mark.parametrize("heads", [(), (4,)], ids=["tokens", "heads"])
@pytest.mark.parametrize("measure", [layer_norm_energies, rms_norm_energies])
def test_sums_are_those_of_the_tokens_that_are_there(measure, heads):
    x, grad, valid = batch(heads)

    sums = sum_norm_energies(measure(x, grad, None, eps=1e-5), valid)

    assert sums.num_tokens.tolist() == [6, 1, 4]
    assert (sums.num_live == torch.tensor([5, 1, 4]).view(3, *(1 for _ in heads))).all()
    for index, length in enumerate(LENGTHS):
        alone = measure(x[index, :length], grad[index, :length], None, eps=1e-5)
        assert_close(sums.whole[index], alone.whole.sum(0))
        assert_close(sums.true_square[index], (alone.rest / alone.sigma**2).sum(0))
        assert_close(sums.token_r_radial[index], alone.r_radial.nansum(0))
        assert_close(sums.cosine[index], match_surrogates(alone).cosine.nansum(0))


def test_a_ratio_of_means_is_not_the_mean_of_ratios():
    x, grad, valid = batch()
    grad[0, 0] *= 100
    energies = layer_norm_energies(x, grad, None, eps=1e-5)
    sums = sum_norm_energies(energies, valid)
    kept = valid & (energies.rest > 0)
    mean, radial = energies.mean[kept], energies.radial[kept]
    whole = energies.whole[kept]

    assert_close(sums.r_mean, mean.mean() / whole.mean())
    assert_close(sums.r_radial, radial.mean() / whole.mean())
    assert_close(sums.token_r_mean.sum() / sums.num_live.sum(), (mean / whole).mean())
    token_r_radial = sums.token_r_radial.sum() / sums.num_live.sum()
    assert_close(token_r_radial, (radial / whole).mean())
    assert abs(sums.r_radial - token_r_radial) > 0.01


def test_sigma_and_surrogates_are_averaged_over_tokens():
    x, grad, valid = batch()
    energies = layer_norm_energies(x, grad, None, eps=1e-5)
    sums = sum_norm_energies(energies, valid)
    match, live = match_surrogates(energies), valid & (energies.rest > 0)

    assert_close(sums.sigma_mean, energies.sigma[valid].mean())
    assert_close(sums.sigma_std, energies.sigma[valid].std(correction=0))
    assert_close(sums.mean_cosine, match.cosine[live].mean(0))
    expected = (match.square[valid].mean(0) / match.true_square[valid].mean()).sqrt()
    assert_close(sums.norm_ratio, expected)


def test_what_stands_in_pads_counts_nowhere():
    x, grad, valid = batch()
    clean = sum_norm_energies(layer_norm_energies(x, grad, None, eps=1e-5), valid)
    x[~valid], grad[~valid] = torch.nan, torch.inf
    dirty = sum_norm_energies(layer_norm_energies(x, grad, None, eps=1e-5), valid)
    for name in ("whole", "rest", "sigma", "cosine", "square", "token_r_mean", "num_live"):
        assert torch.equal(getattr(clean, name), getattr(dirty, name))


def test_sums_are_float64_whatever_the_gradient_is():
    x, grad, valid = batch()
    sums = sum_norm_energies(layer_norm_energies(x.float(), grad.float(), None, eps=1e-5), valid)
    assert sums.whole.dtype == sums.cosine.dtype == sums.num_tokens.dtype == torch.float64


def test_what_rounding_leaves_is_no_gradient():
    x, grad, valid = batch()
    grad[2, 1] *= 1e-7
    grad[1, 0] *= 1e-7  # the only token of its sequence, so it is as large as any

    sums = sum_norm_energies(layer_norm_energies(x, grad, None, eps=1e-5), valid)

    assert sums.num_live.tolist() == [5, 1, 3]
