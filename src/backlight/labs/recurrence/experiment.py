"""How fast does the gradient shrink or grow on its way back through time?

    backlight lab recurrence
    backlight lab recurrence --radii 0.5 1 4 --num_steps 300

For a network x(t) = W s(x(t-1)) + u(t), Pascanu et al. (2013) bound each step's Jacobian:

    || d x(T) / d x(T-k) ||  <=  (gamma s_max)^k,    gamma = max s' (1 for tanh, 1/4 for sigmoid),

with s_max the largest singular value of W. So gamma s_max < 1 is enough for vanishing, and > 1 is
only necessary for exploding. A linear network ends with the spectral radius, rho^k <= ||W^k||,
whatever it does at first. Random matrices with slopes s' along the way go, roughly, with
ln(g sqrt(mean s'^2)) per step, where g^2 = ||W||_F^2 / width. An LSTM keeps its cell by the product
of its forget gates; a transformer sees every earlier position in one step of attention.

The measured rate is the slope of ln || d x(T) / d x(T-k) || with k, from T/2 to T.
"""

from collections.abc import Callable
from functools import partial
from itertools import product

import numpy as np
import torch
from torch import nn

from backlight.labs.frame.repeating import Arrays, over_trials
from backlight.labs.recurrence.figures import recurrence_plots
from backlight.labs.recurrence.options import RecurrenceConfig
from backlight.labs.recurrence.tables import EARLY, recurrence_remarks, recurrence_tables
from backlight.labs.recurrence.through_time import (
    GAMMA,
    GATES,
    LSTM,
    TRANSFORMER,
    Cell,
    Matrix,
    log_product_norms,
    lstm_jacobians,
    recurrent_matrix,
    slopes_through_time,
    transformer_norms,
)
from backlight.learning_rules import LocalGPTConfig
from backlight.surveys.driver.trials import LabFindings, TrialRunner

_KINDS: tuple[tuple[Cell, Matrix], ...] = (
    ("linear", "orthogonal"),
    ("linear", "gaussian"),
    ("linear", "non-normal"),
    ("tanh", "orthogonal"),
    ("tanh", "gaussian"),
    ("sigmoid", "gaussian"),
)


def experiment(config: RecurrenceConfig, runner: TrialRunner) -> LabFindings:
    """Follow each network's gradient back, with several seeds.

    Args:
        config: The options.
        runner: Where trials are carried out.

    Returns:
        Tables ``rates`` (one row for each network), ``bounds`` (the recurrent ones beside the
        bound), ``norms`` (each network and lag) and ``early`` (linear networks of one radius at
        their first lags), figures, and what the rates say.
    """
    networks = _networks(config, runner.device)

    def all_seeds(measure: Callable[[int], Arrays]) -> Arrays:
        return over_trials([measure(seed) for seed in config.all_seeds])

    trials = {", ".join(names): partial(all_seeds, measure) for names, measure in networks.items()}
    measured = zip(networks, runner.carry_out(trials).values(), strict=True)
    found = [({"network": name, "setting": number}, arrays) for (name, number), arrays in measured]
    tables = recurrence_tables(config, found, np.array(_lags(config.num_steps)))
    return LabFindings(
        tables=tables,
        plots=recurrence_plots(config),
        printed=("bounds", "rates"),
        remarks=recurrence_remarks(config, *tables),
    )


def _networks(
    config: RecurrenceConfig, device: torch.device
) -> dict[tuple[str, str], Callable[[int], Arrays]]:
    """List what is followed back, by network and setting; each takes a seed."""
    recurrent = {
        (f"{cell}, {matrix}", f"radius {radius:g}"): partial(
            _recurrent, config, device, cell, matrix, radius
        )
        for (cell, matrix), radius in product(_KINDS, config.radii)
    }
    lstms = {
        (network, f"forget bias {bias:g}"): partial(_lstm, config, device, network, bias)
        for network, bias in product((LSTM, GATES), config.forget_biases)
    }
    transformer = (TRANSFORMER, f"{config.n_layer} blocks")
    return {**recurrent, **lstms, transformer: partial(_transformer, config, device)}


def _lags(num_steps: int) -> list[int]:
    """Choose lags: every one at first, then 60 or so up to all steps."""
    near, far = range(1, min(EARLY, num_steps) + 1), np.linspace(1, num_steps, 60).astype(int)
    return sorted({*near, *far.tolist(), num_steps})


def _recurrent(
    config: RecurrenceConfig,
    device: torch.device,
    cell: Cell,
    matrix: Matrix,
    radius: float,
    seed: int,
) -> Arrays:
    generator, shape = torch.Generator().manual_seed(seed), (config.num_steps, config.width)
    weights = recurrent_matrix(matrix, config.width, radius, generator)
    inputs = config.input_std * torch.randn(shape, dtype=torch.float64, generator=generator)
    slopes = slopes_through_time(cell, weights.to(device), inputs.to(device))
    jacobians = weights.to(device) * slopes.unsqueeze(1)
    largest = torch.linalg.matrix_norm(weights, ord=2).log().item()
    typical = (weights.square().sum() / config.width * slopes.square().mean().cpu()).log() / 2
    expected = np.log(radius) if cell == "linear" else typical.item()
    return {
        "log_norms": log_product_norms(jacobians, _lags(config.num_steps)).numpy(),
        "log_largest": np.array(largest),
        "bound": np.array(np.log(GAMMA[cell]) + largest),
        "expected": np.array(expected),
    }


def _lstm(
    config: RecurrenceConfig, device: torch.device, network: str, bias: float, seed: int
) -> Arrays:
    torch.manual_seed(seed)
    cell, lags = (
        nn.LSTMCell(config.width, config.width, dtype=torch.float64),
        _lags(config.num_steps),
    )
    nn.init.zeros_(cell.bias_ih)
    nn.init.zeros_(cell.bias_hh)
    nn.init.constant_(cell.bias_hh[config.width : 2 * config.width], bias)
    inputs = config.input_std * torch.randn(config.num_steps, config.width, dtype=torch.float64)
    lags = _lags(config.num_steps)
    jacobians, gates = lstm_jacobians(cell.to(device), inputs.to(device))
    if network == GATES:
        slowest = gates.log().flip(0).cumsum(dim=0).max(dim=1).values.cpu()
        logs = slowest[torch.tensor(lags) - 1]
    else:
        logs = log_product_norms(jacobians, lags)
    return {"log_norms": logs.numpy(), "expected": np.array(-np.logaddexp(0, -bias))}


def _transformer(config: RecurrenceConfig, device: torch.device, seed: int) -> Arrays:
    sizes = config.model_dump(include={"n_layer", "n_head", "n_embd"})
    transformer = LocalGPTConfig(block_size=config.num_steps + 1, **sizes)
    norms = transformer_norms(transformer, seed, device).log().numpy()
    return {"log_norms": norms[np.array(_lags(config.num_steps)) - 1], "expected": np.array(0.0)}
