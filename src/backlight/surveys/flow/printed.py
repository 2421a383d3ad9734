"""What ``backlight flow`` prints: a table for each view, and what its numbers mean."""

from collections.abc import Sequence

import numpy as np
from rich.table import Table as RichTable

from backlight.decompose.surrogates import SURROGATES
from backlight.runs.results import Results
from backlight.surveys.driver.session import console
from backlight.surveys.driver.text import account_lines
from backlight.surveys.flow.options import FlowConfig
from backlight.tables import Table


def print_flow(config: FlowConfig, results: Results) -> None:
    """Print the views one after another.

    Args:
        config: The options of the run.
        results: What was found.
    """
    tables = results.tables
    if "residual" in tables:
        _print_residual(tables["residual"])
        _print_slope(tables["depth_slope"], tables["depth"])
    if "norms" in tables:
        _print_norms(tables["norms"])
    if "attention" in tables:
        _print_attention(tables["attention"])
    for name, reason in results.metadata.get("left_out", {}).items():
        console().print(f"Left out: {name}. {reason}")
    console().print(_caption(config, results))


def _print_residual(table: Table) -> None:
    shown = _empty(
        f"Around and through each block: rms norm of a token's gradient ({_unit(table)})",
        "direct: dL/dy, the way around; transform: dL/dx - dL/dy, the way through; share: of the "
        "transform in the sum of both norms' squares; cosine: between the two; growth: norm at the "
        "block's input over that at its output.",
    )
    _head(shown, ("layer", "half", "direct", "transform", "share", "± se", "cosine", "growth"))
    for row in range(table.num_rows):
        shown.add_row(
            str(table["layer"][row]),
            str(table["half"][row]),
            *_numbers(table, row, ("direct_norm", "transform_norm"), ".3g"),
            *_numbers(table, row, ("transform_share", "transform_share_se"), ".3f"),
            *_numbers(table, row, ("cosine",), "+.3f"),
            *_numbers(table, row, ("growth",), ".3f"),
        )
    console().print(shown)


def _print_slope(slopes: Table, depth: Table) -> None:
    low, high = slopes["slope_low"][0], slopes["slope_high"][0]
    interval = "" if np.isnan(low) else f" (95 %: {low:+.4f} to {high:+.4f})"
    norms = depth["gradient_norm"]
    console().print(
        f"Gradient norm at the embedding {norms[0]:.3g}, behind the last layer {norms[-1]:.3g} "
        f"({depth.units['gradient_norm']}); slope of its logarithm per layer walked backward "
        f"{slopes['slope'][0]:+.4f}{interval}: below 0 it vanishes, above 0 it explodes."
    )


def _print_norms(table: Table) -> None:
    shown = _empty(
        "What norms take out of the gradient, and how well simpler rules do",
        "r mean, r radial: share of the energy that centring and scaling remove, in brackets that "
        "of a random gradient (-: an RMS norm does not centre); then the cosine of each surrogate "
        "with the true backward.",
    )
    names = [name.replace("_", " ") for name in SURROGATES]
    _head(shown, ("layer", "norm", "sigma", "r mean", "r radial", *names))
    for row in range(table.num_rows):
        if not np.isnan(table["head"][row]):
            continue
        shown.add_row(
            _whole(float(table["layer"][row])),
            str(table["norm"][row]),
            *_numbers(table, row, ("sigma",), ".3g"),
            _with_chance(table, row, "r_mean") if table["kind"][row] == "layer" else "-",
            _with_chance(table, row, "r_radial"),
            *_numbers(table, row, [f"{name}_cosine" for name in SURROGATES], ".4f"),
        )
    console().print(shown)


def _print_attention(table: Table) -> None:
    shown = _empty(
        "Through attention: average over the heads of each layer",
        "shrink: norm of the gradient at scores over that at weights, beside 1/n of an even row; "
        "saturated: rows whose softmax passes hardly anything; q and k: their share of the "
        "gradient's energy, the rest is the values'; first: part of the scores' gradient at the "
        "first token. By head: tables/attention.csv.",
    )
    columns = ("shrink", "even_shrink", "entropy", "even_entropy", "largest")
    shares = ("saturation_share", "query_key_share", "first_scores_share")
    headings = ("shrink", "1/n", "entropy", "of even", "largest", "saturated", "q and k", "first")
    _head(shown, ("layer", "heads", *headings))
    for layer in np.unique(table["layer"]):
        own = table.select(table["layer"] == layer)
        cells = [f"{np.nanmean(own[name]):.3g}" for name in columns]
        cells += [f"{100 * np.nanmean(own[name]):.1f} %" for name in shares]
        shown.add_row(_whole(float(layer)), str(own.num_rows), *cells)
    console().print(shown)


def _caption(config: FlowConfig, results: Results) -> str:
    told = results.metadata
    lines = [
        f"{told['num_tokens']:,} tokens in {told['num_passages']:,} passages; loss "
        f"{told['loss_nats_per_token']:.4f} nats per predicted token; gradients of the "
        f"{config.loss_reduction} loss. ± se: standard error, clustered by passage."
    ]
    lines += account_lines(told, config.max_length)
    if "note" in told:
        lines.append(f"Model: {told['note']}.")
    return "\n".join(lines)


def _empty(title: str, caption: str) -> RichTable:
    return RichTable(title=title, caption=caption, caption_justify="left")


def _head(shown: RichTable, headings: Sequence[str]) -> None:
    for heading in headings:
        shown.add_column(heading, justify="left" if heading in ("half", "norm") else "right")


def _unit(table: Table) -> str:
    return table.units["direct_norm"]


def _numbers(table: Table, row: int, names: Sequence[str], form: str) -> list[str]:
    return [
        "" if np.isnan(value := float(table[name][row])) else f"{value:{form}}" for name in names
    ]


def _with_chance(table: Table, row: int, name: str) -> str:
    value, chance = float(table[name][row]), float(table[f"{name}_chance"][row])
    return "" if np.isnan(value) else f"{value:.4f} ({chance:.4f})"


def _whole(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.0f}"
