"""Carrying ``backlight export`` out."""

from collections.abc import Callable, Mapping
from pathlib import Path

from backlight.errors import ConfigError, RunDirectoryError, quoted
from backlight.foreign.files import expanded
from backlight.runs.files import write_file
from backlight.runs.results import Results, load_results
from backlight.surveys.driver.words.places import short
from backlight.surveys.driver.words.terminal import console
from backlight.tools.export.forms import indices, neuronpedia, parquet, steered, weights
from backlight.tools.export.options import ExportConfig, Form
from backlight.tools.export.written import Written

_FORMS: Mapping[Form, Callable[..., Written]] = {
    "indices": indices.written,
    "steered": steered.written,
    "neuronpedia": neuronpedia.written,
    "weights": weights.written,
    "parquet": parquet.written,
}


def run(options: ExportConfig) -> None:
    """Write what a run or a comparison found, and print what was written.

    Args:
        options: The options of the command.

    Raises:
        ConfigError: If a file is there already, or an option does not fit.
        RunDirectoryError: If the run does not hold what is asked for.
        UsageError: If a library that is needed is not installed.
    """
    written = exported(options, load_results(options.run))
    for path in written.files:
        _refuse_occupied(path, overwrite=options.overwrite)
    for path, content in written.files.items():
        write_file(path, content)
    place = short(expanded(options.output, error=RunDirectoryError))
    for line in (f"{written.told} written to {place}", *written.notes):
        console().print(line, soft_wrap=True, markup=False, highlight=False)


def _refuse_occupied(path: Path, *, overwrite: bool) -> None:
    """Refuse to replace a file unasked, and a folder or what is no folder in any case."""
    if path.is_dir():
        raise ConfigError(f"{quoted(path)} is a folder: name a file with --output.")
    if path.parent.exists() and not path.parent.is_dir():
        raise ConfigError(f"{quoted(path.parent)} is a file: name a folder with --output.")
    if path.exists() and not overwrite:
        raise ConfigError(f"{quoted(path)} is there already: use --overwrite, or another --output.")


def exported(options: ExportConfig, results: Results) -> Written:
    """Put together what an export writes.

    Args:
        options: What is asked.
        results: The run or the comparison.

    Returns:
        The files, not yet written.
    """
    path = expanded(options.output, error=RunDirectoryError)
    return _FORMS[options.to](options, results, path)
