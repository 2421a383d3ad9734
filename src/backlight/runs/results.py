"""Results read back: a whole run, or any one file of it, never by unpickling."""

import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.errors import RunDirectoryError, quoted
from backlight.foreign.documents import parse_json, read_json
from backlight.foreign.files import (
    MEGABYTE,
    check_archive,
    check_file,
    open_foreign,
    read_text,
)
from backlight.foreign.text import html, plain
from backlight.foreign.yaml_text import read_yaml
from backlight.runs.directory import RunDirectory
from backlight.tables import Table

__all__ = ["CONSOLIDATED", "METADATA", "STATISTICS", "Results", "load_results"]

CONSOLIDATED = "consolidated_results.npz"
METADATA = "metadata.json"
STATISTICS = "feature_statistics.npz"

_MOST_NAMES = 8  # of options or metadata that are told in a line
_LARGEST = 512 * MEGABYTE  # a table or a piece of metadata
_BROKEN = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    MemoryError,
    RuntimeError,  # an archive that is encrypted, or packed in a way that nobody knows
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
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

    def __repr__(self) -> str:
        where = "not saved" if self.path is None else f"saved in {plain(self.path)}"
        lines = [f"Results, {where}:", *(f"  {name}: {told}" for name, told in self._told())]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Show in a notebook what there is, and the beginning of every table."""
        where = "not saved" if self.path is None else f"saved in {html(self.path)}"
        told = "".join(f"<li>{html(name)}: {html(text)}</li>" for name, text in self._told())
        tables = "".join(
            f"<details><summary>{html(name)}</summary>{table.to_html()}</details>"
            for name, table in self.tables.items()
        )
        return f"<p>Results, {where}</p><ul>{told}</ul>{tables}"

    def to_pandas(self) -> dict[str, Any]:
        """Copy all tables into data frames.

        Returns:
            A ``pandas.DataFrame`` for each table, by its name.

        Raises:
            UsageError: If pandas is not installed.
        """
        return {name: table.to_pandas() for name, table in self.tables.items()}

    def _told(self) -> Iterator[tuple[str, str]]:
        """Tell what there is, in a line for each kind."""
        for name, table in self.tables.items():
            rows, columns = table.num_rows, len(table)
            yield f"tables[{quoted(name)}]", f"{rows:,} rows of {columns} columns"
        for kind, arrays in (("data", self.data), ("statistics", self.statistics)):
            if arrays:
                yield kind, f"{len(arrays)} arrays, such as {quoted(next(iter(arrays)))}"
        for kind, said in (("metadata", self.metadata), ("config", self.config)):
            if said:
                names = ", ".join(map(plain, list(said)[:_MOST_NAMES]))
                yield kind, names + (", ..." if len(said) > _MOST_NAMES else "")


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
        ".json": lambda file: Results(path=file, metadata=_read_json(file)),
        ".yaml": lambda file: Results(path=file, config=_read_yaml(file)),
    }
    if not path.exists():
        raise RunDirectoryError(f"There is no run directory or file {quoted(path)}.")
    check_file(path, error=RunDirectoryError)
    if path.suffix not in readers:
        raise RunDirectoryError(
            f"{quoted(path)} is no result of backlight: results are run directories, or end in "
            f"{', '.join(readers)}."
        )
    return readers[path.suffix](path)


def _read_run(path: Path) -> Results:
    run = RunDirectory(path)
    config = run.config()
    if not run.is_finished:
        raise RunDirectoryError(
            f"The run in {quoted(path)} is not finished; go on with it by --resume."
        )
    own = path / STATISTICS
    return Results(
        path=path,
        data=_read_npz(path / CONSOLIDATED).data,
        statistics=_read_npz(own).data if own.exists() else {},
        metadata=_read_json(path / METADATA),
        tables={file.stem: _read_table(file) for file in sorted(path.glob("tables/*.csv"))},
        config=config,
    )


def _read_npz(path: Path) -> Results:
    arrays: dict[str, NDArray[Any]] = _load(path)
    if "metadata" not in arrays:
        return Results(path=path, data=arrays)
    text, where = str(arrays.pop("metadata")), f"What {quoted(path)} says of itself"
    metadata = _mapping(parse_json(text, where, error=RunDirectoryError), where)
    return Results(path=path, data=arrays, metadata=metadata)


def _read_table(path: Path) -> Table:
    return Table.from_csv(path.stem, read_text(path, error=RunDirectoryError, most=_LARGEST))


def _read_json(path: Path) -> dict[str, Any]:
    return _mapping(read_json(path, error=RunDirectoryError, most=_LARGEST), quoted(path))


def _read_yaml(path: Path) -> dict[str, Any]:
    return _mapping(read_yaml(path, error=RunDirectoryError) or {}, quoted(path))


def _mapping(found: Any, where: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise RunDirectoryError(f"{where} holds {type(found).__name__}, not values by name.")
    return found


def _load(path: Path) -> Any:
    with open_foreign(path, error=RunDirectoryError) as file:
        check_archive(path, file, error=RunDirectoryError)
        try:
            found = np.load(file, allow_pickle=False)
            if isinstance(found, np.lib.npyio.NpzFile) != (path.suffix == ".npz"):
                raise ValueError(f"it is no {path.suffix} file")
            return dict(found) if path.suffix == ".npz" else found
        except _BROKEN as error:
            reason = quoted(str(error) or type(error).__name__)[1:-1]
            raise RunDirectoryError(f"{quoted(path)} cannot be read: {reason}.") from error
