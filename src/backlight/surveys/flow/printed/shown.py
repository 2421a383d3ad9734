"""Tables of a survey of the flow as they are printed: what stands out, and every view."""

from collections.abc import Callable, Iterator

import numpy as np

from backlight.report.wrong import COLUMN, MEANING, is_wrong
from backlight.runs.results import Results
from backlight.surveys.driver.words.account import corpus_lines
from backlight.surveys.driver.words.printing import (
    Column,
    Shown,
    number,
    percent,
    sure_number,
    whole,
)
from backlight.surveys.driver.words.ranking import largest
from backlight.surveys.driver.words.warning import EXPLAINED, mark_columns
from backlight.surveys.flow.options import FlowConfig
from backlight.surveys.flow.printed.summary import half_name, head_name, norm_name
from backlight.tables import Table

_MOST_ROWS = 5
_MEANS = (
    ("shrink", "shrink", False),
    ("1/n", "even_shrink", False),
    ("entropy", "entropy", False),
    ("of even", "even_entropy", False),
    ("largest", "largest", False),
    ("saturated", "saturation_share", True),
    ("q and k", "query_key_share", True),
    ("first", "first_scores_share", True),
)
"""Heading and column of what is averaged over heads, and whether it is a share."""

_WRONG = ("wrong", COLUMN, True)


def brief(options: FlowConfig, results: Results) -> Iterator[Shown | str]:
    """Show what stands out in each view.

    Args:
        options: The options of the run.
        results: What was found.

    Yields:
        A small table for each view, and what a reader of them must know.
    """
    tables = results.tables
    if "residual" in tables:
        yield _through_most(tables["residual"])
    if "attention" in tables:
        yield _largest_heads(tables["attention"])
    if "norms" in tables:
        yield _most_removed(tables["norms"])
    yield " ".join([*_left_out(results), *corpus_lines(options, results.metadata)])


def _left_out(results: Results) -> list[str]:
    left_out = results.metadata.get("left_out", {})
    return [f"Left out: {name}. {reason}" for name, reason in left_out.items()]


def _through_most(table: Table) -> Shown:
    most = largest(table, "transform_share", _MOST_ROWS)
    return Shown(
        table=most,
        columns=[
            Column("most comes through", cell=half_name),
            Column("share ± se", cell=sure_number("transform_share")),
            *mark_columns(most),
            Column(f"through ({table.units['transform_norm']})", "transform_norm", ".3g"),
            Column("around", "direct_norm", ".3g"),
            Column("growth ± se", cell=sure_number("growth")),
        ],
        num_all=table.num_rows,
    )


def _largest_heads(table: Table) -> Shown:
    most = largest(table, "z_norm", _MOST_ROWS)
    return Shown(
        table=most,
        columns=[
            Column("largest gradient at", cell=head_name),
            Column(f"norm ± se ({table.units['z_norm']})", cell=sure_number("z_norm")),
            *mark_columns(most),
            Column("by queries and keys", cell=percent("query_key_share")),
            Column("at the first token", cell=percent("first_scores_share")),
        ],
        num_all=table.num_rows,
    )


def _most_removed(table: Table) -> Shown:
    return Shown(
        table=largest(table, "r_radial", _MOST_ROWS),
        columns=[
            Column("norms take out most at", cell=norm_name),
            Column("share ± se", cell=sure_number("r_radial")),
            Column("by chance", "r_radial_chance", ".2g"),
            Column("sigma", "sigma", ".3g"),
        ],
        num_all=table.num_rows,
    )


def tables(options: FlowConfig, results: Results) -> Iterator[Shown | str]:
    """Show the views one after another.

    Args:
        options: The options of the run.
        results: What was found.

    Yields:
        Tables, and sentences between them.
    """
    tables = results.tables
    if "residual" in tables:
        yield _residual(tables["residual"])
        yield _slope(tables["depth_slope"], tables["depth"])
    if "norms" in tables:
        yield _norms(tables["norms"])
    if "attention" in tables:
        yield _attention(tables["attention"])
    yield from _left_out(results)
    yield _caption(options, results)


