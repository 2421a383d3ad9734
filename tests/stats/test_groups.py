"""Sums over groups of passages are those of the passages in each group."""

import numpy as np
import pytest
import torch

from backlight.stats.contrast import Groups, estimates_of
from backlight.stats.groups import NUM_GROUPS, RatioGroups, SiteGroups, group_of
from backlight.stats.moments import Moments
from backlight.stats.ratio import NamedRatios

SITE = "layers.0.mlp.out"


def batch(numbers, seed=0, length=6, width=5):
    """Some passages of different lengths, with noise where there is no token."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(len(numbers), length, width, generator=generator)
    lengths = torch.randint(1, length + 1, (len(numbers),), generator=generator)
    valid = torch.arange(length) < lengths[:, None]
    return values, valid, numbers


def summed(*batches, modes=("mean", "mean_abs", "rms")):
    made = SiteGroups(modes)
    for values, valid, numbers in batches:
        made.update(SITE, values, valid=valid, passages=numbers)
    return made


def test_up_to_64_passages_are_a_group_each_and_more_are_spread_evenly():
    assert sorted(group_of(range(NUM_GROUPS))) == list(range(NUM_GROUPS))
    counts = np.bincount(group_of(range(1000)), minlength=NUM_GROUPS)
    assert counts.min() >= 1000 // NUM_GROUPS
    assert counts.max() <= 1000 // NUM_GROUPS + 1


def test_groups_are_no_rows_of_the_text_and_are_the_same_everywhere():
    blocks = group_of(range(4 * NUM_GROUPS)).reshape(4, NUM_GROUPS)

    assert len({tuple(block) for block in blocks.tolist()}) == 4
    assert abs(np.corrcoef(blocks[0], np.arange(NUM_GROUPS))[0, 1]) < 0.4
    assert group_of([130, 7, 0]).tolist() == [group_of([each])[0] for each in (130, 7, 0)]
    assert blocks[1].tolist() == by_plain_integers(range(NUM_GROUPS, 2 * NUM_GROUPS))


def by_plain_integers(block):
    """The places of some numbers in the order of their splitmix64, in Python's own integers."""
    whole = 2**64 - 1
    mixed = []
    for number in block:
        z = (number + 1) * 0x9E3779B97F4A7C15 & whole
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & whole
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & whole
        mixed.append(z ^ (z >> 31))
    return [sorted(mixed).index(each) for each in mixed]


def test_sums_are_those_of_single_passages_without_pads():
    values, valid, numbers = batch([3, 70, 140, 9])
    found = summed((values, valid, numbers)).result(SITE)

    for mode, change in (("mean", lambda x: x), ("mean_abs", np.abs), ("rms", np.square)):
        expected = np.zeros((NUM_GROUPS, 5))
        for row, group in enumerate(group_of(numbers)):
            tokens = values[row][valid[row]].double().numpy()
            expected[group] += change(tokens).sum(axis=0)
        np.testing.assert_allclose(found[mode], expected, rtol=1e-6)
        assert found[mode].dtype == np.float32
    assert found["below"].sum() == valid.sum()


def test_parts_that_are_merged_or_restored_are_the_whole():
    first, second = batch([0, 1, 2], seed=1), batch([64, 65], seed=2)
    whole = summed(first, second)
    merged, restored = summed(first), SiteGroups(whole.modes)

    merged.merge(summed(second))
    restored.restore(whole.state())

    for name, array in whole.state().items():
        np.testing.assert_array_equal(merged.state()[name], array)
        np.testing.assert_array_equal(restored.state()[name], array)


@pytest.mark.parametrize("mode", ["mean", "mean_abs"])
def test_of_few_passages_groups_say_what_single_passages_say(mode):
    values, valid, numbers = batch(list(range(40)))
    moments = Moments(5)
    moments.update(values.masked_fill(~valid[..., None], 0), valid=valid, passages=numbers)

    sums = summed((values, valid, numbers)).result(SITE)
    found = estimates_of(Groups(above=sums[mode], below=sums["below"]))

    expected = moments.result()
    np.testing.assert_allclose(found.value, getattr(expected, mode), rtol=1e-4)
    np.testing.assert_allclose(found.error, getattr(expected, f"{mode}_se"), rtol=1e-4)
    assert (found.clusters == 40).all()


def fractions(numbers, seed=0):
    """Ratios of three rows: a share with own denominators, and a mean over common tokens."""
    generator = torch.Generator().manual_seed(seed)
    above, below = torch.rand(2, len(numbers), 3, dtype=torch.float64, generator=generator)
    tokens = torch.randint(1, 9, (len(numbers),), generator=generator)
    return {"share": (above, below), "mean": (above, tokens), "not kept": (above, below)}


def ratio_groups(*parts):
    made = RatioGroups(["share", "mean"], 3, shared=["mean"])
    for numbers, seed in parts:
        made.update(fractions(numbers, seed), numbers)
    return made


def test_groups_of_ratios_are_the_sums_of_their_passages():
    numbers = [3, 70, 140, 9]
    found = ratio_groups((numbers, 0)).result()

    assert list(found) == ["share", "mean"]
    assert found["mean"].below.shape == (NUM_GROUPS, 1)
    for name, sums in found.items():
        for side, values in zip((sums.above, sums.below), fractions(numbers)[name], strict=True):
            expected = np.zeros((NUM_GROUPS, 3))
            for group, row in zip(group_of(numbers), values.numpy(), strict=True):
                expected[group] += row
            np.testing.assert_array_equal(np.broadcast_to(side, expected.shape), expected)


def test_groups_of_ratios_that_are_merged_or_restored_are_the_whole():
    parts = ([0, 1, 2], 1), ([64, 65], 2)
    whole, merged, restored = ratio_groups(*parts), ratio_groups(parts[0]), ratio_groups()

    merged.merge(ratio_groups(parts[1]))
    restored.restore(whole.state())

    np.testing.assert_array_equal(merged.state()["sums"], whole.state()["sums"])
    np.testing.assert_array_equal(restored.state()["sums"], whole.state()["sums"])


def test_of_few_passages_groups_of_ratios_say_what_the_table_says():
    numbers, table = list(range(40)), NamedRatios(["share", "mean"], 3)
    table.update(fractions(numbers))

    for name, sums in ratio_groups((numbers, 0)).result().items():
        found, expected = estimates_of(sums), table.result()[name]
        np.testing.assert_allclose(found.value, expected.ratio, rtol=1e-12)
        np.testing.assert_allclose(found.error, expected.se, rtol=1e-9)
