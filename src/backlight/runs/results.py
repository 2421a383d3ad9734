"""Results read back: a whole run, or any one file of it, never by unpickling."""

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import yaml
from numpy.typing import NDArray

from backlight.errors import RunDirectoryError
from backlight.runs.directory import CONFIG, RunDirectory
from backlight.runs.files import parse_arrays, parse_json, read_file
from backlight.runs.names import quoted
from backlight.tables import Table

__all__ = ["CONSOLIDATED", "METADATA", "STATISTICS", "Results", "load_results"]

CONSOLIDATED = "consolidated_results.npz"
METADATA = "metadata.json"
STATISTICS = "feature_statistics.npz"

_TABLES = "tables/"
_LONGEST_REASON = 200
_Read = TypeVar("_Read")


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

    Every file of a run that is read is first held against the SHA-256 in its manifest.

    Args:
        path: The directory or file.

    Returns:
        Its arrays, tables and metadata.

    Raises:
        RunDirectoryError: If it cannot be read as what it is, or a file of a run is missing or was
            changed.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        return _read_run(path)
    readers: dict[str, Callable[[bytes], Results]] = {
        ".npz": _of_archive,
        ".npy": lambda content: Results(data={path.stem: parse_arrays(content)[""]}),
        ".csv": lambda content: Results(tables={path.stem: _table(path.stem, content)}),
        ".json": lambda content: Results(metadata=_mapping(parse_json(content))),
        ".yaml": lambda content: Results(config=_mapping(yaml.safe_load(content))),
    }
    if not path.exists():
        raise RunDirectoryError(f"There is no run directory or file {quoted(str(path))}.")
    if path.suffix not in readers:
        raise RunDirectoryError(
            f"{quoted(str(path))} is no result of backlight: results are run directories, or end "
            f"in {', '.join(readers)}."
        )
    return replace(_read(path, read_file(path), readers[path.suffix]), path=path)


def _read_run(path: Path) -> Results:
    run = RunDirectory(path)
    run.config()  # says what is wrong if this is no run at all
    if not run.is_finished:
        raise RunDirectoryError(
            f"The run in {quoted(str(path))} is not finished; go on with it by --resume."
        )

    def read(name: str, parse: Callable[[bytes], _Read]) -> _Read:
        return _read(path / name, run.read(name), parse)

    files = [str(name) for name in run.manifest()["files"]]
    stems = [file.removeprefix(_TABLES).removesuffix(".csv") for file in files if _is_table(file)]
    config = read(CONFIG, lambda content: _mapping(yaml.safe_load(content)))
    return Results(
        path=path,
        data=read(CONSOLIDATED, _of_archive).data,
        statistics=read(STATISTICS, parse_arrays) if STATISTICS in files else {},
        metadata=read(METADATA, lambda content: _mapping(parse_json(content))),
        tables={stem: read(f"{_TABLES}{stem}.csv", partial(_table, stem)) for stem in stems},
        config=config,
    )


def _of_archive(content: bytes) -> Results:
    return _of_arrays(parse_arrays(content))


def _is_table(file: str) -> bool:
    return file.startswith(_TABLES) and file.endswith(".csv")


def _of_arrays(arrays: dict[str, NDArray[Any]]) -> Results:
    metadata = _mapping(json.loads(str(arrays.pop("metadata")))) if "metadata" in arrays else {}
    return Results(data=arrays, metadata=metadata)


def _table(name: str, content: bytes) -> Table:
    return Table.from_csv(name, content.decode())


def _mapping(found: Any) -> Mapping[str, Any]:
    if not isinstance(found, dict):
        raise ValueError(f"it holds {type(found).__name__} where there should be names with values")
    return found


def _read(path: Path, content: bytes, parse: Callable[[bytes], _Read]) -> _Read:
    try:
        return parse(content)
    except (ValueError, KeyError, RecursionError, csv.Error, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:_LONGEST_REASON]
        raise RunDirectoryError(f"{quoted(str(path))} cannot be read: {reason}.") from error
