"""Tables of what attention does to the gradient."""

from collections.abc import Mapping, Sequence

import numpy as np

from backlight.decompose.distance import NUM_BINS, distance_bins
from backlight.stats.ratio import RatioResult
from backlight.tables import Column, Table

_PLAIN_LEVELS = ("even_shrink", "even_entropy", "even_largest")


def attention_table(heads: Sequence[tuple[int, int]], found: Mapping[str, RatioResult]) -> Table:
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
        heads: Each layer and how many heads it has.
        found: What was measured, by name.

    Returns:
        The table, one row for each head.
    """
    columns: dict[str, Column] = {
        "layer": np.repeat([layer for layer, _ in heads], [number for _, number in heads]),
        "head": np.concatenate([np.arange(number) for _, number in heads]),
        "num_sequences": found["z_square"].num_sequences,
    }
    for name, result in found.items():
        is_root = name.endswith("_square")
        values = result.root() if is_root else result
        plain = name.removesuffix("_square")
        label = plain if not is_root or "shrink" in plain else f"{plain}_norm"
        columns[label] = values.ratio
        if label not in _PLAIN_LEVELS:
            columns[f"{label}_se"] = values.se
    norms = [name for name in columns if name.removesuffix("_se").endswith("_norm")]
    entropies = [name for name in columns if "entropy" in name]
    return Table(
        name="attention",
        columns=columns,
        units={**_norm_units(norms), **dict.fromkeys(entropies, "nats")},
    )


def distance_table(heads: Sequence[tuple[int, int]], found: Mapping[str, RatioResult]) -> Table:
    """Tabulate how the energy of the gradient at the scores spreads over distances.

    Args:
        heads: Each layer and how many heads it has.
        found: ``share`` of the energy and ``pairs``, the share of all pairs of a query and a
            visible key, of each head and bin.

    Returns:
        The table, one row for each head and bin in which there is a pair; the last bin is open.
    """
    starts = np.array(distance_bins(), dtype=np.float64)
    last = np.append(starts[1:] - 1, np.nan)
    numbers = [number for _, number in heads]
    rows = sum(numbers)
    columns: dict[str, Column] = {
        "layer": np.repeat([layer for layer, _ in heads], np.multiply(numbers, NUM_BINS)),
        "head": np.repeat(np.concatenate([np.arange(number) for number in numbers]), NUM_BINS),
        "distance_first": np.tile(starts, rows),
        "distance_last": np.tile(last, rows),
        "share": found["share"].ratio,
        "share_se": found["share"].se,
        "pairs": found["pairs"].ratio,
    }
    return Table(name="attention_distance", columns=columns).select(columns["pairs"] > 0)


def _norm_units(names: Sequence[str]) -> dict[str, str]:
    """Name units: weights have none of their own, scores are in nats of log odds."""
    return {
        name: "nats" if name.startswith(("weights", "scores")) else "nats/unit" for name in names
    }
