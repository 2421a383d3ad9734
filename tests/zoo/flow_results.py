"""Runs of ``backlight flow`` made of random numbers, as figures read them."""

import numpy as np

from backlight.runs.results import Results
from backlight.tables import Table

SURROGATES = ("identity", "scale", "center_scale", "projected", "radial_only")
NATS = "nats/unit"


def flow_results(views=("norms", "attention", "residual"), **options):
    """Make a run.

    Args:
        views: Which were looked at.
        **options: ``num_layers`` of the model, ``layers`` that were looked at, ``num_heads``,
            ``num_sequences``, ``parallel`` blocks, ``range`` of norms along the stream, ``kind``
            of norm, ``names`` of norms, ``head_norms`` that are one for each head, ``seed``.
    """
    made = {"norms": norm_tables, "attention": attention_tables, "residual": residual_tables}
    tables = [table for view in views for table in made[view](**options)]
    return Results(
        config={"model_name": "tiny"},
        metadata={"num_tokens": 1234, "num_passages": 56},
        tables={table.name: table for table in tables},
    )


def residual_tables(
    num_layers=3,
    layers=None,
    num_sequences=5,
    parallel=False,
    range=100.0,
    seed=0,
    **_,
):
    random = np.random.default_rng(seed)
    layers = tuple(np.arange(num_layers)) if layers is None else layers
    blank = num_sequences < 2
    norms = np.geomspace(range, 1, num_layers + 1) * random.uniform(0.98, 1.02, num_layers + 1)
    halves = ("block", "attention", "mlp") if parallel else ("attention", "mlp")
    rows = [(layer, half) for layer in layers for half in halves]
    size = np.array([norms[layer + 1] for layer, _ in rows])
    columns = {
        "direct_norm": size,
        "transform_norm": size * random.uniform(0.1, 0.9, len(rows)),
        "input_norm": size * np.where([half == "mlp" for _, half in rows], 1.01, 1.02),
        "growth": np.full(len(rows), 1.02),
        "cosine": random.uniform(-0.6, 0.6, len(rows)),
        "transform_share": random.uniform(0, 1, len(rows)),
        "transform_contribution": random.uniform(-0.2, 1, len(rows)),
    }
    names = [name for name in columns if name.endswith("norm")]
    residual = Table(
        name="residual",
        columns={
            "layer": np.array([layer for layer, _ in rows]),
            "half": np.array([half for _, half in rows]),
            "num_sequences": np.full(len(rows), num_sequences),
            **with_errors(columns, blank),
        },
        units=dict.fromkeys([*names, *(f"{name}_se" for name in names)], NATS),
    )
    depths = {
        "depth": np.arange(num_layers + 1),
        "site": np.array(
            [
                *(f"layers.{layer}.resid.pre" for layer in np.arange(num_layers)),
                f"layers.{num_layers - 1}.resid.post",
            ]
        ),
        "num_sequences": np.full(num_layers + 1, num_sequences),
    }
    units = dict.fromkeys(("gradient_norm", "gradient_norm_se"), NATS)
    depth = Table(
        name="depth",
        columns={**depths, **with_errors({"gradient_norm": norms}, blank)},
        units=units,
    )
    groups = [(0.0, 0.0), (1.0, 1.0), (2.0, 3.0), (4.0, 7.0)]
    by_position = Table(
        name="depth_by_position",
        columns={
            "position_first": np.repeat([first for first, _ in groups], num_layers + 1),
            "position_last": np.repeat([last for _, last in groups], num_layers + 1),
            **{name: np.tile(column, len(groups)) for name, column in depths.items()},
            **with_errors({"gradient_norm": np.outer([4, 3, 2, 1], norms).ravel()}, blank),
        },
        units=units,
    )
    slope = np.log(range) / num_layers
    ends = {"slope": 0.0, "slope_low": -0.01, "slope_high": 0.01}
    slopes = Table(
        name="depth_slope",
        columns={
            "position_first": np.array([np.nan, *(first for first, _ in groups)]),
            "position_last": np.array([np.nan, *(last for _, last in groups)]),
            "num_sequences": np.full(len(groups) + 1, num_sequences),
            **{
                name: np.full(len(groups) + 1, np.nan if blank and more else slope + more)
                for name, more in ends.items()
            },
        },
        units=dict.fromkeys(ends, "nats/layer"),
    )
    return residual, depth, by_position, slopes


