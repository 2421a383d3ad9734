"""Which first weights keep activations and gradients alive along depth?

    backlight lab initialisation
    backlight lab initialisation --depth 64 --depths 4 16 64

*Plain stacks*, x' = phi(x W) without skips, phi tanh or ReLU, W with standard deviation s. In the
limit of wide networks the mean square q of an entry and that of its gradient go, per layer, by

    q' = E[phi(z)^2],   g = width s^2 E[phi'(z)^2] g',   z ~ N(0, width s^2 q),

which for ReLU is width s^2 / 2 both ways. Glorot's s = sqrt(2 / (in + out)) keeps a linear layer
even, He's sqrt(2 / in) a ReLU; ``plain`` is the same s whatever the width, 0.02 or 1.

*A transformer* (pre-norm, GELU, causal attention, as in GPT-2) adds each branch to its stream.
Every branch reads a normalised stream, so it adds about the same energy at each of L blocks, and
the stream's grows like 1 + c L; with the branches' last matrices scaled by 1/sqrt(2 L), as GPT-2
does, like 1 + c / 2 whatever L. Predicted are the tokens' inner products (a matrix over positions)
forward, and their gradients' back, with attention taken to be even over the past.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from backlight.config.labs import InitialisationConfig
from backlight.labs.intervals import estimate
from backlight.labs.notebook import Findings, Notebook
from backlight.local import LocalGPT, LocalGPTConfig
from backlight.report.plots import Panel, Plot
from backlight.tables import Column, Table

__all__ = ["expected_stack", "expected_stream", "experiment", "measure_stack", "measure_stream"]

Arrays = Mapping[str, NDArray[np.float64]]
_SAMPLES = 64  # rows that a plain stack reads
_START = 2 * 0.02**2  # what GPT-2's embeddings and positions add up to
_NODES, _MASSES = np.polynomial.hermite_e.hermegauss(201)  # of the standard normal, unnormed

ACTIVATIONS: Mapping[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "tanh": (torch.tanh, lambda z: 1 - torch.tanh(z) ** 2),
    "relu": (torch.relu, lambda z: (z > 0).to(z.dtype)),
}
"""Functions and their derivatives."""


def stds(num_inputs: int, num_outputs: int) -> dict[str, float]:
    """Give the standard deviation of a matrix's first weights, by the kind of first weights."""
    return {
        "plain 0.02": 0.02,
        "plain 1": 1.0,
        "glorot": math.sqrt(2 / (num_inputs + num_outputs)),
        "he": math.sqrt(2 / num_inputs),
    }


_STACKS = tuple(stds(1, 1))
_STREAMS = ("plain 0.02", "gpt2", "glorot", "he")


def experiment(config: InitialisationConfig, notebook: Notebook) -> Findings:
    """Draw networks, go through them both ways, tabulate.

    Args:
        config: The options.
        notebook: Where trials are carried out.

    Returns:
        Tables ``growth`` (of plain stacks, per layer), ``slopes`` (of transformers, by depth),
        ``stacks``, ``streams`` and ``stream_layers``, two figures, and what they say.
    """

    def plain(name: str, weights: str, seed: int) -> Arrays:
        std = stds(config.width, config.width)[weights]
        sizes = {"width": config.width, "depth": config.depth}
        return measure_stack(name, std, **sizes, seed=seed, device=notebook.device)

    def transformer(weights: str, seed: int) -> Arrays:
        found = [
            measure_stream(config, weights, depth, seed, notebook.device) for depth in config.depths
        ]
        deepest = found[int(np.argmax(config.depths))]
        return {
            "grown": np.array([each["activation"][-1] / _START for each in found]),
            "added": np.array([float(each["added"]) for each in found]),
            "gradient_grown": np.array([each["gradient"][0] for each in found]),
            "activation": deepest["activation"],
            "gradient": deepest["gradient"],
        }

    plains = {
        f"{name}, {weights}, seed {seed}": partial(plain, name, weights, seed)
        for name in ACTIVATIONS
        for weights in _STACKS
        for seed in config.all_seeds
    }
    transformers = {
        f"transformer, {weights}, seed {seed}": partial(transformer, weights, seed)
        for weights in _STREAMS
        for seed in config.all_seeds
    }
    stacks = _grouped(list(notebook.carry_out(plains).values()), config.seeds)
    streams = _grouped(list(notebook.carry_out(transformers).values()), config.seeds)
    growth, slopes = _growth(config, stacks), _slopes(config, streams)
    return Findings(
        tables=(
            growth,
            slopes,
            _stacks(config, stacks),
            _streams(config, streams),
            _stream_layers(config, streams),
        ),
        plots=_plots(config),
        printed=("growth", "slopes", "streams"),
        remarks=_remarks(growth, slopes),
    )