def _residual(table: Table) -> Shown:
    return Shown(
        table=table,
        title="Around and through each block: rms norm of a token's gradient "
        f"({table.units['direct_norm']})",
        caption="direct: dL/dy, the way around; transform: dL/dx - dL/dy, the way through; share: "
        "of the transform in the sum of both norms' squares; cosine: between the two; growth: norm "
        "at the block's input over that at its output."
        + (f" {EXPLAINED}" if is_wrong(table).any() else ""),
        columns=[
            Column("layer", "layer"),
            Column("half", "half"),
            Column("direct", "direct_norm", ".3g"),
            Column("transform", "transform_norm", ".3g"),
            Column("share", "transform_share", ".3f"),
            Column("± se", "transform_share_se", ".3f"),
            Column("cosine", "cosine", "+.3f"),
            Column("growth", "growth", ".3f"),
            *mark_columns(table),
        ],
    )


def _slope(slopes: Table, depth: Table) -> str:
    low, high = slopes["slope_low"][0], slopes["slope_high"][0]
    interval = "" if np.isnan(low) else f" (95 %: {low:+.4f} to {high:+.4f})"
    norms = depth["gradient_norm"]
    return (
        f"Gradient norm at the embedding {norms[0]:.3g}, behind the last layer {norms[-1]:.3g} "
        f"({depth.units['gradient_norm']}); slope of its logarithm per layer walked backward "
        f"{slopes['slope'][0]:+.4f}{interval}: below 0 it vanishes, above 0 it explodes."
    )


def _norms(table: Table) -> Shown:
    return Shown(
        table=table.select(np.isnan(table["head"])),
        title="What norms take out of the gradient, and how well simpler rules do",
        caption="r mean, r radial: share of the energy that centring and scaling remove, in "
        "brackets that of a random gradient (-: an RMS norm does not centre); then the cosine of "
        "each surrogate with the true backward.",
        columns=[
            Column("layer", cell=whole("layer")),
            Column("norm", "norm"),
            Column("sigma", "sigma", ".3g"),
            Column("r mean", cell=_centring),
            Column("r radial", cell=_beside_chance("r_radial")),
            *(
                Column(name.removesuffix("_cosine").replace("_", " "), name, ".4f")
                for name in table
                if name.endswith("_cosine")
            ),
        ],
    )


def _attention(table: Table) -> Shown:
    """Show the average over the heads of each layer."""
    layers = np.unique(table["layer"])
    heads = {layer: table.select(table["layer"] == layer) for layer in layers}
    means = [*_MEANS, *([_WRONG] if is_wrong(table).any() else [])]
    names = [name for _, name, _ in means]
    by_layer = Table(
        name="attention",
        columns={
            "layer": layers,
            "heads": np.array([own.num_rows for own in heads.values()]),
            **{name: np.array([np.nanmean(own[name]) for own in heads.values()]) for name in names},
        },
    )
    return Shown(
        table=by_layer,
        title="Through attention: average over the heads of each layer",
        caption="shrink: norm of the gradient at scores over that at weights, beside 1/n of an "
        "even row; saturated: rows whose softmax passes hardly anything; q and k: their share of "
        "the gradient's energy, the rest is the values'; first: part of the scores' gradient at "
        "the first token"
        + (f"; wrong: heads that are likely wrong: {MEANING}" if len(means) > len(_MEANS) else ".")
        + " By head: tables/attention.csv.",
        columns=[
            Column("layer", cell=whole("layer")),
            Column("heads", "heads"),
            *(
                Column(heading, cell=percent(name)) if share else Column(heading, name, ".3g")
                for heading, name, share in means
            ),
        ],
    )


def _caption(options: FlowConfig, results: Results) -> str:
    about = results.metadata
    lines = [
        f"{about['num_tokens']:,} tokens in {about['num_passages']:,} passages; loss "
        f"{about['loss_nats_per_token']:.4f} nats per predicted token; gradients of the "
        f"{options.loss_reduction} loss. ± se: standard error, clustered by passage."
    ]
    return "\n".join(lines + corpus_lines(options, about))


def _beside_chance(name: str) -> Callable[[Table, int], str]:
    return lambda table, row: number(
        float(table[name][row]), ".4f", f" ({table[f'{name}_chance'][row]:.4f})"
    )


def _centring(table: Table, row: int) -> str:
    return _beside_chance("r_mean")(table, row) if table["kind"][row] == "layer" else "-"
