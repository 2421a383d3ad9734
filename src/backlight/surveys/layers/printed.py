"""The table that ``backlight layers`` prints at the end."""

from rich.table import Table as RichTable

from backlight.runs.results import Results
from backlight.surveys.driver.session import console
from backlight.surveys.driver.text import account_lines
from backlight.surveys.layers.options import LayersConfig

_HEADINGS = {"mean": "mean", "mean_abs": "mean abs", "rms": "rms"}


def print_layers(config: LayersConfig, results: Results) -> None:
    """Print a line for each layer, what it means, and nothing about files.

    Args:
        config: The options of the run.
        results: What was found.
    """
    table = results.tables["layers"]
    unit = table.units[config.modes[0]]
    shown = RichTable(
        title=f"{config.model_name}: {config.aggregate_by} at {config.site} ({unit})",
        caption=_caption(config, results),
        caption_justify="left",
    )
    shown.add_column("layer", justify="right")
    for mode in config.modes:
        name = _HEADINGS[mode]
        for heading in (name, "± se", f"max {name}", "of dim", f"std {name}"):
            shown.add_column(heading, justify="right", no_wrap=True)
    for heading in ("sign consistency", "effective dims", "top 1 % share"):
        shown.add_column(heading, justify="right")
    for row in range(table.num_rows):
        cells = [str(table["layer"][row])]
        for mode in config.modes:
            cells += [_number(table[f"{mode}{end}"][row]) for end in ("", "_se", "_max")]
            cells += [str(table[f"{mode}_top"][row]), _number(table[f"{mode}_std"][row])]
        cells += [
            f"{table['sign_consistency'][row]:.3f}",
            f"{table['participation_ratio'][row]:.0f} of {table['num_dimensions'][row]}",
            f"{100 * table['top_share'][row]:.1f} %",
        ]
        shown.add_row(*cells)
    console().print(shown)


def _caption(config: LayersConfig, results: Results) -> str:
    table = results.tables["layers"]
    lines = [
        f"{table['num_tokens'][0]:,} tokens in {table['num_sequences'][0]:,} passages; averages "
        "over tokens and dimensions, max and std over dimensions."
    ]
    loss = results.metadata.get("loss_nats_per_token")
    if loss is not None:
        lines.append(
            f"Loss {loss:.4f} nats per predicted token; gradients of the {config.loss_reduction} "
            "loss. ± se: standard error, clustered by passage."
        )
    lines += account_lines(results.metadata, config.max_length)
    if "note" in results.metadata:
        lines.append(f"Model: {results.metadata['note']}.")
    if config.power is not None or config.normalize != "none":
        lines.append("Shown before power and normalisation, which are in the arrays.")
    return "\n".join(lines)


def _number(value: float) -> str:
    return "" if value != value else f"{value:.3e}"
