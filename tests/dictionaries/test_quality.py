"""What is said of a dictionary's reconstruction, against plain dense arithmetic."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from backlight.dictionaries.codes import Codes
from backlight.dictionaries.quality import Reconstruction

TOKENS, WIDTH, FEATURES = 40, 6, 11


def drawn(seed=0, *, shift=0.0, num_tokens=TOKENS):
    random = torch.Generator().manual_seed(seed)
    target = torch.randn(num_tokens, WIDTH, generator=random, dtype=torch.float64) + shift
    output = target + 0.3 * torch.randn(num_tokens, WIDTH, generator=random, dtype=torch.float64)
    dense = torch.rand(num_tokens, FEATURES, generator=random)
    dense[dense < 0.8] = 0.0
    dense[:, 3] = 0.0
    first = torch.rand(num_tokens, generator=random) < 0.2
    target[first] *= 50.0
    return target, output, dense, first


def quality(target, output, dense, first, cuts=()):
    gathered = Reconstruction()
    edges = [0, *sorted(cuts), len(target)]
    for start, end in pairwise(edges):
        part = slice(start, end)
        gathered.update(target[part], output[part], Codes.of(dense[part]), first=first[part])
    return gathered.result()


def explained(target, output):
    target, output = target.double().numpy(), output.double().numpy()
    return 1 - np.square(target - output).sum() / np.square(target - target.mean(axis=0)).sum()


@pytest.mark.parametrize("shift", [0.0, 1e6], ids=["centred", "far from zero"])
def test_it_is_what_dense_arithmetic_gives(shift):
    target, output, dense, first = drawn(shift=shift)

    found = quality(target, output, dense, first)

    assert found.explained_variance == pytest.approx(explained(target[~first], output[~first]))
    assert found.explained_variance_with_first == pytest.approx(explained(target, output))
    assert found.l0 == pytest.approx((dense[~first] != 0).sum(dim=1).double().mean().item())
    assert found.dead_share == pytest.approx((dense[~first] == 0).all(dim=0).double().mean().item())
    assert found.num_tokens == int((~first).sum())


@given(cuts=st.lists(st.integers(0, TOKENS), max_size=6), seed=st.integers(0, 20))
def test_how_the_tokens_are_cut_does_not_matter(cuts, seed):
    data = drawn(seed, shift=100.0)

    whole, parts = quality(*data), quality(*data, cuts=cuts)

    assert parts.explained_variance == pytest.approx(whole.explained_variance, rel=1e-12)
    assert parts.explained_variance_with_first == pytest.approx(
        whole.explained_variance_with_first, rel=1e-12
    )
    assert parts.l0 == whole.l0
    assert parts.dead_share == whole.dead_share
    assert parts.num_tokens == whole.num_tokens


@pytest.mark.parametrize("cut", [0, 13, TOKENS])
def test_merging_is_concatenation(cut):
    target, output, dense, first = drawn(1)
    left, right, whole = Reconstruction(), Reconstruction(), quality(target, output, dense, first)
    for gathered, part in ((left, slice(0, cut)), (right, slice(cut, TOKENS))):
        if len(target[part]):
            gathered.update(target[part], output[part], Codes.of(dense[part]), first=first[part])

    left.merge(right)

    found = left.result()
    assert found.explained_variance == pytest.approx(whole.explained_variance, rel=1e-12)
    assert found.l0 == whole.l0
    assert found.dead_share == whole.dead_share


def test_a_perfect_reconstruction_explains_everything_and_the_mean_nothing():
    target, _, dense, _ = drawn(2)
    first = torch.zeros(TOKENS, dtype=torch.bool)

    assert quality(target, target, dense, first).explained_variance == 1.0
    mean = target.mean(dim=0).expand_as(target)
    assert quality(target, mean, dense, first).explained_variance == pytest.approx(0.0, abs=1e-12)


def test_first_tokens_count_only_where_it_says_so():
    target, output, dense, first = drawn(3)
    changed = torch.where(first[:, None], target + 1000.0, output)

    before, after = quality(target, output, dense, first), quality(target, changed, dense, first)

    assert after.explained_variance == before.explained_variance
    assert after.explained_variance_with_first < before.explained_variance_with_first


def test_half_precision_is_summed_in_double():
    target = torch.full((5000, WIDTH), 3.0, dtype=torch.float16)
    target[::2] += 1.0
    dense, first = torch.ones(5000, FEATURES), torch.zeros(5000, dtype=torch.bool)

    assert quality(target, target - 0.5, dense, first).explained_variance == pytest.approx(0.0)


def test_without_tokens_nothing_is_known():
    found = Reconstruction().result()

    assert found.num_tokens == 0
    assert all(math.isnan(each) for each in (found.explained_variance, found.l0, found.dead_share))


def test_tokens_that_do_not_vary_leave_the_share_unknown():
    target, first = torch.ones(4, WIDTH), torch.zeros(4, dtype=torch.bool)

    assert math.isnan(quality(target, target, torch.ones(4, FEATURES), first).explained_variance)
