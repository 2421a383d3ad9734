"""Slopes along depth: exact profiles, an independent fit, and what an interval covers."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from backlight.decompose.depth import depth_slope
from backlight.errors import ConfigError


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def fitted(squares, *, seed=0, num_replicates=400, **options):
    """Fit sums of sequences ``[sequences, depths, ...]``, each counted Poisson(1) times."""
    rates = torch.ones(num_replicates, len(squares), dtype=torch.float64)
    weights = torch.poisson(rates, generator=seeded(seed))
    replicates = torch.tensordot(weights, squares.double(), dims=1)
    return depth_slope(squares.sum(dim=0), replicates, **options)


def profile(*norms, num_sequences=8):
    """Write the same norms of sequences of different size, the embedding's first."""
    sizes = torch.arange(1.0, num_sequences + 1, dtype=torch.float64)
    return sizes[:, None] * torch.tensor(norms, dtype=torch.float64).square()


@pytest.mark.parametrize(
    ("norms", "slope"),
    [((1, 2, 4, 8), -np.log(2)), ((8, 4, 2, 1), np.log(2)), ((3, 3, 3), 0.0)],
    ids=["vanishing", "exploding", "level"],
)
def test_a_gradient_that_shrinks_on_its_way_to_the_embedding_has_a_negative_slope(norms, slope):
    found = fitted(profile(*norms))
    assert found.slope.item() == pytest.approx(slope)
    # All sequences have one profile, so it does not matter how often each is counted.
    assert found.low.item() == pytest.approx(slope)
    assert found.high.item() == pytest.approx(slope)


def test_the_line_is_that_of_least_squares():
    squares = torch.rand(5, 7, 2, generator=seeded(1), dtype=torch.float64)
    found = fitted(squares)
    for series in range(2):
        logs = np.log(squares[:, :, series].sum(0).sqrt().numpy())
        expected = np.polyfit(np.arange(6, -1, -1), logs, 1)[0]
        assert found.slope[series].item() == pytest.approx(expected)
    assert (found.low < found.slope).all()
    assert (found.slope < found.high).all()


def test_series_are_fitted_as_if_alone():
    squares = torch.rand(4, 5, 3, generator=seeded(2), dtype=torch.float64)
    together = fitted(squares)
    for series in range(3):
        alone = fitted(squares[..., series])
        assert_close(together.slope[series], alone.slope)
        assert_close(together.low[series], alone.low)
        assert_close(together.high[series], alone.high)


def test_a_wider_level_gives_a_wider_interval():
    squares = torch.rand(8, 5, generator=seeded(6))
    narrow, wide = (fitted(squares, level=level) for level in (0.5, 0.95))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    random, hits, truth = seeded(7), 0, -0.3
    depths = torch.arange(3, -1, -1, dtype=torch.float64)
    for trial in range(200):
        noise = torch.randn(40, 4, generator=random, dtype=torch.float64)
        squares = (2 * (truth * depths + 0.2 * noise)).exp()
        found = fitted(squares, seed=trial, num_replicates=200)
        hits += bool(found.low <= truth <= found.high)
    assert 0.85 <= hits / 200 <= 0.99


def test_a_depth_without_gradient_has_no_slope_and_replicates_without_one_are_left_out():
    squares = profile(1, 2, 4, num_sequences=3)[..., None].repeat(1, 1, 2)
    squares[:, 1, 0] = 0
    squares[1:, :, 1] = 0
    found = fitted(squares)
    assert found.slope.isnan().tolist() == [True, False]
    assert found.low.isnan().tolist() == [True, False]
    assert found.low[1].item() == pytest.approx(-np.log(2))


def test_what_has_no_slope_is_refused():
    with pytest.raises(ConfigError, match="needs two depths; there is 1"):
        fitted(torch.ones(3, 1))
    with pytest.raises(ConfigError, match="level 95 of an interval is not between"):
        fitted(torch.ones(3, 2), level=95)
