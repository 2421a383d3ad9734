"""Results read back: a whole run, or any one file of it, never by unpickling."""

import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from backlight.errors import RunDirectoryError
from backlight.runs.directory import RunDirectory
from backlight.tables import Table

__all__ = ["CONSOLIDATED", "METADATA", "STATISTICS", "Results", "load_results"]

CONSOLIDATED = "consolidated_results.npz"
METADATA = "metadata.json"
STATISTICS = "feature_statistics.npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What a run found, or what one of its files holds.

    Attributes:
        path: Where it was written or read; None if it was not.
        data: Arrays by name: ``layer_{i}_{mode}`` and, with two normalisations, ``_norm_sum`` or
            ``_norm_sum_abs``.
        statistics: Each feature's own numbers before power and normalisation, by
            ``layer_{i}_{statistic}``; only of surveys of features.
        metadata: What the run says of itself.
        tables: Tables by name.
        config: Options and provenance; empty if one file was read.
    """

    path: Path | None = None
    data: Mapping[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])
    statistics: Mapping[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tables: Mapping[str, Table] = field(default_factory=dict[str, Table])
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])


def load_results(path: str | Path) -> Results:
    """Read a finished run directory, or one ``.npz``, ``.npy``, ``.csv``, ``.json`` or ``.yaml``.

    Args:
        path: The directory or file.

    Returns:
        Its arrays, tables and metadata.

    Raises:
        RunDirectoryError: If it cannot be read as what it is.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        return _read_run(path)
    readers: dict[str, Callable[[Path], Results]] = {
        ".npz": _read_npz,
        ".npy": lambda file: Results(path=file, data={file.stem: _load(file)}),
        ".csv": lambda file: Results(path=file, tables={file.stem: _read_table(file)}),
        ".json": lambda file: Results(path=file, metadata=_read_text(file, json.loads)),
        ".yaml": lambda file: Results(path=file, config=_read_text(file, yaml.safe_load)),
    }
    if not path.is_file():
        raise RunDirectoryError(f"There is no run directory or file {str(path)!r}.")
    if path.suffix not in readers:
        raise RunDirectoryError(
            f"{str(path)!r} is no result of backlight: results are run directories, or end in "
            f"{', '.join(readers)}."
        )
    return readers[path.suffix](path)


def _read_run(path: Path) -> Results:
    run = RunDirectory(path)
    config = run.config()
    if not run.is_finished:
        raise RunDirectoryError(
            f"The run in {str(path)!r} is not finished; go on with it by --resume."
        )
    own = path / STATISTICS
    return Results(
        path=path,
        data=_read_npz(path / CONSOLIDATED).data,
        statistics=_read_npz(own).data if own.exists() else {},
        metadata=_read_text(path / METADATA, json.loads),
        tables={file.stem: _read_table(file) for file in sorted(path.glob("tables/*.csv"))},
        config=config,
    )


def _read_npz(path: Path) -> Results:
    arrays: dict[str, NDArray[Any]] = _load(path)
    metadata = json.loads(str(arrays.pop("metadata"))) if "metadata" in arrays else {}
    return Results(path=path, data=arrays, metadata=metadata)


def _read_table(path: Path) -> Table:
    return Table.from_csv(path.stem, _read_text(path, str))


def _load(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            found = np.load(file, allow_pickle=False)
            return dict(found) if path.suffix == ".npz" else found
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise RunDirectoryError(f"{str(path)!r} cannot be read: {error}.") from error


def _read_text(path: Path, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise RunDirectoryError(f"{str(path)!r} cannot be read: {error}.") from error
