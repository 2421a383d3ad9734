import math

import numpy as np
import pytest
import torch

from backlight.labs.initialisation.experiment import experiment
from backlight.labs.initialisation.options import InitialisationConfig
from backlight.labs.initialisation.stacks import expected_stack, measure_stack, stds
from backlight.labs.initialisation.streams import expected_stream, matrix_stds, measure_stream
from backlight.surveys.driver.trials import TrialRunner

CPU = torch.device("cpu")


def test_a_relu_stack_grows_by_half_the_width_times_the_variance_of_its_weights():
    expected = expected_stack("relu", 0.1, width=100, depth=3)

    np.testing.assert_allclose(expected["activation"], [1, 0.5, 0.25, 0.125])
    np.testing.assert_allclose(expected["gradient"], [0.125, 0.25, 0.5, 1])


def test_he_keeps_relu_even_and_glorot_keeps_a_narrow_tanh_even():
    he = expected_stack("relu", stds(64, 64)["he"], width=64, depth=9)
    glorot = expected_stack("tanh", 1e-4 * stds(64, 64)["glorot"], width=64, depth=1)

    np.testing.assert_allclose(he["activation"], 1)
    assert glorot["gradient"][0] == pytest.approx(1e-8, rel=1e-4)  # tanh is linear near 0


@pytest.mark.parametrize("std", [0.02, 0.0625, 0.0884, 1.0])
@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_the_limit_of_wide_networks_is_what_wide_stacks_do(name, std):
    expected = expected_stack(name, std, width=256, depth=4)

    found = [
        measure_stack(name, std, width=256, depth=4, seed=seed, device=CPU) for seed in range(4)
    ]

    for quantity in ("activation", "gradient"):
        measured = np.exp(np.mean([np.log(each[quantity]) for each in found], axis=0))
        np.testing.assert_allclose(measured, expected[quantity], rtol=0.2)


@pytest.mark.parametrize("weights", ["plain 0.02", "gpt2", "glorot"])
def test_the_limit_of_wide_networks_is_what_wide_transformers_do(weights):
    config = InitialisationConfig(positions=8, n_embd=128)
    expected = expected_stream(config, weights, 4)

    found = [measure_stream(config, weights, 4, seed, CPU) for seed in range(4)]

    for quantity in ("activation", "gradient"):
        measured = np.exp(np.mean([np.log(each[quantity]) for each in found], axis=0))
        np.testing.assert_allclose(measured, expected[quantity], rtol=0.25)


def test_gpt2_scales_what_adds_to_the_stream_and_nothing_else():
    found = matrix_stds("gpt2", 64, 8)

    assert found == {
        "attn.c_attn": 0.02,
        "attn.c_proj": 0.02 / math.sqrt(16),
        "mlp.c_fc": 0.02,
        "mlp.c_proj": 0.02 / math.sqrt(16),
    }


def test_what_the_blocks_add_grows_with_depth_unless_it_is_scaled():
    config = InitialisationConfig(
        seeds=2, width=32, depth=4, depths=(2, 8), n_head=2, n_embd=32, positions=4
    )

    findings = experiment(config, TrialRunner("cpu", None))

    tables = {table.name: table for table in findings.tables}
    slopes = tables["slopes"]
    added = {
        str(slopes["weights"][row]): slopes["measured"][row]
        for row in range(slopes.num_rows)
        if "add" in slopes["quantity"][row]
    }
    assert added["plain 0.02"] == pytest.approx(1, abs=0.3)
    assert added["gpt2"] == pytest.approx(0, abs=0.3)
    assert {panel.table for plot in findings.plots for panel in plot.panels} <= set(tables)
    assert tables["growth"].num_rows == 2 * 4 * 2
