import numpy as np
import torch

from backlight.stats.bootstrap import PoissonBootstrap


def fed(values, passages, seed=0):
    state = PoissonBootstrap(values.shape[1], seed=seed)
    state.update(values, passages)
    return state


def test_replicates_spread_like_the_standard_error_of_a_sum():
    values = torch.randn(400, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    replicates = fed(values, range(400)).replicates()

    expected = values.square().sum().sqrt().item()
    assert abs(replicates.std() / expected - 1) < 0.1
    assert abs(replicates.mean() - values.sum().item()) < 4 * expected / 20


def test_how_often_a_sequence_is_counted_depends_on_its_number_alone():
    values = torch.randn(6, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    whole = fed(values, range(6))

    parts = fed(values[[4, 1]], [4, 1])
    parts.merge(fed(values[[0, 5, 2, 3]], [0, 5, 2, 3]))
    restored = PoissonBootstrap(2)
    restored.restore(parts.state())

    np.testing.assert_allclose(restored.replicates(), whole.replicates(), rtol=1e-12)


def test_another_seed_gives_other_replicates():
    values = torch.ones(5, 1, dtype=torch.float64)

    assert (fed(values, range(5)).replicates() != fed(values, range(5), seed=1).replicates()).any()