# Plain stacks -------------------------------------------------------------------------------------


def measure_stack(
    name: str, std: float, *, width: int, depth: int, seed: int, device: torch.device
) -> Arrays:
    """Draw a stack, go through it, and come back with a random gradient of size 1.

    Args:
        name: ``tanh`` or ``relu``.
        std: Of its weights.
        width: Of every layer.
        depth: Layers.
        seed: Of everything.
        device: Where it runs, in float64.

    Returns:
        ``activation`` and ``gradient``: mean squares before the first layer and behind each.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(rows: int) -> Tensor:
        return torch.randn(rows, width, dtype=torch.float64, generator=generator).to(device)

    streams = [normal(_SAMPLES).requires_grad_()]
    for _ in range(depth):
        streams.append(ACTIVATIONS[name][0](streams[-1] @ (std * normal(width))))
    gradients = torch.autograd.grad(streams[-1], streams, normal(_SAMPLES))
    return {
        "activation": np.array([stream.detach().square().mean().item() for stream in streams]),
        "gradient": np.array([gradient.square().mean().item() for gradient in gradients]),
    }


def expected_stack(name: str, std: float, *, width: int, depth: int) -> Arrays:
    """Predict what ``measure_stack`` finds, in the limit of wide networks.

    Args:
        name: ``tanh`` or ``relu``.
        std: Of the weights.
        width: Of every layer.
        depth: Layers.

    Returns:
        ``activation`` and ``gradient``, likewise.
    """
    gain, squares, factors = width * std**2, [1.0], list[float]()
    for _ in range(depth):
        z = math.sqrt(gain * squares[-1])
        if name == "relu":
            squares.append(z**2 / 2)
            factors.append(gain / 2)
        else:
            squares.append(_normal_mean(lambda x: np.tanh(x) ** 2, z))
            factors.append(gain * _normal_mean(lambda x: (1 - np.tanh(x) ** 2) ** 2, z))
    gradient = np.cumprod([1.0, *factors[::-1]])[::-1].astype(np.float64)
    return {"activation": np.array(squares), "gradient": gradient}


def _normal_mean(
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]], std: float
) -> float:
    """Average over N(0, std^2), by the trapezoid rule: some functions are narrow, some wide."""
    narrow = np.linspace(-10 * min(1.0, std), 10 * min(1.0, std), 20_001)
    wide = np.linspace(10 * min(1.0, std), 10 * std, 20_001) if std > 1 else narrow[:0]
    density = partial(_density, std=std)
    inner = np.trapezoid(function(narrow) * density(narrow), narrow)
    outer = np.trapezoid(function(wide) * density(wide), wide) if len(wide) else 0.0
    return float(inner + 2 * outer)  # what is averaged is even


def _density(x: NDArray[np.float64], std: float) -> NDArray[np.float64]:
    return np.exp(-((x / std) ** 2) / 2) / (std * math.sqrt(2 * math.pi))


# Transformers -------------------------------------------------------------------------------------


def matrix_stds(weights: str, width: int, depth: int) -> dict[str, float]:
    """Give the standard deviation of each of a block's matrices.

    Args:
        weights: One of ``plain 0.02``, ``gpt2``, ``glorot``, ``he``.
        width: Of the stream.
        depth: Blocks.

    Returns:
        By the matrix's name in ``LocalGPT``.
    """
    shapes = {
        "attn.c_attn": (width, 3 * width),
        "attn.c_proj": (width, width),
        "mlp.c_fc": (width, 4 * width),
        "mlp.c_proj": (4 * width, width),
    }
    if weights == "gpt2":
        scaled = 0.02 / math.sqrt(2 * depth)
        return {name: scaled if name.endswith("c_proj") else 0.02 for name in shapes}
    return {name: stds(*shape)[weights] for name, shape in shapes.items()}


def measure_stream(
    config: InitialisationConfig, weights: str, depth: int, seed: int, device: torch.device
) -> Arrays:
    """Draw the blocks of a transformer, go through, and come back with a gradient of size 1.

    Args:
        config: The options.
        weights: Its first weights, as in ``matrix_stds``.
        depth: Blocks.
        seed: Of everything.
        device: Where it runs, in float64.

    Returns:
        ``activation`` and ``gradient``: mean squares before the first block and behind each;
        ``added``: that of the difference between last and first.
    """
    torch.manual_seed(seed)
    sizes = LocalGPTConfig(
        block_size=config.positions, n_layer=depth, n_head=config.n_head, n_embd=config.n_embd
    )
    model = LocalGPT(sizes).double()
    for name, std in matrix_stds(weights, config.n_embd, depth).items():
        for path, parameter in model.transformer.h.named_parameters():
            if path.endswith(f"{name}.weight"):
                nn.init.normal_(parameter, std=std)
    blocks = model.transformer.h.to(device).requires_grad_(requires_grad=False)
    size = (1, config.positions, config.n_embd)
    x = math.sqrt(_START) * torch.randn(size, dtype=torch.float64)
    streams = [x.to(device).requires_grad_()]
    for block in blocks:
        streams.append(block(streams[-1]))
    upstream = torch.randn(size, dtype=torch.float64).to(device)
    gradients = torch.autograd.grad(streams[-1], streams, upstream)
    return {
        "activation": np.array([stream.detach().square().mean().item() for stream in streams]),
        "gradient": np.array([gradient.square().mean().item() for gradient in gradients]),
        "added": np.array((streams[-1] - streams[0]).detach().square().mean().item()),
    }


def expected_stream(config: InitialisationConfig, weights: str, depth: int) -> Arrays:
    """Predict what ``measure_stream`` finds, in the limit of wide networks and even attention.

    Args:
        config: The options.
        weights: The first weights, as in ``matrix_stds``.
        depth: Blocks.

    Returns:
        ``activation`` and ``gradient``, likewise.
    """
    std, width, n = matrix_stds(weights, config.n_embd, depth), config.n_embd, config.positions
    even = np.tril(np.ones((n, n))) / np.arange(1, n + 1)[:, None]
    attention = width**2 * (std["attn.c_attn"] * std["attn.c_proj"]) ** 2
    hidden = width * std["mlp.c_fc"] ** 2  # mean square of what the GELU reads
    out = 4 * width * std["mlp.c_proj"] ** 2
    values, slopes = _gelu_series(hidden)
    stream, passed, sizes = (
        _START * np.eye(n),
        list[tuple[NDArray[np.float64], NDArray[np.float64]]](),
        [_START],
    )
    for _ in range(depth):
        middle = stream + attention * even @ _cosines(stream) @ even.T
        passed.append((stream, middle))
        stream = middle + out * np.polynomial.polynomial.polyval(_cosines(middle), values)
        sizes.append(float(np.trace(stream)) / n)
    error, gradients = np.eye(n), [1.0]
    for before, middle in reversed(passed):
        alike = np.polynomial.polynomial.polyval(_cosines(middle), slopes)
        error = error + out * hidden * error * alike / _lengths(middle)
        error = error + attention * (even.T @ error @ even) / _lengths(before)
        gradients.append(float(np.trace(error)) / n)
    return {"activation": np.array(sizes), "gradient": np.array(gradients[::-1])}


def _lengths(stream: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give what a norm divides inner products of two tokens by."""
    return np.sqrt(np.outer(np.diag(stream), np.diag(stream)))


