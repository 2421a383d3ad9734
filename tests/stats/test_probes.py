"""What random probes add to an error, against the plain formula."""

import numpy as np
import pytest
import torch

from backlight.stats.probes import ProbeNoise

LENGTHS = (3, 8, 5, 2)


def drawn(num_probes, width=4):
    return torch.randn(num_probes, len(LENGTHS), width, dtype=torch.float64)


def fed(by_probe, *parts):
    noise = ProbeNoise()
    for part in parts or (range(len(LENGTHS)),):
        members = list(part)
        noise.update("here", by_probe[:, members], num_tokens=sum(LENGTHS[i] for i in members))
    return noise


def test_it_is_the_spread_over_probes_within_passages_summed_over_passages():
    by_probe = drawn(5)

    found = fed(by_probe).result("here")

    sums = by_probe.numpy()
    variance = sums.var(axis=0, ddof=1).sum(axis=0) / 5
    np.testing.assert_allclose(found.dimensions, np.sqrt(variance) / sum(LENGTHS), rtol=1e-12)
    means = sums.mean(axis=2)
    assert found.mean == pytest.approx(np.sqrt(means.var(axis=0, ddof=1).sum() / 5) / sum(LENGTHS))


def test_how_passages_differ_adds_nothing():
    by_probe = drawn(3)

    shifted = by_probe + 100 * torch.randn(1, len(LENGTHS), 4, dtype=torch.float64)

    np.testing.assert_allclose(
        fed(shifted).result("here").dimensions, fed(by_probe).result("here").dimensions, rtol=1e-9
    )


def test_of_a_single_probe_the_chance_is_not_known():
    found = fed(drawn(1)).result("here")

    assert np.isnan(found.dimensions).all()
    assert len(found.dimensions) == 4
    assert np.isnan(found.mean)


def test_parts_merge_into_the_whole_and_a_state_is_taken_up_bit_by_bit():
    by_probe = drawn(3)
    one, other = fed(by_probe, (0, 1)), fed(by_probe, (2, 3))

    one.merge(other)
    restored = ProbeNoise()
    restored.restore(one.state())

    whole = fed(by_probe).result("here")
    np.testing.assert_allclose(one.result("here").dimensions, whole.dimensions, rtol=1e-12)
    np.testing.assert_array_equal(restored.result("here").dimensions, one.result("here").dimensions)
    empty = ProbeNoise()
    empty.merge(one)
    assert empty.result("here").mean == one.result("here").mean
    assert ProbeNoise().state() == {}
