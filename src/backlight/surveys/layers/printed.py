"""What ``backlight layers`` prints: a line for each layer, and what its numbers mean."""

from collections.abc import Iterator

from backlight.runs.results import Results
from backlight.surveys.driver.account import corpus_lines
from backlight.surveys.driver.printing import Column, Shown, percent
from backlight.surveys.layers.options import LayersConfig


def printed(options: LayersConfig, results: Results) -> Iterator[Shown]:
    """Show the table of layers.

    Args:
        options: The options of the run.
        results: What was found.

    Yields:
        The table.
    """
    table = results.tables["layers"]
    columns = [Column("layer", "layer")]
    for mode in options.modes:
        name = mode.replace("_", " ")
        columns += [
            Column(name, mode, ".3e"),
            Column("± se", f"{mode}_se", ".3e"),
            Column(f"max {name}", f"{mode}_max", ".3e"),
            Column("of dim", f"{mode}_top"),
            Column(f"std {name}", f"{mode}_std", ".3e"),
        ]
    columns += [
        Column("sign consistency", "sign_consistency", ".3f"),
        Column(
            "effective dims",
            cell=lambda table, row: (
                f"{table['participation_ratio'][row]:.0f} of {table['num_dimensions'][row]}"
            ),
        ),
        Column("top 1 % share", cell=percent("top_share")),
    ]
    unit = table.units[options.modes[0]]
    yield Shown(
        table=table,
        columns=columns,
        title=f"{options.model_name}: {options.aggregate_by} at {options.site} ({unit})",
        caption=_caption(options, results),
    )


def _caption(options: LayersConfig, results: Results) -> str:
    table = results.tables["layers"]
    lines = [
        f"{table['num_tokens'][0]:,} tokens in {table['num_sequences'][0]:,} passages; averages "
        "over tokens and dimensions, max and std over dimensions."
    ]
    loss = results.metadata.get("loss_nats_per_token")
    if loss is not None:
        lines.append(
            f"Loss {loss:.4f} nats per predicted token; gradients of the {options.loss_reduction} "
            "loss. ± se: standard error, clustered by passage."
        )
    lines += corpus_lines(options, results.metadata)
    if options.power is not None or options.normalize != "none":
        lines.append("Shown before power and normalisation, which are in the arrays.")
    return "\n".join(lines)
