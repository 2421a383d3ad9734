"""A weight for each dimension, between evenness and what a run says of it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.errors import ConfigError, RunDirectoryError, quoted
from backlight.runs.files import npy_bytes
from backlight.runs.results import Results
from backlight.surveys.driver.words.sentences import count
from backlight.tools.export.options import ExportConfig
from backlight.tools.export.source import command_of, is_comparison
from backlight.tools.export.written import Written

_OF_RUN = re.compile(r"layer_\d+_[a-z_]+")
_OF_COMPARISON = re.compile(r"(?:dimension|feature)_([a-z_]+_)?layer_\d+_log_ratio")


def written(options: ExportConfig, results: Results, path: Path) -> Written:
    """Write ``lam * 1 + (1 - lam) * w`` for each dimension or feature.

    Of a run w is its array, after power and normalisation; of a comparison a / b, or b / a with
    ``--side b``, and 1 where that is not known.

    Args:
        options: What is asked.
        results: The run or the comparison.
        path: A file ``.npy`` if there is one layer and mode, else a folder.

    Returns:
        The files: in a folder ``{array}_lambda_{lam}.npy``.

    Raises:
        ConfigError: If there are several arrays for one file.
        RunDirectoryError: If there are none, or nothing is known of some units.
    """
    compared = is_comparison(results)
    found = dict(_ratios(options, results) if compared else _arrays(results))
    if not found:
        raise RunDirectoryError(
            f"{quoted(results.path)} has no number for each dimension or feature: weights are of "
            "runs of `backlight layers` or `sae`, or of a comparison of two."
        )
    known = {name: _filled(name, values, compared) for name, values in found.items()}
    files = _placed(path, options.lam, {name: values for name, (values, _) in known.items()})
    return Written(
        files={
            file: npy_bytes((options.lam + (1 - options.lam) * values).astype(np.float32))
            for file, values in files.items()
        },
        told=f"{count(len(files), 'array')} of weights",
        notes=list(_notes(results, compared, sum(blank for _, blank in known.values()))),
    )


def _arrays(results: Results) -> Iterator[tuple[str, NDArray[Any]]]:
    quantity = results.config.get("aggregate_by", "gradients")
    if command_of(results) not in ("layers", "sae", ""):
        return
    for name, values in results.data.items():
        if _OF_RUN.fullmatch(name) and values.ndim == 1:
            yield f"{name}_{quantity}", values.astype(np.float64)


def _ratios(options: ExportConfig, results: Results) -> Iterator[tuple[str, NDArray[Any]]]:
    sign = -1.0 if options.side == "b" else 1.0
    for name, values in results.data.items():
        if _OF_COMPARISON.fullmatch(name):
            yield name.replace("log_ratio", "ratio"), np.exp(sign * values)


def _filled(name: str, values: NDArray[Any], compared: bool) -> tuple[NDArray[Any], int]:
    """Weigh what is not known of a comparison evenly; of a run it is an error."""
    blank = ~np.isfinite(values)
    if blank.any() and not compared:
        raise RunDirectoryError(
            f"{quoted(name)}: nothing is known of {count(int(blank.sum()), 'unit')} (features that "
            "never fired), so there is no weight. Measure without --active_only."
        )
    return np.where(blank, 1.0, values), int(blank.sum())


def _placed(path: Path, lam: float, found: dict[str, NDArray[Any]]) -> dict[Path, NDArray[Any]]:
    if path.suffix != ".npy":
        return {path / f"{name}_lambda_{lam:g}.npy": values for name, values in found.items()}
    if len(found) > 1:
        raise ConfigError(
            f"There are {len(found)} arrays, such as {' and '.join(list(found)[:2])}: name a "
            "folder with --output, not one file."
        )
    return dict.fromkeys([path], next(iter(found.values())))


def _notes(results: Results, compared: bool, blank: int) -> Iterator[str]:
    if blank:
        yield f"{count(blank, 'unit')} without a ratio (zero, or of two signs) weigh 1."
    if not compared and results.config.get("normalize") == "none":
        yield (
            "The run did not normalise, so its numbers are far from 1 and lam alone would decide: "
            "measure with --normalize sum_abs, after which their sizes are 1 on average."
        )