def _cosines(stream: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(stream / _lengths(stream), -1.0, 1.0)


def _gelu_series(variance: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give E[gelu(a) gelu(b)] and E[gelu'(a) gelu'(b)] as power series in the cosine of a and b."""
    z = torch.from_numpy(math.sqrt(variance) * _NODES).requires_grad_()
    activation = functional.gelu(z)
    (slope,) = torch.autograd.grad(activation.sum(), z)
    both = [activation.detach().numpy(), slope.numpy()]
    series = np.array(
        [
            [
                float((_MASSES * values * _hermite(order)).sum() / _MASSES.sum()) ** 2
                / math.factorial(order)
                for order in range(24)
            ]
            for values in both
        ]
    )
    return series[0], series[1]


def _hermite(order: int) -> NDArray[np.float64]:
    return np.polynomial.hermite_e.hermeval(_NODES, np.eye(order + 1)[order])


# Tables, figures, sentences -----------------------------------------------------------------------

Groups = Sequence[Sequence[Arrays]]
_BOTH = ("activation", "gradient")


def _grouped(found: Sequence[Arrays], size: int) -> Groups:
    return [found[start : start + size] for start in range(0, len(found), size)]


def _kinds(config: InitialisationConfig) -> list[tuple[str, str, Arrays]]:
    """Give the plain stacks and what is expected of each."""
    sizes = {"width": config.width, "depth": config.depth}
    return [
        (name, weights, expected_stack(name, stds(config.width, config.width)[weights], **sizes))
        for name in ACTIVATIONS
        for weights in _STACKS
    ]


def _factor(squares: NDArray[np.float64], quantity: str) -> float:
    """Give the mean factor of the rms per layer, in the direction in which it travels."""
    slope = np.polyfit(np.arange(len(squares)), np.log(squares) / 2, 1)[0]
    return float(np.exp(slope if quantity == "activation" else -slope))


def _growth(config: InitialisationConfig, found: Groups) -> Table:
    rows = list[tuple[str, str, str, float, NDArray[np.float64]]]()
    for (name, weights, expected), trials in zip(_kinds(config), found, strict=True):
        for quantity in _BOTH:
            measured = np.array([_factor(trial[quantity], quantity) for trial in trials])
            predicted = _factor(expected[quantity], quantity)
            rows.append((name, weights, quantity, predicted, measured))
    names, weights, quantities, predicted, measured = zip(*rows, strict=True)
    return Table(
        name="growth",
        columns={
            "function": np.array(names),
            "weights": np.array(weights),
            "quantity": np.array(quantities),
            "predicted": np.array(predicted),
            **_estimates("measured", measured),
        },
        units={"predicted": "per layer", "measured": "per layer"},
    )


def _slopes(config: InitialisationConfig, found: Groups) -> Table:
    """Tabulate how a stream's growth goes with the number of blocks, log-log."""
    rows = list[tuple[str, str, float, NDArray[np.float64]]]()
    for weights, trials in zip(_STREAMS, found, strict=True):
        expected = [expected_stream(config, weights, depth) for depth in config.depths]
        added = np.array([each["activation"][-1] - _START for each in expected])
        back = np.array([each["gradient"][0] for each in expected])
        for what, of, predicted in (
            ("log-log slope of what the blocks add", "added", added),
            ("log-log slope of the gradient's growth", "gradient_grown", back),
        ):
            measured = np.array([trial[of] for trial in trials])
            slopes = np.polyfit(np.log(config.depths), np.log(measured).T, 1)[0]
            slope = float(np.polyfit(np.log(config.depths), np.log(predicted), 1)[0])
            rows.append((what, weights, slope, slopes))
    names, weights, predicted, measured = zip(*rows, strict=True)
    return Table(
        name="slopes",
        columns={
            "quantity": np.array(names),
            "weights": np.array(weights),
            "predicted": np.array(predicted),
            **_estimates("measured", measured),
        },
    )


def _stacks(config: InitialisationConfig, found: Groups) -> Table:
    kinds, points = _kinds(config), config.depth + 1
    columns: dict[str, Column] = {
        "function": np.repeat([name for name, _, _ in kinds], points),
        "weights": np.repeat([weights for _, weights, _ in kinds], points),
        "layer": np.tile(np.arange(points), len(kinds)),
    }
    for quantity in _BOTH:
        expected = [np.sqrt(each[quantity]) for _, _, each in kinds]
        columns |= _rms(quantity, [np.array([t[quantity] for t in trials]) for trials in found])
        columns[f"{quantity}_predicted"] = np.concatenate(expected)
    return Table(name="stacks", columns=columns)


def _streams(config: InitialisationConfig, found: Groups) -> Table:
    expected = [
        expected_stream(config, weights, depth) for weights in _STREAMS for depth in config.depths
    ]
    return Table(
        name="streams",
        columns={
            "weights": np.repeat(_STREAMS, len(config.depths)),
            "depth": np.tile(config.depths, len(_STREAMS)),
            "doublings": np.tile(np.log2(config.depths), len(_STREAMS)),
            "growth_predicted": np.array([each["activation"][-1] / _START for each in expected]),
            **_estimates(
                "growth", [c for ts in found for c in np.array([t["grown"] for t in ts]).T]
            ),
            "back_predicted": np.array([each["gradient"][0] for each in expected]),
            **_estimates(
                "back", [c for ts in found for c in np.array([t["gradient_grown"] for t in ts]).T]
            ),
        },
        units={"depth": "blocks"},
    )


def _stream_layers(config: InitialisationConfig, found: Groups) -> Table:
    depth = max(config.depths)
    columns: dict[str, Column] = {
        "weights": np.repeat(_STREAMS, depth + 1),
        "block": np.tile(np.arange(depth + 1), len(_STREAMS)),
    }
    for quantity in _BOTH:
        expected = [expected_stream(config, weights, depth)[quantity] for weights in _STREAMS]
        columns |= _rms(quantity, [np.array([t[quantity] for t in trials]) for trials in found])
        columns[f"{quantity}_predicted"] = np.sqrt(np.concatenate(expected))
    return Table(name="stream_layers", columns=columns)


def _rms(name: str, squares: Sequence[NDArray[np.float64]]) -> dict[str, Column]:
    """Average the logarithms of root mean squares over seeds."""
    logs = [np.log(column) / 2 for values in squares for column in values.T]
    return {key: np.exp(column) for key, column in _estimates(name, logs).items()}


def _estimates(name: str, values: Sequence[NDArray[np.float64]]) -> dict[str, Column]:
    found = [estimate(each) for each in values]
    return {
        name: np.array([each.mean for each in found]),
        f"{name}_low": np.array([each.low for each in found]),
        f"{name}_high": np.array([each.high for each in found]),
    }


def _panel(
    table: str, x: str, y: str, title: str, *, y_label: str, x_label: str | None = None
) -> Panel:
    return Panel(
        table=table,
        x=x,
        y=y,
        series="weights",
        title=title,
        low=f"{y}_low",
        high=f"{y}_high",
        dashed=f"{y}_predicted",
        log="y",
        x_label=x_label,
        y_label=y_label,
    )


def _plots(config: InitialisationConfig) -> list[Plot]:
    labels = {"activation": "rms of activations", "gradient": "rms of gradients"}
    stacks = [
        replace(
            _panel("stacks", "layer", quantity, function, y_label=label),
            where={"function": function},
        )
        for function in ACTIVATIONS
        for quantity, label in labels.items()
    ]
    ends = {"growth": "stream behind all blocks, over before", "back": "gradient, first over last"}
    deepest = f"along a transformer of {max(config.depths)} blocks"
    streams = [
        *(
            _panel("stream_layers", "block", quantity, deepest, y_label=label)
            for quantity, label in labels.items()
        ),
        *(
            _panel(
                "streams",
                "doublings",
                quantity,
                "against depth",
                x_label="blocks, as a power of 2",
                y_label=f"mean square: {label}",
            )
            for quantity, label in ends.items()
        ),
    ]
    seeds = f"{config.seeds} seeds, 95 % intervals"
    return [
        Plot(
            name="initialisation_stacks",
            title=f"Stacks without skips, width {config.width}, {seeds}",
            panels=stacks,
        ),
        Plot(
            name="initialisation_transformer",
            title=f"The residual stream, width {config.n_embd}, {seeds}",
            panels=streams,
        ),
    ]


def _remarks(growth: Table, slopes: Table) -> list[str]:
    def told(table: Table, row: int) -> str:
        return (
            f"predicted {table['predicted'][row]:.4g}, measured {table['measured'][row]:.4g} "
            f"({table['measured_low'][row]:.4g} to {table['measured_high'][row]:.4g})"
        )

    return [
        *(
            f"{growth['function'][row]}, {growth['weights'][row]}, factor of the "
            f"{growth['quantity'][row]}'s rms per layer: {told(growth, row)}."
            for row in range(len(growth))
        ),
        *(
            f"Transformer, {slopes['weights'][row]}, {slopes['quantity'][row]}: "
            f"{told(slopes, row)}."
            for row in range(len(slopes))
        ),
        "Left out of the prediction: the gradient's way through the scores, which counts where "
        "weights are large (he), and that a mean of logarithms is below the logarithm of the mean.",
    ]
