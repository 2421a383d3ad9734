import math

import numpy as np
import pytest
import torch

from backlight.decompose.attention import attention_backward
from backlight.decompose.attention_blocks import AttentionRule
from backlight.decompose.visibility import Visibility
from backlight.labs.rank_collapse.experiment import experiment
from backlight.labs.rank_collapse.options import RankCollapseConfig
from backlight.labs.rank_collapse.stack import KINDS, Stack, energies, expected_share
from backlight.surveys.driver.trials import TrialRunner


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def stack(kind, depth, positions=6, width=16):
    layers = [
        tuple((random(width, width) / width**0.5).requires_grad_() for _ in range(5))
        for _ in range(depth)
    ]
    return Stack(kind=kind, layers=layers, weights=random(positions, width))


@pytest.mark.parametrize("kind", KINDS)
def test_identical_tokens_leave_queries_and_keys_no_gradient(kind):
    tokens = random(1, 16).expand(6, 16)

    gradients = stack(kind, 3).measure(tokens)["gradients"]

    assert gradients[:, :2].max() < 1e-12
    assert gradients[:, 2].min() > 1e-3


def test_the_backward_of_attention_says_the_same():
    q, k, v = (random(1, 1, 1, 8).expand(1, 1, 5, 8) for _ in range(3))

    found = attention_backward(
        q,
        k,
        v,
        random(1, 1, 5, 8),
        AttentionRule(scale=8**-0.5, visibility=Visibility(causal=False)),
    )

    assert found.q.abs().max() < 1e-12
    assert found.k.sum(dim=2).abs().max() < 1e-12  # what reaches W_K: the keys' inputs are one
    assert found.v.abs().max() > 0.1


def test_mean_and_rest_add_up_to_the_whole():
    x = random(6, 16)

    mean, rest = energies(x)

    assert mean + rest == pytest.approx(x.square().mean().item(), abs=1e-14)
    assert energies(x[:1].expand(6, 16))[1] == pytest.approx(0, abs=1e-30)


def test_scaled_branches_keep_a_share_of_the_rest_at_any_depth():
    kept = expected_share(10**6, positions=16, scale=1e-3)
    lost = expected_share(60, positions=16, scale=1.0)

    assert kept == pytest.approx(1 / (1 + math.e / 15), rel=1e-5)
    assert lost < 2e-17


def test_the_rest_is_cubed_without_a_skip_and_halves_with_one():
    config = RankCollapseConfig(seeds=3, depths=(2, 8, 16), width=32, positions=8)

    findings = experiment(config, TrialRunner("cpu", None))

    tables = {table.name: table for table in findings.tables}
    slopes = tables["slopes"]
    np.testing.assert_allclose(slopes["measured"][:4], [3, 3, 1, 1], atol=0.05)
    np.testing.assert_allclose(slopes["measured"][4:], slopes["predicted"][4:], atol=0.15)
    depths = tables["depths"]
    attention = depths["network"] == "attention"
    assert np.isnan(depths["share"][attention][1:]).all()  # rounding is not shown
    np.testing.assert_allclose(
        depths["share"][depths["network"] == KINDS[3]], 1 / (1 + 2.5 / 7), rtol=0.15
    )
    assert {panel.table for plot in findings.plots for panel in plot.panels} <= set(tables)
    assert "zero, but for rounding" in findings.remarks[-2]
