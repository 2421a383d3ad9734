"""Runs of ``backlight sae`` made of random numbers, as pages read them."""

import numpy as np

from backlight.runs.results import Results
from backlight.tables import Table

UNIT = "nats/unit"


def feature_results(
    layers=(3, 4),
    *,
    num_features=50,
    mode="both",
    num_ranked=6,
    num_contexts=3,
    link="",
    never=0,
    poor=(),
    **options,
):
    """Make a run.

    Args:
        layers: The layers.
        num_features: Of each dictionary.
        mode: The aggregation mode.
        num_ranked: Features of each layer in the tables.
        num_contexts: Tokens of each of these.
        link: What their page at Neuronpedia begins with; empty for none.
        never: How many features of each layer never fired, the first ones.
        poor: Layers whose dictionaries reconstruct poorly.
        options: Of the run.
    """
    random = np.random.default_rng(0)
    modes = ("mean", "mean_abs") if mode == "both" else (mode,)
    statistics = {
        f"layer_{layer}_{name}": values
        for layer in layers
        for name, values in _statistics(random, num_features, modes, never).items()
    }
    ranked = {
        layer: np.argsort(-np.nan_to_num(np.abs(statistics[f"layer_{layer}_{modes[0]}"])))
        for layer in layers
    }
    places = [(layer, feature) for layer in layers for feature in ranked[layer][:num_ranked]]
    tables = (
        _layers(layers, statistics, modes, random),
        _dictionaries(layers, num_features, random),
        _top_features(places, statistics, modes, num_ranked, link),
        _top_tokens(places, num_contexts, random),
    )
    return Results(
        config={
            "aggregation_mode": mode,
            "aggregate_by": "gradients",
            "active_only": False,
            "power": None,
            "normalize": "none",
            "splice": "replace",
            **options,
        },
        metadata={"poor_reconstruction": {str(layer): "0.1" for layer in poor}} if poor else {},
        data={
            f"layer_{layer}_{each}": np.sqrt(np.abs(statistics[f"layer_{layer}_{each}"]))
            for layer in layers
            for each in modes
        },
        statistics=statistics,
        tables={table.name: table for table in tables},
    )


def _statistics(random, num_features, modes, never):
    mean = random.normal(size=num_features) * np.exp(random.normal(size=num_features))
    found = {"mean": mean, "mean_se": np.abs(random.normal(size=num_features))}
    found["rms"] = 2 * np.abs(mean)
    if "mean_abs" in modes:
        found["mean_abs"] = np.abs(mean) * (1 + random.random(num_features))
        found["mean_abs_se"] = np.abs(random.normal(size=num_features))
    for values in found.values():
        values[:never] = np.nan
    found["frequency"] = random.random(num_features)
    found["frequency"][:never] = 0
    found["decoder_norm"] = random.random(num_features)
    return found


def _layers(layers, statistics, modes, random):
    count = len(layers)
    columns = {"layer": np.array(layers), "num_dimensions": np.full(count, 50)}
    units = {}
    for mode in modes:
        own = [np.nan_to_num(statistics[f"layer_{layer}_{mode}"]) for layer in layers]
        columns |= {
            mode: np.array([values.mean() for values in own]),
            f"{mode}_max": np.array([np.abs(values).max() for values in own]),
            f"{mode}_std": np.array([values.std() for values in own]),
        }
        units |= {mode: UNIT, f"{mode}_max": UNIT, f"{mode}_std": UNIT}
    columns |= {"significant_share": random.random(count), "participation_ratio": np.ones(count)}
    if "mean_abs" in modes:
        columns |= {"sign_consistency": random.random(count), "top_share": random.random(count)}
    return Table(
        name="layers",
        columns={**columns, "loss": random.random(count)},
        units={**units, "loss": "nats/token"},
    )


def _dictionaries(layers, num_features, random):
    count = len(layers)
    return Table(
        name="dictionaries",
        columns={
            "layer": np.array(layers),
            "num_features": np.full(count, num_features),
            "explained_variance": random.normal(size=count),
            "explained_variance_with_first": random.random(count),
            "l0": random.random(count),
            "dead_share": random.random(count),
        },
        units={"l0": "features/token"},
    )


def _top_features(places, statistics, modes, num_ranked, link):
    def column(name):
        return np.array([statistics[f"layer_{layer}_{name}"][feature] for layer, feature in places])

    start = f"layer_{places[0][0]}_"
    names = [name.removeprefix(start) for name in statistics if name.startswith(start)]
    rank = np.arange(len(places)) % num_ranked + 1
    return Table(
        name="top_features",
        columns={
            "layer": np.array([layer for layer, _ in places]),
            **{f"rank_{mode}": rank for mode in modes},
            "feature": np.array([feature for _, feature in places]),
            **{name: column(name) for name in names},
            "context": np.array([f"before« {feature}» after" for _, feature in places]),
            "neuronpedia": np.array([link and f"{link}/{feature}" for _, feature in places]),
        },
        units={name: UNIT for name in ("mean", "mean_abs", "rms") if name in names},
    )


def _top_tokens(places, num_contexts, random):
    rows = [(*place, rank) for place in places for rank in range(1, num_contexts + 1)]
    layers, features, ranks = np.array(rows).T
    return Table(
        name="top_tokens",
        columns={
            "layer": layers,
            "feature": features,
            "rank": ranks,
            "value": random.normal(size=len(rows)),
            "passage": np.arange(len(rows)),
            "position": np.arange(len(rows)) % 7,
            "context": np.array([f"a« {feature}» {rank}" for _, feature, rank in rows]),
        },
        units={"value": UNIT},
    )
