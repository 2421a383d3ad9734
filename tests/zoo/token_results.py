"""Runs of ``backlight tokens`` made of random numbers, as figures read them."""

import numpy as np

from backlight.runs.results import Results
from backlight.tables import Table

CITY = (
    ("bos", "<bos>"),
    ("task", "d"),
    ("open_paren", "("),
    ("city1_digit1", "X"),
    ("city1_digit2", "X"),
    ("comma", ","),
    ("close_paren", ")"),
    ("equals", "="),
)
"""Positions with their tokens, like those of a question about cities."""


def token_results(
    sites=("layers.0.resid.post", "layers.1.resid.post", "layers.2.resid.post"),
    *,
    positions=CITY,
    targets=("comma", "equals"),
    num_prompts=12,
    num_heads=1,
    columns=None,
    color_by="answer_value",
    missing=(),
    unreachable=None,
    seed=0,
):
    """Make a run in which the last layer is structurally zero but for the last token.

    Args:
        sites: The sites.
        positions: Names and tokens of the input; an answer's position is added.
        targets: At which positions vectors were kept.
        num_prompts: How many.
        num_heads: Of each site.
        columns: More columns of the table of prompts.
        color_by: The column that colours; None for prompts without a value.
        missing: Positions that only the first prompt has.
        unreachable: Which sites x positions of the input are zero by causality.
        seed: Of the numbers.
    """
    random = np.random.default_rng(seed)
    places = [*positions, ("answer", "X")]
    if unreachable is None:
        unreachable = np.zeros((len(sites), len(positions)), bool)
        unreachable[-1, :-1] = True
    there = np.ones((num_prompts, len(places)), bool)
    for name in missing:
        there[1:, [place for place, _ in places].index(name)] = False
    arrays, rows = {}, []
    heads = 1 + (num_heads if num_heads > 1 else 0)
    for site, blocked in zip(sites, unreachable, strict=True):
        reach = there & ~np.append(blocked, True)
        shape = (num_prompts, heads, len(places))
        measures = {
            "gradient_norm": np.exp(random.normal(-3, 1, shape)) * reach[:, None],
            "activation_norm": np.exp(random.normal(3, 0.3, shape)),
            "grad_x_act": random.normal(0, 1, shape) * reach[:, None],
        }
        for name, values in measures.items():
            arrays[f"{site}/{name}"] = np.where(there[:, None], values, np.nan)
        arrays[f"{site}/reachable"] = reach
        rows += _rows(site, arrays, places, there, reach, heads)
        for target in targets:
            column = [place for place, _ in places].index(target)
            arrays |= _vectors(f"{site}/{target}", there[:, column], reach[:, column], random)
    prompts = {
        "prompt": np.arange(num_prompts),
        "text": np.array([f"dist {number} $x_{number}$ =" for number in range(num_prompts)]),
        "answer": np.array([f" {number}" for number in range(num_prompts)]),
        "loss": random.gamma(2, size=num_prompts),
        "answer_value": np.arange(num_prompts) * 10.0,
        **(columns or {}),
    }
    if color_by is None:
        del prompts["answer_value"]
    units = {"gradient_norm": "nats/unit", "activation_norm": "units", "grad_x_act": "nats"}
    tables = (
        _table("positions", rows, units),
        Table(name="prompts", columns=prompts, units={"loss": "nats/token"}),
        _geometry(sites, targets, arrays, random),
    )
    return Results(
        config={
            "task_type": "a $strange_title$",
            "template": None,
            "objective": "loss",
            "color_by": color_by,
        },
        metadata={"checkpoint_path": "tiny"},
        data=arrays,
        tables={table.name: table for table in tables},
    )


def _rows(site, arrays, places, there, reach, heads):
    parts = site.split(".")
    for head in range(heads):
        for column, (name, token) in enumerate(places):
            own = {
                measure: arrays[f"{site}/{measure}"][there[:, column], head, column]
                for measure in ("gradient_norm", "activation_norm", "grad_x_act")
            }
            count = int(there[:, column].sum())
            yield {
                "site": site,
                "layer": float(parts[1]) if parts[0] == "layers" else np.nan,
                "head": np.nan if head == 0 else head - 1.0,
                "column": column,
                "position": name,
                "token": token,
                "num_prompts": count,
                "num_reaching": int(reach[:, column].sum()),
                **{measure: values.mean() for measure, values in own.items()},
                **{
                    f"{measure}_se": values.std(ddof=1) / np.sqrt(count) if count > 1 else np.nan
                    for measure, values in own.items()
                },
            }


def _vectors(target, there, reach, random):
    rows = np.flatnonzero(there)
    found = {f"{target}/prompts": rows}
    if len(rows) < 2 or not reach.any():
        return found
    scores = random.normal(size=(len(rows), min(len(rows), 5)))
    units = scores / np.linalg.norm(scores, axis=1, keepdims=True)
    explained = np.sort(random.random(len(rows)))[::-1]
    return found | {
        f"{target}/scores": scores,
        f"{target}/scale": np.ones(7),
        f"{target}/explained": explained / explained.sum(),
        f"{target}/cosines": (units[:200] @ units[:200].T).astype(np.float32),
    }


def _geometry(sites, targets, arrays, random):
    rows = []
    for site in sites:
        for target in targets:
            shaped = f"{site}/{target}/scores" in arrays
            rows.append(
                {
                    "site": site,
                    "layer": float(site.split(".")[1]) if site.startswith("layers") else np.nan,
                    "position": target,
                    **{
                        name: random.random() if shaped else np.nan
                        for name in ("pc1", "effective_rank", "mean_cosine")
                    },
                }
            )
    return _table("geometry", rows, {})


def _table(name, rows, units):
    rows = list(rows)
    columns = {column: np.array([row[column] for row in rows]) for column in rows[0]}
    errors = {f"{column}_se": unit for column, unit in units.items()}
    return Table(name=name, columns=columns, units={**units, **errors})
