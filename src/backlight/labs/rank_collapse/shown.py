"""How tokens become alike: tables, a figure, and plain sentences."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from backlight.labs.frame.intervals import estimate, estimate_columns
from backlight.labs.rank_collapse.options import RankCollapseConfig
from backlight.labs.rank_collapse.stack import KINDS, WITH_SKIP, Arrays, expected_share
from backlight.report.plots import Panel, Plot
from backlight.tables import Column, Table

ByKind = Mapping[str, Sequence[Arrays]]
"""What the seeds of each kind of network gave."""

_FLOOR = 1e-28  # shares of energy below this are rounding


def collapse_tables(config: RankCollapseConfig, found: ByKind) -> dict[str, Table]:
    """Tabulate what was found.

    Args:
        config: The options.
        found: What the seeds of each kind of network gave.

    Returns:
        ``slopes``, ``depths`` and ``layers``, by name.
    """
    tables = (
        _slopes(config, found),
        _depths(config, found),
        _layers(config, found),
    )
    return {table.name: table for table in tables}


def collapse_plot(config: RankCollapseConfig) -> Plot:
    """Say the figure: the rest's share and the gradients, along one network and against depth.

    Args:
        config: The options.

    Returns:
        The figure.
    """
    deepest = max(config.depths)
    what = {
        "share": ("share of the rest in the energy", f"in the {deepest} layers of one network"),
        "query_to_value": ("|dL/dW_Q| / |dL/dW_V|", f"in the {deepest} layers of one network"),
    }
    panels = [
        Panel(
            table=table,
            x=x,
            y=column,
            series="network",
            low=f"{column}_low",
            high=f"{column}_high",
            dashed="predicted" if column == "share" else None,
            log="y",
            title=title if table == "layers" else "at the last layer, against depth",
            x_label="layer, by what it reads" if table == "layers" else None,
            y_label=label,
        )
        for column, (label, title) in what.items()
        for table, x in (("layers", "layer"), ("depths", "depth"))
    ]
    return Plot(
        name="rank_collapse",
        title=f"Attention makes tokens alike, and queries and keys stop learning ({config.seeds} "
        "seeds, 95 % intervals)",
        panels=panels,
    )


def collapse_remarks(slopes: Table, found: ByKind) -> list[str]:
    """Say what the numbers say.

    Args:
        slopes: The table of that name.
        found: What the seeds of each kind of network gave.

    Returns:
        Plain sentences.
    """
    told = [
        f"{slopes['quantity'][row]}, {slopes['network'][row]}: predicted "
        f"{slopes['predicted'][row]:.3g}, measured {slopes['measured'][row]:.3g} "
        f"({slopes['low'][row]:.3g} to {slopes['high'][row]:.3g})."
        for row in range(slopes.num_rows)
    ]
    alike = np.array(
        [trial["of_identical_tokens"] for trials in found.values() for trial in trials]
    )
    return [
        *told,
        f"Where all tokens are one, the first layer's |dW_Q| and |dW_K| are at most "
        f"{_ratios_at_most(alike):.1g} of its |dW_V|: zero, but for rounding.",
        "Shares below 1e-28 and ratios below 1e-14 are rounding, and are left blank.",
    ]


def _slopes(config: RankCollapseConfig, found: ByKind) -> Table:
    """Lay prediction beside measurement."""
    rows = list[tuple[str, str, float, NDArray[np.float64]]]()
    depths = np.array(config.depths)
    for kind, predicted in zip(KINDS, (3.0, 3.0, 1.0, 1.0), strict=True):
        exponents = np.array([float(trial["exponent"]) for trial in found[kind]])
        rows.append(("exponent of the rest through one layer", kind, predicted, exponents))
    for kind in WITH_SKIP:
        expected = [_expected(config, kind, depth) for depth in config.depths]
        shares = np.array([trial["shares"] for trial in found[kind]])
        what = "slope of log2(rest's share) per layer of depth"
        slope = np.polyfit(depths, np.log2(expected), 1)[0]
        rows.append((what, kind, float(slope), np.polyfit(depths, np.log2(shares).T, 1)[0]))
    for kind in WITH_SKIP:
        ratios = np.array([_ratios(trial["gradients"])[:, 0] for trial in found[kind]])
        what = "slope of log2(|dW_Q| / |dW_V|) per layer of depth"
        predicted = next(row[2] for row in rows if row[1] == kind and "share" in row[0])
        rows.append((what, kind, predicted, np.polyfit(depths, np.log2(ratios).T, 1)[0]))
    names, kinds, predictions, measured = zip(*rows, strict=True)
    return Table(
        name="slopes",
        columns={
            "quantity": np.array(names),
            "network": np.array(kinds),
            "predicted": np.array(predictions),
            **estimate_columns("measured", [estimate(values) for values in measured], prefix=""),
        },
    )


def _depths(config: RankCollapseConfig, found: ByKind) -> Table:
    """Tabulate what the last layer of each network is given and gets."""
    depths, ratios = np.array(config.depths), dict[str, Column]()
    shares = _geometric("share", [np.array([t["shares"] for t in found[kind]]) for kind in KINDS])
    for column, name in enumerate(("query", "key")):
        measured = [
            np.array([_ratios(trial["gradients"])[:, column] for trial in found[kind]])
            for kind in KINDS
        ]
        ratios |= _geometric(f"{name}_to_value", measured, math.sqrt(_FLOOR))
    expected = [
        _expected(config, kind, depth) if kind in WITH_SKIP else np.nan
        for kind in KINDS
        for depth in config.depths
    ]
    return Table(
        name="depths",
        columns={
            "network": np.repeat(KINDS, len(depths)),
            "depth": np.tile(depths, len(KINDS)),
            "predicted": np.array(expected),
            **shares,
            **ratios,
        },
        units={"depth": "layers"},
    )


def _layers(config: RankCollapseConfig, found: ByKind) -> Table:
    """Tabulate each layer of the deepest network, by what it is given."""
    depth = max(config.depths)
    numbers = np.arange(depth)
    shares, ratios, expected = list[Column](), list[Column](), list[Column]()
    for kind in KINDS:
        means = np.array([trial["layer_means"] for trial in found[kind]])
        rests = np.array([trial["layer_rests"] for trial in found[kind]])
        shares.append((rests / (means + rests))[:, :-1])
        ratios.append(np.array([_ratios(t["layer_gradients"])[:, 0] for t in found[kind]]))
        if kind in WITH_SKIP:
            scale = _scale(kind, depth)
            ahead = [
                expected_share(number, positions=config.positions, scale=scale)
                for number in range(depth)
            ]
            expected.append(np.array(ahead))
        else:
            expected.append(_cubed(means, rests, config.positions))
    return Table(
        name="layers",
        columns={
            "network": np.repeat(KINDS, depth),
            "layer": np.tile(numbers + 1, len(KINDS)),
            "predicted": np.concatenate(expected),
            **_geometric("share", shares),
            **_geometric("query_to_value", ratios, math.sqrt(_FLOOR)),
        },
    )


def _scale(kind: str, depth: int) -> float:
    return depth**-0.5 if kind == KINDS[3] else 1.0


def _expected(config: RankCollapseConfig, kind: str, depth: int) -> float:
    return expected_share(depth, positions=config.positions, scale=_scale(kind, depth))


def _cubed(
    means: NDArray[np.float64], rests: NDArray[np.float64], positions: int
) -> NDArray[np.float64]:
    """Predict each share from the layer before, without a skip: r becomes r^3 / n."""
    ahead = rests[:, :-2] ** 3 / positions
    shares = ahead / (means[:, :-2] + ahead)
    first = np.full((len(means), 1), 1 - 1 / positions)  # of independent tokens
    expected = np.exp(np.log(np.maximum(np.hstack([first, shares]), _FLOOR)).mean(axis=0))
    return np.where(expected > 2 * _FLOOR, expected, np.nan)


def _ratios(gradients: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide the norms for queries and keys by those for values."""
    return gradients[..., :2] / gradients[..., 2:]


def _ratios_at_most(gradients: NDArray[np.float64]) -> float:
    return float((gradients[:, :2] / gradients[:, 2:]).max())


def _geometric(
    name: str, measured: Sequence[NDArray[np.float64]], floor: float = _FLOOR
) -> dict[str, Column]:
    """Average logarithms over the first axis, with intervals; blank where one is at the floor."""
    columns = [column for values in measured for column in values.T]
    logs = [
        np.log(column) if column.min() > floor else np.full(len(column), np.nan)
        for column in columns
    ]
    found = estimate_columns(name, [estimate(column) for column in logs])
    return {key: np.exp(column) for key, column in found.items()}
