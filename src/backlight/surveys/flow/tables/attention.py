"""Tables of what attention does to the gradient."""

from collections.abc import Mapping

import numpy as np

from backlight.decompose.distance import NUM_BINS, distance_bins
from backlight.stats.first_order import Weighing, unknown
from backlight.stats.ratio import RatioResult
from backlight.surveys.flow.measure.attention import AttentionView
from backlight.surveys.flow.tables.warning import with_warnings
from backlight.tables import Column, Table

_PLAIN_LEVELS = ("even_shrink", "even_entropy", "even_largest")


def attention_tables(
    view: AttentionView, weighing: Weighing = "sequence_mean"
) -> tuple[Table, Table]:
    """Tabulate the heads, and the gradient at their scores by distance.

    Args:
        view: What was measured.
        weighing: What predicted changes are averaged over.

    Returns:
        ``attention`` and ``attention_distance``.
    """
    numbers = list(view.heads.values())
    heads: dict[str, Column] = {
        "layer": np.repeat(list(view.heads), numbers),
        "head": np.concatenate([np.arange(number) for number in numbers]),
    }
    parts = [
        view.warnings[layer].result(weighing) if layer in view.warnings else unknown(number)
        for layer, number in view.heads.items()
    ]
    return (
        with_warnings(_head_table(heads, view.ratios.result()), parts),
        _distance_table(heads, view.distances.result()),
    )


def head_column(name: str) -> tuple[str, bool]:
    """Name the column of a ratio of heads, and say whether it is the root of the ratio."""
    is_root, plain = name.endswith("_square"), name.removesuffix("_square")
    return plain if not is_root or "shrink" in plain else f"{plain}_norm", is_root


def _head_table(heads: Mapping[str, Column], found: Mapping[str, RatioResult]) -> Table:
    """Tabulate the heads of each layer.

    ``*_norm`` are root mean squares over tokens of the gradient: at a head's output (``z``), at its
    values, at the weights of visible keys, at the scores that enter the softmax, at its queries and
    at its keys (each query head's own part of keys and values that are shared). ``shrink`` is the
    Frobenius norm of the gradient at the scores over that at the weights; ``even_shrink`` the same
    if every row of weights passed 1/n, n the keys a token sees, the most that even rows can pass.
    ``entropy`` (nats) and ``largest`` weight are means over tokens, ``even_*`` those of even rows.
    ``saturation_share`` is the share of tokens with at least two visible keys whose softmax has a
    Jacobian of trace below 0.01. ``query_key_share`` is the energy at queries and keys over that at
    queries, keys and values. ``first_*`` is what the first token carries: its share of the energy
    at scores, keys and values, and its mean weight. ``sink_weight`` is the mean weight of a learned
    sink, 0 without one.

    Args:
        heads: The layer and the number of each head.
        found: What was measured of each.

    Returns:
        The table, one row for each head.
    """
    columns = {**heads, "num_sequences": found["z_square"].num_sequences}
    for name, result in found.items():
        label, is_root = head_column(name)
        values = result.root() if is_root else result
        columns[label] = values.ratio
        if label not in _PLAIN_LEVELS:
            columns[f"{label}_se"] = values.se
    return Table(
        name="attention",
        columns=columns,
        units={name: unit for name in columns if (unit := _unit(name)) is not None},
    )


def _distance_table(heads: Mapping[str, Column], found: Mapping[str, RatioResult]) -> Table:
    """Tabulate how the energy of the gradient at the scores spreads over distances.

    Args:
        heads: The layer and the number of each head.
        found: ``share`` of the energy and ``pairs``, the share of all pairs of a query and a
            visible key, of each head and bin.

    Returns:
        The table, one row for each head and bin in which there is a pair; the last bin is open.
    """
    starts = np.array(distance_bins(), dtype=np.float64)
    last = np.append(starts[1:] - 1, np.nan)
    num_heads = len(heads["head"])
    columns: dict[str, Column] = {
        **{name: np.repeat(column, NUM_BINS) for name, column in heads.items()},
        "distance_first": np.tile(starts, num_heads),
        "distance_last": np.tile(last, num_heads),
        "share": found["share"].ratio,
        "share_se": found["share"].se,
        "pairs": found["pairs"].ratio,
    }
    return Table(name="attention_distance", columns=columns).select(columns["pairs"] > 0)


def _unit(name: str) -> str | None:
    """Name a column's unit: weights have none of their own, scores are in nats of log odds."""
    if name.removesuffix("_se").endswith("_norm"):
        return "nats" if name.startswith(("weights", "scores")) else "nats/unit"
    return "nats" if "entropy" in name else None
