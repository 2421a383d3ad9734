"""The tables that ``backlight sae`` prints at the end."""

from rich.table import Table as RichTable

from backlight.runs.results import Results
from backlight.surveys.driver.session import console
from backlight.surveys.driver.text import account_lines
from backlight.surveys.features.options import SaeConfig

_NUM_NAMED = 3
_NUM_TOLD = 10
_WORDS = {"gradients": "gradients by features", "values": "features", "grad_x_act": "grad x act"}


def print_features(config: SaeConfig, results: Results) -> None:
    """Print a line for each layer, the features that matter most, and what the numbers mean.

    Args:
        config: The options of the run.
        results: What was found.
    """
    _print_layers(config, results)
    _print_top(config, results)


def _print_layers(config: SaeConfig, results: Results) -> None:
    table, quality = results.tables["layers"], results.tables["dictionaries"]
    top = results.tables["top_features"]
    how = "" if config.aggregate_by == "values" else f", splice {config.splice}"
    unit = table.units[config.modes[0]]
    shown = RichTable(
        title=f"{config.model_name}: {_WORDS[config.aggregate_by]} ({unit}){how}",
        caption=_caption(config, results),
        caption_justify="left",
    )
    for heading in ("layer", "explained", "L0"):
        shown.add_column(heading, justify="right")
    for mode in config.modes:
        name = mode.replace("_", " ")
        for heading in (name, f"std {name}", f"max {name}"):
            shown.add_column(heading, justify="right", no_wrap=True)
    shown.add_column("sure", justify="right")
    if "loss" in table.columns:
        shown.add_column("loss", justify="right")
    shown.add_column("largest features")
    for row in range(table.num_rows):
        layer = table["layer"][row]
        own = top.select(top["layer"] == layer)
        cells = [str(layer), f"{quality['explained_variance'][row]:.3f}"]
        cells.append(f"{quality['l0'][row]:.0f}")
        for mode in config.modes:
            cells += [_number(table[f"{mode}{end}"][row]) for end in ("", "_std", "_max")]
        cells.append(_percent(table["significant_share"][row]))
        if "loss" in table.columns:
            cells.append(f"{table['loss'][row]:.4f}")
        cells.append(", ".join(str(feature) for feature in own["feature"][:_NUM_NAMED]))
        shown.add_row(*cells)
    console().print(shown)


def _print_top(config: SaeConfig, results: Results) -> None:
    mode, table = config.modes[0], results.tables["top_features"]
    error = "mean_se" if mode == "rms" else f"{mode}_se"
    errors = {"rms": "± se of mean"}.get(mode, "± se")
    layers = results.tables["layers"]["layer"]
    each = max(1, _NUM_TOLD // len(layers))
    shown = RichTable(
        title=f"Features of the largest {mode.replace('_', ' ')}"
        + (f", {each} of each layer" if len(layers) > 1 else "")
    )
    for heading in ("layer", "feature", mode.replace("_", " "), errors, "fires at"):
        shown.add_column(heading, justify="right", no_wrap=True)
    shown.add_column("where it mattered most", overflow="ellipsis", no_wrap=True)
    for row in range(table.num_rows):
        if table[f"rank_{mode}"][row] > each:
            continue
        shown.add_row(
            str(table["layer"][row]),
            str(table["feature"][row]),
            _number(table[mode][row]),
            _number(table[error][row]),
            _percent(table["frequency"][row]),
            str(table["context"][row]),
        )
    console().print(shown)


def _caption(config: SaeConfig, results: Results) -> str:
    table = results.tables["layers"]
    over = "the tokens where a feature fires" if config.active_only else "all of them"
    lines = [
        f"{table['num_tokens'][0]:,} tokens in {table['num_sequences'][0]:,} passages (every "
        f"{_ordinal(config.stride)}), averaged over {over}; average, std and max over features. "
        "sure: share of features whose mean is more than 1.96 standard errors (clustered by "
        "passage) from 0; 5 % by chance.",
        "explained: variance of the site that the dictionary explains on the first batch, first "
        "tokens left out; L0: features per token.",
    ]
    if "loss" in table.columns:
        spliced = config.splice == "replace"
        lines.append(
            f"loss: nats per predicted token{', with the reconstruction in place' * spliced}; "
            f"gradients of the {config.loss_reduction} loss."
        )
    lines += account_lines(results.metadata, config.max_length)
    if "note" in results.metadata:
        lines.append(f"Model: {results.metadata['note']}.")
    poor = results.metadata.get("poor_reconstruction", {})
    if poor:
        lines.append(
            f"Their dictionaries reconstruct poorly (why: manifest.json): layers {', '.join(poor)}."
        )
    if config.power is not None or config.normalize != "none":
        lines.append("Shown before power and normalisation, which are in the arrays.")
    return "\n".join(lines)


def _ordinal(number: int) -> str:
    return {1: "token", 2: "2nd token", 3: "3rd token"}.get(number, f"{number}th token")


def _percent(share: float) -> str:
    return "" if share != share else f"{100 * share:.1f} %"


def _number(value: float) -> str:
    return "" if value != value else f"{value:.3e}"
