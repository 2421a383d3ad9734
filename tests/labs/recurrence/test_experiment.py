import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from backlight.labs.recurrence.experiment import experiment
from backlight.labs.recurrence.options import RecurrenceConfig
from backlight.labs.recurrence.tables import misfits
from backlight.labs.recurrence.through_time import (
    GAMMA,
    log_product_norms,
    lstm_jacobians,
    recurrent_matrix,
    slopes_through_time,
    transformer_norms,
)
from backlight.learning_rules import LocalGPT, LocalGPTConfig
from backlight.surveys.driver.trials import TrialRunner

SMALL = {"num_steps": 60, "width": 8, "seeds": 2, "n_layer": 1, "n_embd": 8, "radii": (0.5, 3.0)}


@pytest.fixture(scope="module")
def findings():
    return experiment(RecurrenceConfig(**SMALL), TrialRunner("cpu", None))


def _normal(*shape):
    return torch.randn(shape, dtype=torch.float64)


@pytest.mark.parametrize("matrix", ["gaussian", "orthogonal", "non-normal"])
def test_a_matrix_has_the_spectral_radius_that_was_asked_for(matrix):
    weights = recurrent_matrix(matrix, 6, 0.7, torch.Generator().manual_seed(1))

    assert torch.linalg.eigvals(weights).abs().max().item() == pytest.approx(0.7, rel=1e-9)


def test_all_singular_values_of_an_orthogonal_matrix_are_its_radius():
    weights = recurrent_matrix("orthogonal", 6, 0.7, torch.Generator().manual_seed(1))

    torch.testing.assert_close(torch.linalg.svdvals(weights), torch.full((6,), 0.7).double())


@pytest.mark.parametrize("cell", list(GAMMA))
def test_jacobians_of_a_recurrent_network_are_those_of_autograd(cell):
    function = {"linear": lambda x: x, "tanh": torch.tanh, "sigmoid": torch.sigmoid}[cell]
    weights, inputs = _normal(4, 4), _normal(5, 4)

    slopes = slopes_through_time(cell, weights, inputs)

    x = torch.zeros(4, dtype=torch.float64)
    for u, slope in zip(inputs, slopes, strict=True):
        step = torch.autograd.functional.jacobian(lambda x, u=u: weights @ function(x) + u, x)
        torch.testing.assert_close(weights * slope, step)
        assert (slope <= GAMMA[cell]).all()
        x = weights @ function(x) + u


def test_jacobians_of_an_lstm_are_those_of_autograd():
    cell, inputs = nn.LSTMCell(3, 4, dtype=torch.float64), _normal(5, 3)
    state = torch.zeros(8, dtype=torch.float64)

    jacobians, gates = lstm_jacobians(cell, inputs)

    assert ((gates > 0) & (gates < 1)).all()
    for u, jacobian in zip(inputs, jacobians, strict=True):

        def step(state, u=u):
            return torch.cat(cell(u[None], (state[None, :4], state[None, 4:])), dim=1)[0]

        torch.testing.assert_close(jacobian, torch.autograd.functional.jacobian(step, state))
        state = step(state).detach()


def test_norms_of_products_are_those_of_the_products_written_out():
    jacobians = _normal(6, 4, 4)

    found = log_product_norms(jacobians, [1, 3, 6])

    for lag, value in zip([1, 3, 6], found, strict=True):
        product = torch.linalg.multi_dot([*jacobians[-lag:].flip(0), torch.eye(4).double()])
        torch.testing.assert_close(value.exp(), torch.linalg.matrix_norm(product, ord=2))


def test_a_norm_too_small_for_any_number_has_its_logarithm():
    jacobians = 1e-3 * torch.eye(2, dtype=torch.float64).repeat(1000, 1, 1)

    assert log_product_norms(jacobians, [1000]).item() == pytest.approx(1000 * np.log(1e-3))


def test_the_last_output_of_a_transformer_owes_to_each_embedding_what_autograd_says():
    config = LocalGPTConfig(block_size=6, vocab_size=5, n_layer=2, n_head=2, n_embd=4)
    found = transformer_norms(config, 3, torch.device("cpu"))

    torch.manual_seed(3)
    parts = LocalGPT(config).transformer
    tokens = torch.randint(5, (1, 6))

    def last(x):
        for block in parts.h:
            x = block(x)
        return parts.ln_f(x)[0, -1]

    embedded = parts.wte(tokens) + parts.wpe(torch.arange(6))
    jacobian = torch.autograd.functional.jacobian(last, embedded.detach())[:, 0]
    norms = [torch.linalg.matrix_norm(jacobian[:, 5 - lag], ord=2) for lag in range(1, 6)]
    torch.testing.assert_close(found.float(), torch.stack(norms), rtol=1e-4, atol=1e-7)


def test_a_line_in_k_fits_exponential_decay_and_a_line_in_ln_k_power_decay():
    lags = np.arange(1.0, 50.0)

    exponential, power = misfits(lags, -0.3 * lags), misfits(lags, -2 * np.log(lags))

    assert exponential[0] == pytest.approx(0, abs=1e-9)
    assert power[1] == pytest.approx(0, abs=1e-9)
    assert exponential[1] > 0.1
    assert power[0] > 0.1


def test_no_recurrent_network_is_over_the_bound(findings):
    (bounds,) = [table for table in findings.tables if table.name == "bounds"]

    assert (bounds["share_over_bound"] == 0).all()
    assert (bounds["rate"] <= bounds["bound"] + 1e-9).all()


def test_linear_networks_end_with_the_spectral_radius(findings):
    rates = findings.tables[0]
    row = np.flatnonzero(rates["network"] == "linear, orthogonal")

    np.testing.assert_allclose(rates["rate"][row], np.log([0.5, 3.0]), atol=1e-12)


def test_forget_gates_alone_decay_at_the_logarithm_of_their_bias(findings):
    rates = findings.tables[0]
    gates = rates.select(rates["network"] == "LSTM, forget gates only")

    np.testing.assert_allclose(gates["rate"], gates["expected"], atol=0.04)


def test_a_transformer_does_not_decay_exponentially(findings):
    rates = findings.tables[0]

    assert rates["network"][-1] == "transformer"
    assert abs(rates["rate"][-1]) < 0.05 < abs(rates["rate"][0])


def test_a_non_normal_matrix_grows_before_it_shrinks(findings):
    early = findings.tables[3]
    norms = early.select(early["network"] == "linear, non-normal")["log10_norm"]

    assert norms.max() > 0 > norms[-1]
    assert any("the norm first grows" in remark for remark in findings.remarks)


def test_a_device_without_64_bit_numbers_is_refused():
    with pytest.raises(ValidationError, match="this experiment needs 64-bit numbers"):
        RecurrenceConfig(device="mps")
