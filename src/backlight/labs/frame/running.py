"""``backlight lab NAME``: find the experiment, let it run, keep and show what it found."""

import importlib
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from rich.table import Table as RichTable

from backlight.errors import ConfigError, nearest, quoted
from backlight.labs import LABS
from backlight.labs.frame.notebook import Findings, Notebook
from backlight.labs.frame.options import LabOptions
from backlight.report.plots import plots_to_json
from backlight.runs.directory import RunDirectory
from backlight.runs.provenance import provenance
from backlight.runs.results import CONSOLIDATED, METADATA, Results, load_results
from backlight.surveys.driver.reading import same_numbers
from backlight.surveys.driver.resolving import resolve
from backlight.surveys.driver.session import Clock, console, find_run, print_places, start_run
from backlight.tables import Table

_SURENESS = ("_std", "_low", "_high")
_MANY_COLUMNS = 8


class _Experiment(Protocol):
    def __call__(self, config: LabOptions, notebook: Notebook) -> Findings: ...


def lab(name: str, config: str | Path | None = None, **options: Any) -> Results:
    """Carry out an experiment.

    The same as the command ``backlight lab``, for notebooks and scripts; nothing is printed, and
    nothing is written unless ``output_dir`` or ``save_outputs`` says so.

    Args:
        name: Which: see ``backlight lab --help``.
        config: A YAML file of options, if any.
        **options: Options by the names of the command's flags; they win over the file.

    Returns:
        Its tables; ``data`` has what each trial gave, ``metadata["remarks"]`` what the numbers say.

    Raises:
        ConfigError: If there is no such experiment or option, or an option does not fit.
    """
    if name not in LABS:
        hint = nearest(name, list(LABS), otherwise=f"There are {', '.join(LABS)}.")
        raise ConfigError(f"There is no experiment {quoted(name)}. {hint}")
    return _carry_out(name, resolve(LABS[name], config, {"save_outputs": False, **options}))


def run(name: str, config: LabOptions) -> None:
    """Carry out an experiment and print what was found and where it went.

    Args:
        name: Which.
        config: Its options.
    """
    results = _carry_out(name, config)
    for table in results.metadata["printed"]:
        _print(results.tables[table])
    for remark in results.metadata["remarks"]:
        console().print(f"\n{remark}")
    if results.path is not None:
        print_places(RunDirectory(results.path), f"lab {name}")


def _carry_out(name: str, config: LabOptions) -> Results:
    clock, command = Clock(), f"lab {name}"
    directory = find_run(config, command)
    if directory is not None and directory.is_finished:
        return load_results(directory.path)
    if directory is None:
        origin = {"command": command, **provenance(), "threads": torch.get_num_threads()}
        directory = start_run(config, f"lab_{name}", origin)
    else:
        directory.take_up()
    module = importlib.import_module(f"backlight.labs.{name.replace('-', '_')}.experiment")
    notebook = Notebook(config.device, directory)
    findings = cast("_Experiment", module.experiment)(config, notebook)
    clock.lap("experiment")
    results = Results(
        path=None if directory is None else directory.path,
        data=notebook.arrays(),
        metadata={
            "printed": list(findings.printed),
            "remarks": list(findings.remarks),
            "plots": plots_to_json(findings.plots),
        },
        tables={table.name: table for table in findings.tables},
        config=same_numbers(config) if directory is None else directory.config(),
    )
    if directory is not None:
        _write(directory, results, clock)
    return results


def _write(directory: RunDirectory, results: Results, clock: Clock) -> None:
    from backlight.report.plot_drawing import draw
    from backlight.report.rendering import rendered

    for table in results.tables.values():
        directory.write_table(table)
    for name, figure in draw(results):
        directory.write_bytes(name, rendered(name, figure))
    directory.write_arrays(CONSOLIDATED, results.data)
    directory.write_json(METADATA, results.metadata)
    clock.lap("figures")
    directory.finish({**results.metadata, "seconds": clock.laps})


def _print(table: Table) -> None:
    """Print a table; what says how sure a column is stands in the same cell."""
    shown = RichTable(title=table.name.replace("_", " "))
    names = [name for name in table.columns if not _belongs_to_another(name, table)]
    for name in names:
        is_text = table[name].dtype.kind == "U"
        shown.add_column(table.label(name), justify="left" if is_text else "right", no_wrap=is_text)
    for row in range(table.num_rows):
        between = "\n" if len(names) > _MANY_COLUMNS else " "
        shown.add_row(*(_cell(table, name, row, between) for name in names))
    console().print(shown)


def _belongs_to_another(name: str, table: Table) -> bool:
    return any(name.removesuffix(end) in table.columns for end in _SURENESS if name.endswith(end))


def _cell(table: Table, name: str, row: int, between: str) -> str:
    value = _number(table[name][row])
    if value and f"{name}_std" in table.columns:
        spread = _number(table[f"{name}_std"][row], digits=2)
        return f"{value}{between}± {spread}" if spread else value
    if value and {f"{name}_low", f"{name}_high"} <= table.columns.keys():
        low, high = (_number(table[f"{name}{end}"][row], digits=3) for end in ("_low", "_high"))
        return f"{value}{between}[{low}, {high}]" if low and high else value
    return value


def _number(value: Any, *, digits: int = 4) -> str:
    if isinstance(value, np.floating):
        return "" if np.isnan(value) else f"{float(value):.{digits}g}"
    return str(value)
