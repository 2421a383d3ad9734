"""Tables of gradients at the first weights, and of trainings."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from backlight.labs.characters.curves import curve
from backlight.labs.frame.intervals import estimate, estimate_columns
from backlight.labs.norm_placement.options import NormPlacementConfig
from backlight.labs.norm_placement.training import kinds_of_training
from backlight.labs.norm_placement.wide_network import PLACEMENTS, Arrays, Expected, wide_network
from backlight.tables import Column, Table

_LAST_SLOPES = {"pre": -0.5, "post": 0.0}  # Xiong's, log-log of depth

AT_THE_END = 20
"""Steps over which the loss at the end is averaged."""

ByPlacement = Mapping[str, Sequence[Arrays]]
"""What the seeds of each placement gave."""


def placement_tables(
    config: NormPlacementConfig,
    found: ByPlacement,
    runs: Float[np.ndarray, "rates kinds seeds steps"],
) -> dict[str, Table]:
    """Tabulate what was found.

    Args:
        config: The options.
        found: What each network at its first weights gave.
        runs: The loss of each step of each training; NaN behind the last.

    Returns:
        ``slopes`` (prediction beside measurement), ``depths``, ``layers``, ``sizes``,
        ``training`` and ``curves``, by name.
    """
    tables = (
        _slopes(config, found),
        _depths(config, found),
        _layers(config, found),
        _sizes(config, found),
        _training(config, runs),
        _curves(config, runs),
    )
    return {table.name: table for table in tables}


def _slopes(config: NormPlacementConfig, found: ByPlacement) -> Table:
    """Lay prediction beside measurement: the paper's, the wide network's, ours."""
    rows = list[tuple[str, str, float, float, NDArray[np.float64]]]()
    depth = max(config.depths)
    for placement in PLACEMENTS:
        slopes = np.array([_slope(config, trial["last"]) for trial in found[placement]])
        expected = _slope(config, _last_predicted(config, placement))
        what = "slope of the last layer, log-log of depth"
        rows.append((what, placement, _LAST_SLOPES[placement], expected, slopes))
    for placement in PLACEMENTS:
        weights = _predicted(config, placement, depth).weights
        ratios = np.array(
            [trial["weights"][0] / trial["weights"][-1] for trial in found[placement]]
        )
        papers = 1.0 if placement == "pre" else (2 / 3) ** ((depth - 1) / 2)
        what = f"first layer over last, {depth} layers"
        rows.append((what, placement, papers, float(weights[0] / weights[-1]), ratios))
    names, placements, papers, wide, measured = zip(*rows, strict=True)
    estimates = [estimate(values) for values in measured]
    return Table(
        name="slopes",
        columns={
            "quantity": np.array(names),
            "norm": np.array(placements),
            "xiong": np.array(papers),
            "wide_network": np.array(wide),
            **estimate_columns("measured", estimates, prefix=""),
        },
    )


def _slope(config: NormPlacementConfig, norms: NDArray[np.float64]) -> float:
    return float(np.polyfit(np.log(config.depths), np.log(norms), 1)[0])


def _depths(config: NormPlacementConfig, found: ByPlacement) -> Table:
    measured = [np.array([trial["last"] for trial in found[each]]) for each in PLACEMENTS]
    return Table(
        name="depths",
        columns={
            "norm": np.repeat(PLACEMENTS, len(config.depths)),
            "depth": np.tile(config.depths, 2),
            "doublings": np.tile(np.log2(config.depths), 2),
            "wide_network": np.concatenate([_last_predicted(config, p) for p in PLACEMENTS]),
            **_over_seeds("last_layer_gradient", measured),
        },
        units={"depth": "layers"},
    )


def _layers(config: NormPlacementConfig, found: ByPlacement) -> Table:
    depth = max(config.depths)
    measured = [np.array([trial["weights"] for trial in found[each]]) for each in PLACEMENTS]
    last = [float(values[:, -1].mean()) for values in measured]
    decay = (2 / 3) ** ((depth - np.arange(1, depth + 1)) / 2)
    return Table(
        name="layers",
        columns={
            "norm": np.repeat(PLACEMENTS, depth),
            "layer": np.tile(np.arange(1, depth + 1), 2),
            "wide_network": np.concatenate(
                [_predicted(config, placement, depth).weights for placement in PLACEMENTS]
            ),
            "xiong": np.concatenate([np.full(depth, last[0]), last[1] * decay]),
            **_over_seeds("gradient", measured),
        },
    )


def _sizes(config: NormPlacementConfig, found: ByPlacement) -> Table:
    depth = max(config.depths)
    measured = [np.array([trial["sizes"] for trial in found[each]]) for each in PLACEMENTS]
    layers = np.arange(1, depth + 1)
    names = ("pre, behind the layer", "post, before its second norm")
    return Table(
        name="sizes",
        columns={
            "stream": np.repeat(names, depth),
            "layer": np.tile(layers, 2),
            "wide_network": np.concatenate(
                [_predicted(config, placement, depth).sizes for placement in PLACEMENTS]
            ),
            "xiong_low": np.concatenate([1 + layers / 2, np.full(depth, 1.5)]),
            "xiong_high": np.concatenate([1 + 3 * layers / 2, np.full(depth, 1.5)]),
            **_over_seeds("mean_square", measured),
        },
    )


def _predicted(config: NormPlacementConfig, placement: str, depth: int) -> Expected:
    return wide_network(placement, depth, width=config.width, positions=config.positions)


def _last_predicted(config: NormPlacementConfig, placement: str) -> NDArray[np.float64]:
    return np.array([_predicted(config, placement, depth).weights[-1] for depth in config.depths])


def _training(config: NormPlacementConfig, runs: NDArray[np.float64]) -> Table:
    kinds = [kind for kind, _, _ in kinds_of_training(config)]
    # The mean is NaN where a training broke off: it did not get to the end.
    ends = runs[..., -AT_THE_END:].mean(axis=-1).reshape(-1, runs.shape[2])
    return Table(
        name="training",
        columns={
            "learning_rate": np.repeat(config.learning_rates, len(kinds)),
            "training": np.tile(kinds, len(config.learning_rates)),
            **_over_seeds("loss_at_the_end", [ends.T]),
            "broken_off": np.isnan(ends).sum(axis=1),
        },
        units={"loss_at_the_end": "nats"},
    )


def _curves(config: NormPlacementConfig, runs: NDArray[np.float64]) -> Table:
    kinds = [kind for kind, _, _ in kinds_of_training(config)]
    curves = [curve(of_seeds) for of_rate in runs for of_seeds in of_rate]
    points = len(curves[0][0])
    rates = [f"{rate:g}" for rate in config.learning_rates]
    return Table(
        name="curves",
        columns={
            "learning_rate": np.repeat(rates, len(kinds) * points),
            "training": np.tile(np.repeat(kinds, points), len(rates)),
            "step": np.concatenate([steps for steps, _ in curves]),
            "loss": np.concatenate([losses for _, losses in curves]),
        },
        units={"loss": "nats"},
    )


def _over_seeds(name: str, measured: Sequence[NDArray[np.float64]]) -> dict[str, Column]:
    """Average over the first axis, with intervals."""
    estimates = [estimate(column) for values in measured for column in values.T]
    return estimate_columns(name, estimates, prefix="")
