import numpy as np
import pytest
import torch

from backlight.labs.norm_placement.experiment import experiment
from backlight.labs.norm_placement.options import NormPlacementConfig
from backlight.labs.norm_placement.wide_network import measure, wide_network
from backlight.surveys.driver.trials import TrialRunner

CPU = torch.device("cpu")


@pytest.mark.parametrize("placement", ["pre", "post"])
def test_the_limit_of_wide_networks_is_what_wide_networks_do(placement):
    expected = wide_network(placement, 8, width=256, positions=16)

    found = [
        measure(placement, 8, width=256, positions=16, seed=seed, device=CPU) for seed in range(12)
    ]

    weights = np.sqrt(np.mean([each.weights**2 for each in found], axis=0))
    sizes = np.mean([each.sizes for each in found], axis=0)
    np.testing.assert_allclose(weights, expected.weights, rtol=0.2)
    np.testing.assert_allclose(sizes, expected.sizes, rtol=0.05)


def test_the_last_gradient_falls_as_one_over_the_root_of_depth_with_pre_norm_only():
    depths = [64, 128, 256, 512]

    slopes = {
        placement: np.polyfit(
            np.log(depths),
            np.log([wide_network(placement, d, width=64, positions=8).weights[-1] for d in depths]),
            1,
        )[0]
        for placement in ("pre", "post")
    }

    assert slopes["pre"] == pytest.approx(-0.5, abs=0.02)
    assert slopes["post"] == pytest.approx(0, abs=0.01)


def test_the_stream_of_pre_norm_grows_within_the_bounds_of_xiong():
    sizes = wide_network("pre", 64, width=64, positions=8).sizes
    layers = np.arange(1, 65)

    assert (sizes >= 1 + layers / 2).all()
    assert (sizes <= 1 + 3 * layers / 2).all()


def test_before_its_second_norm_the_stream_of_post_norm_has_three_halves():
    found = [
        measure("post", 4, width=256, positions=16, seed=seed, device=CPU) for seed in range(8)
    ]

    np.testing.assert_allclose(np.mean([each.sizes for each in found], axis=0), 1.5, rtol=0.08)


def test_prediction_measurement_and_training_stand_in_tables():
    config = NormPlacementConfig(
        device="cpu",
        seeds=2,
        depths=(2, 4),
        width=16,
        positions=4,
        num_steps=21,
        training_seeds=1,
        learning_rates=(1e-3,),
        n_layer=1,
        n_embd=16,
        block_size=8,
        batch_size=2,
        initialisation="gpt2",
    )

    findings = experiment(config, TrialRunner("cpu", None))

    tables = {table.name: table for table in findings.tables}
    assert list(tables["slopes"]["xiong"][:3]) == [-0.5, 0.0, 1.0]
    assert list(tables["training"]["training"]) == [
        "pre-norm, no warm-up",
        "pre-norm, warm-up",
        "post-norm, no warm-up",
        "post-norm, warm-up",
    ]
    assert np.isfinite(tables["training"]["loss_at_the_end"]).all()
    assert tables["layers"].num_rows == 2 * 4
    assert {panel.table for plot in findings.plots for panel in plot.panels} <= set(tables)
    assert "pre-norm: Xiong et al. -0.5, wide network" in findings.remarks[0]


def test_a_training_that_breaks_off_has_no_loss_at_the_end():
    config = NormPlacementConfig(
        device="cpu",
        seeds=2,
        depths=(1, 2),
        width=8,
        positions=4,
        num_steps=22,
        warmup_steps=1,
        training_seeds=1,
        learning_rates=(1e30,),
        n_layer=1,
        n_embd=8,
        block_size=4,
        batch_size=2,
    )

    findings = experiment(config, TrialRunner("cpu", None))

    training = next(table for table in findings.tables if table.name == "training")
    assert list(training["broken_off"]) == [1, 1, 1, 1]
    assert "no warm-up broke off" in findings.remarks[-1]
