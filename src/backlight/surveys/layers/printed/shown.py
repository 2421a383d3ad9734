"""Tables of a survey of layers as they are printed: the largest rows, and all layers."""

from collections.abc import Callable, Iterator

import numpy as np

from backlight.report.wrong import is_wrong
from backlight.runs.results import Results
from backlight.surveys.driver.words.account import context_column, corpus_lines
from backlight.surveys.driver.words.aggregation import aggregation_notes, modes_of
from backlight.surveys.driver.words.path import path_notes, path_table, titled, whole_path_table
from backlight.surveys.driver.words.printing import Column, Shown, percent, sure_number
from backlight.surveys.driver.words.ranking import largest
from backlight.surveys.driver.words.warning import EXPLAINED, mark_columns
from backlight.surveys.layers.options import LayersConfig
from backlight.tables import Table

_MOST_ROWS = 8


def brief(options: LayersConfig, results: Results) -> Iterator[Shown | str]:
    """Show the layers and the single dimensions that are largest.

    Args:
        options: The options of the run.
        results: What was found.

    Yields:
        Two small tables, and what a reader of them must know.
    """
    mode = modes_of(results.config)[0]
    layers, dimensions = results.tables["layers"], results.tables["dimensions"]
    heading = f"{mode.replace('_', ' ')} ± se ({layers.units[mode]})"
    most = largest(layers, mode, _MOST_ROWS)
    yield Shown(
        table=most,
        columns=_known(
            layers,
            Column("largest layers", "layer"),
            Column(heading, cell=sure_number(mode)),
            *mark_columns(most),
            Column("largest dimension", f"{mode}_top"),
            Column("with", f"{mode}_max", ".3g"),
            Column("consistency", "sign_consistency", ".2f"),
            Column("top 1 % has", cell=percent("top_share"), name="top_share"),
            Column("chance of probes", "mean_probe_se", ".2g"),
        ),
        num_all=layers.num_rows,
    )
    shown = largest(dimensions, mode, _MOST_ROWS)
    columns = [
        Column("largest dimensions", cell=_dimension),
        Column(heading, cell=sure_number(mode)),
        *mark_columns(shown),
        Column("consistency", "sign_consistency", ".2f"),
        Column("chance of probes", "mean_probe_se", ".2g"),
    ]
    if "top_tokens" in results.tables:
        where = _context(results.tables["top_tokens"])
        columns.append(context_column("where it was largest", cell=where))
    yield Shown(table=shown, columns=_known(dimensions, *columns), num_all=dimensions.num_rows)
    yield from path_table(results)
    yield " ".join(_notes(options, results))


def _known(table: Table, *columns: Column) -> list[Column]:
    """Leave out what a table does not have."""
    return [column for column in columns if not column.name or column.name in table]


def _dimension(table: Table, row: int) -> str:
    return f"{table['dimension'][row]} of layer {table['layer'][row]}"


def _context(tokens: Table) -> Callable[[Table, int], str]:
    """Look up the token at which a dimension's absolute value was largest, in context."""
    first = tokens.select(tokens["rank"] == 1)

    def cell(table: Table, row: int) -> str:
        own = np.flatnonzero(
            (first["layer"] == table["layer"][row])
            & (first["dimension"] == table["dimension"][row])
        )
        return str(first["context"][own[0]]) if len(own) else ""

    return cell


def tables(options: LayersConfig, results: Results) -> Iterator[Shown]:
    """Show the table of layers, and what paths add up to.

    Args:
        options: The options of the run.
        results: What was found.

    Yields:
        The tables.
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
            name="participation_ratio",
            cell=lambda table, row: (
                f"{table['participation_ratio'][row]:.0f} of {table['num_dimensions'][row]}"
            ),
        ),
        Column("top 1 % share", cell=percent("top_share"), name="top_share"),
        Column("± of probes", "mean_probe_se", ".3e"),
        *mark_columns(table),
    ]
    unit = table.units[options.modes[0]]
    yield Shown(
        table=table,
        columns=_known(table, *columns),
        title=titled(
            f"{options.model_name}: {options.aggregate_by} at {options.site} ({unit})",
            results.config,
        ),
        caption=_caption(options, results),
    )
    yield from whole_path_table(results)


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
    if is_wrong(table).any():
        lines.append(EXPLAINED)
    return "\n".join([*lines, *_notes(options, results)])


def _notes(options: LayersConfig, results: Results) -> list[str]:
    notes = corpus_lines(options, results.metadata)
    return [
        *notes,
        *path_notes(results),
        *aggregation_notes(options.power, options.normalize),
    ]