def attention_tables(num_layers=3, layers=None, num_heads=4, num_sequences=5, seed=0, **_):
    random = np.random.default_rng(seed)
    layers = tuple(np.arange(num_layers)) if layers is None else layers
    blank, rows = num_sequences < 2, len(layers) * num_heads
    norms = ("z", "v", "weights", "scores", "q", "k")
    shares = ("saturation_share", "query_key_share", "first_scores_share", "first_k_share")
    shares += ("first_v_share", "first_weight")
    measured = {
        **{f"{name}_norm": random.uniform(0.01, 1, rows) for name in norms},
        "shrink": random.uniform(0.01, 0.3, rows),
        "entropy": random.uniform(0.1, 2.5, rows),
        "largest": random.uniform(0.1, 1, rows),
        **{name: random.uniform(0, 1, rows) for name in shares},
        "sink_weight": np.zeros(rows),
    }
    heads = {
        "layer": np.repeat(layers, num_heads),
        "head": np.tile(np.arange(num_heads), len(layers)),
    }
    attention = Table(
        name="attention",
        columns={
            **heads,
            "num_sequences": np.full(rows, num_sequences),
            **with_errors(measured, blank),
            "even_shrink": np.full(rows, 0.1),
            "even_entropy": np.full(rows, 2.6),
            "even_largest": np.full(rows, 0.1),
        },
        units={"entropy": "nats", **{f"{name}_norm": NATS for name in norms}},
    )
    starts, ends = [0.0, 1.0, 2.0, 4.0], [0.0, 1.0, 3.0, 7.0]
    share = random.dirichlet(np.ones(4), rows).ravel()
    distance = Table(
        name="attention_distance",
        columns={
            **{name: np.repeat(column, 4) for name, column in heads.items()},
            "distance_first": np.tile(starts, rows),
            "distance_last": np.tile(ends, rows),
            **with_errors({"share": share}, blank),
            "pairs": np.tile([0.2, 0.2, 0.3, 0.3], rows),
        },
    )
    return attention, distance


def norm_tables(
    num_layers=3,
    layers=None,
    num_sequences=5,
    kind="rms",
    names=("norm1", "norm2"),
    head_norms=(),
    num_heads=4,
    seed=0,
    **_,
):
    random = np.random.default_rng(seed)
    layers = tuple(np.arange(num_layers)) if layers is None else layers
    blank = num_sequences < 2
    places = [(layer, name, np.nan) for layer in layers for name in names]
    places += [
        (layer, name, head)
        for layer in layers
        for name in head_norms
        for head in np.arange(num_heads)
    ]
    places.append((np.nan, "final_norm", np.nan))
    rows = len(places)
    centred = 1.0 if kind == "layer" else 0.0
    measured = {
        "r_mean": centred * random.uniform(0.001, 0.1, rows),
        "token_r_mean": centred * random.uniform(0.001, 0.1, rows),
        "r_radial": random.uniform(0.001, 0.1, rows),
        "token_r_radial": random.uniform(0.001, 0.1, rows),
        "sigma": random.uniform(0.1, 30, rows),
        "gradient_norm": random.uniform(0.1, 1, rows),
    }
    for name in SURROGATES:
        exact = name in ("projected", "radial_only") and kind == "rms"
        measured[f"{name}_cosine"] = 1 - (1e-9 if exact else 1e-2) * random.uniform(0.1, 1, rows)
        measured[f"{name}_norm_ratio"] = random.uniform(0.5, 20, rows)
    chance = {f"{name}_cosine_chance": np.full(rows, 0.999) for name in SURROGATES}
    chance |= {f"{name}_norm_ratio_chance": np.full(rows, 1.1) for name in SURROGATES}
    norms = Table(
        name="norms",
        columns={
            "layer": np.array([layer for layer, _, _ in places], dtype=np.float64),
            "norm": np.array([name for _, name, _ in places]),
            "head": np.array([head for _, _, head in places], dtype=np.float64),
            "kind": np.full(rows, kind),
            "width": np.full(rows, 64),
            "gain_mean": np.ones(rows),
            "num_sequences": np.full(rows, num_sequences),
            **with_errors(measured, blank),
            "r_mean_chance": np.full(rows, centred / 64),
            "r_radial_chance": np.full(rows, 1 / 64),
            "sigma_std": measured["sigma"] / 10,
            **chance,
        },
        units=dict.fromkeys(("gradient_norm", "gradient_norm_se"), NATS),
    )
    return (norms,)


def with_errors(columns, blank):
    """Put a standard error of a tenth beside each column; blank for one sequence."""
    return {
        name: values
        for each, column in columns.items()
        for name, values in (
            (each, column),
            (f"{each}_se", np.full(len(column), np.nan) if blank else _tenth(each, column)),
        )
    }


def _tenth(name, column):
    away = 1 - column if name.endswith("_cosine") and name != "cosine" else column
    return np.abs(away) / 10
