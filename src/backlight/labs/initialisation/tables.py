"""Tables of plain stacks and of transformers, predictions beside measurements."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backlight.labs.frame.intervals import estimate, estimate_columns
from backlight.labs.initialisation.options import InitialisationConfig
from backlight.labs.initialisation.stacks import (
    ACTIVATIONS,
    STACK_WEIGHTS,
    Arrays,
    expected_stack,
    stds,
)
from backlight.labs.initialisation.streams import START, STREAM_WEIGHTS, expected_stream
from backlight.tables import Column, Table

Groups = Sequence[Sequence[Arrays]]
"""What the seeds of each kind of network gave."""

_BOTH = ("activation", "gradient")


def initialisation_tables(
    config: InitialisationConfig, stacks: Groups, streams: Groups
) -> dict[str, Table]:
    """Tabulate what was found.

    Args:
        config: The options.
        stacks: What the seeds of each kind of plain stack gave.
        streams: What the seeds of each kind of transformer gave.

    Returns:
        ``growth``, ``slopes``, ``stacks``, ``streams`` and ``stream_layers``, by name.
    """
    tables = (
        _growth(config, stacks),
        _slopes(config, streams),
        _stacks(config, stacks),
        _streams(config, streams),
        _stream_layers(config, streams),
    )
    return {table.name: table for table in tables}


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
    for weights, trials in zip(STREAM_WEIGHTS, found, strict=True):
        expected = [expected_stream(config, weights, depth) for depth in config.depths]
        added = np.array([each["activation"][-1] - START for each in expected])
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
        expected_stream(config, weights, depth)
        for weights in STREAM_WEIGHTS
        for depth in config.depths
    ]
    return Table(
        name="streams",
        columns={
            "weights": np.repeat(STREAM_WEIGHTS, len(config.depths)),
            "depth": np.tile(config.depths, len(STREAM_WEIGHTS)),
            "doublings": np.tile(np.log2(config.depths), len(STREAM_WEIGHTS)),
            "growth_predicted": np.array([each["activation"][-1] / START for each in expected]),
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
        "weights": np.repeat(STREAM_WEIGHTS, depth + 1),
        "block": np.tile(np.arange(depth + 1), len(STREAM_WEIGHTS)),
    }
    for quantity in _BOTH:
        expected = [expected_stream(config, weights, depth)[quantity] for weights in STREAM_WEIGHTS]
        columns |= _rms(quantity, [np.array([t[quantity] for t in trials]) for trials in found])
        columns[f"{quantity}_predicted"] = np.sqrt(np.concatenate(expected))
    return Table(name="stream_layers", columns=columns)


def _kinds(config: InitialisationConfig) -> list[tuple[str, str, Arrays]]:
    """Give the plain stacks and what is expected of each."""
    sizes = {"width": config.width, "depth": config.depth}
    return [
        (name, weights, expected_stack(name, stds(config.width, config.width)[weights], **sizes))
        for name in ACTIVATIONS
        for weights in STACK_WEIGHTS
    ]


def _factor(squares: NDArray[np.float64], quantity: str) -> float:
    """Give the mean factor of the rms per layer, in the direction in which it travels."""
    slope = np.polyfit(np.arange(len(squares)), np.log(squares) / 2, 1)[0]
    return float(np.exp(slope if quantity == "activation" else -slope))


def _rms(name: str, squares: Sequence[NDArray[np.float64]]) -> dict[str, Column]:
    """Average the logarithms of root mean squares over seeds."""
    logs = [np.log(column) / 2 for values in squares for column in values.T]
    return {key: np.exp(column) for key, column in _estimates(name, logs).items()}


def _estimates(name: str, values: Sequence[NDArray[np.float64]]) -> dict[str, Column]:
    return estimate_columns(name, [estimate(each) for each in values])
