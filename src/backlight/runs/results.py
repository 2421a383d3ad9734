"""Results read back: a whole run, or any one file of it, never by unpickling."""

import base64
import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any, Protocol, TypeVar, runtime_checkable
from urllib.parse import quote

from numpy.typing import NDArray

from backlight.errors import RunDirectoryError, UsageError, nearest, quoted
from backlight.foreign.documents import parse_json
from backlight.foreign.files import expanded
from backlight.foreign.text import html, plain
from backlight.foreign.yaml_text import parse_yaml
from backlight.runs.config import CONFIG, PROVENANCE
from backlight.runs.directory import RunDirectory
from backlight.runs.files import parse_arrays
from backlight.runs.opening import store_of
from backlight.runs.urls import Place, Url, place_of
from backlight.tables import Table

CONSOLIDATED = "consolidated_results.npz"
METADATA = "metadata.json"
STATISTICS = "feature_statistics.npz"
PAGE = "index.html"

_MOST_NAMES = 8  # that are told in a line
_LONGEST_REASON = 200
_Read = TypeVar("_Read")


class _Named(dict[str, _Read]):
    """What has names: asked for one that is not there, it says which are."""

    def __init__(self, noun: str, found: Mapping[str, _Read]) -> None:
        super().__init__(found)
        self._noun = noun

    def __missing__(self, name: str) -> _Read:
        there = _first_names(self) or "none"
        hint = nearest(str(name), list(self), otherwise=f"There are {there}.")
        raise KeyError(f"The results have no {self._noun} {quoted(name)}. {hint}")


@runtime_checkable
class Presentation(Protocol):
    """How the results of one kind of run are shown, which only those above this room know."""

    def draw(self, results: "Results") -> Iterable[Any]:
        """List the figures of results, each to be drawn when it is wanted."""
        ...

    def figures(self, results: "Results") -> Mapping[str, Any]:
        """Offer the figures of results by name, as ``matplotlib`` draws them when asked for."""
        ...

    def summary(self, results: "Results") -> Sequence[str]:
        """Say what was asked and found, in a few sentences."""
        ...

    def picture(self, results: "Results") -> bytes | None:
        """Draw the figure that says most, as a PNG; None if there is none."""
        ...

    def page(self, results: "Results", **chosen: Any) -> Any:
        """Put the page of results together, of what was chosen for it."""
        ...


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
        groups: Sums over groups of passages by the names of their files, of a call just now; what
            was written is read from its files.
        material: Which model and text they are of, of a call just now; in what was read the
            provenance in ``config`` says so.
        presentation: How they are shown; None if nobody knows, as of one file of a run.

    Example:
        >>> import numpy as np
        >>> from backlight import Results
        >>> from backlight.tables import Table
        >>> layers = Table(name="layers", columns={"layer": np.array([0, 1, 2])})
        >>> Results(tables={"layers": layers}, metadata={"model_name": "gpt2"})
        Results, not saved:
          tables['layers']: 3 rows of 1 columns
          metadata: model_name
    """

    path: Place | None = None
    data: Mapping[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])
    statistics: Mapping[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tables: Mapping[str, Table] = field(default_factory=dict[str, Table])
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    groups: Mapping[str, Mapping[str, NDArray[Any]]] = field(
        default_factory=dict[str, Mapping[str, NDArray[Any]]], compare=False
    )
    material: Mapping[str, Any] = field(default_factory=dict[str, Any], compare=False)
    presentation: Presentation | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for kind, noun in (("tables", "table"), ("data", "array"), ("statistics", "array")):
            object.__setattr__(self, kind, _Named(noun, getattr(self, kind)))

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Where the numbers of a run that was written come from; empty if it does not say."""
        found = self.config.get(PROVENANCE)
        return found if isinstance(found, Mapping) else {}

    @property
    def figures(self) -> Mapping[str, Any]:
        """The figures by name, such as ``depth_profile``: each is drawn when it is asked for.

        Raises:
            UsageError: If these are no results of a whole run that has figures.
        """
        if self.presentation is None:
            raise UsageError(
                "These results have no figures: those of `backlight layers`, `sae`, `tokens`, "
                "`flow` and `lab` have some, measured just now or read back from a run directory."
            )
        return self.presentation.figures(self)

    def __repr__(self) -> str:
        where = "not saved" if self.path is None else f"saved in {plain(self.path)}"
        lines = [f"Results, {where}:", *(f"  {name}: {told}" for name, told in self._told())]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Show in a notebook what was found, its main figure, and the beginning of every table."""
        where = "not saved" if self.path is None else f"saved in {html(self.path)}"
        told = "".join(f"<li>{html(name)}: {html(text)}</li>" for name, text in self._told())
        tables = "".join(
            f"<details><summary>{html(name)}</summary>{table.to_html()}</details>"
            for name, table in self.tables.items()
        )
        return f"{self._found_html()}<p>Results, {where}</p><ul>{told}</ul>{tables}"

    def _found_html(self) -> str:
        """Say what was found, with the main figure and a link to the page."""
        if self.presentation is None:
            return ""
        parts = [f"<p>{html(sentence)}</p>" for sentence in self.presentation.summary(self)]
        picture = self.presentation.picture(self)
        if picture is not None:
            content = base64.b64encode(picture).decode("ascii")
            source = f"data:image/png;base64,{content}"
            parts.append(f'<img style="max-width:100%" alt="the main figure" src="{source}">')
        page = None if self.path is None else self.path / PAGE
        if isinstance(page, Path) and page.is_file():
            parts.append(f'<p><a href="{quote(page.as_posix())}">The page of this run</a></p>')
        return "".join(parts)

    def to_pandas(self) -> dict[str, Any]:
        """Copy all tables into data frames.

        Returns:
            A ``pandas.DataFrame`` for each table, by its name.

        Raises:
            UsageError: If pandas is not installed.
        """
        return {name: table.to_pandas() for name, table in self.tables.items()}

    def _told(self) -> Iterator[tuple[str, str]]:
        """List what there is, in a line for each kind."""
        for name, table in self.tables.items():
            rows, columns = table.num_rows, len(table)
            yield f"tables[{quoted(name)}]", f"{rows:,} rows of {columns} columns"
        for kind, arrays in (("data", self.data), ("statistics", self.statistics)):
            if arrays:
                yield kind, f"{len(arrays)} arrays, such as {quoted(next(iter(arrays)))}"
        for kind, said in (("metadata", self.metadata), ("config", self.config)):
            if said:
                yield kind, _first_names(said)


def _first_names(named: Mapping[str, Any]) -> str:
    names = ", ".join(map(plain, list(named)[:_MOST_NAMES]))
    return names + (", ..." if len(named) > _MOST_NAMES else "")


def load_results(path: str | Place) -> Results:
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
    place = place_of(expanded(path, error=RunDirectoryError))
    if isinstance(place, Url) and RunDirectory(place).exists():
        return _read_run(place)
    if isinstance(place, Path) and place.is_dir():
        return _read_run(place)
    readers: dict[str, Callable[[bytes, PurePath], Results]] = {
        ".npz": _of_archive,
        ".npy": lambda content, file: Results(data={file.stem: parse_arrays(content, file)[""]}),
        ".csv": lambda content, file: Results(tables={file.stem: _table(content, file)}),
        ".json": lambda content, file: Results(metadata=_json(content, file)),
        ".yaml": lambda content, file: Results(config=_yaml(content, file)),
    }
    store = store_of(place.parent)
    if not store.is_taken(place.name):
        raise RunDirectoryError(f"There is no run directory or file {quoted(place)}.")
    if place.suffix not in readers:
        raise RunDirectoryError(
            f"{quoted(place)} is no result of backlight: results are run directories, or end "
            f"in {', '.join(readers)}."
        )
    return replace(_read(place, store.read(place.name), readers[place.suffix]), path=place)


def _read_run(path: Place) -> Results:
    run = RunDirectory(path)
    run.config()  # says what is wrong if this is no run at all
    if not run.is_finished:
        raise RunDirectoryError(
            f"The run in {quoted(path)} is not finished; go on with it by --resume."
        )

    def read(name: str, parse: Callable[[bytes, PurePath], _Read]) -> _Read:
        return _read(path / name, run.read(name), parse)

    files = [str(name) for name in run.manifest()["files"]]
    tables = [read(name, _table) for name in files if name.startswith("tables/")]
    return Results(
        path=path,
        data=read(CONSOLIDATED, _of_archive).data,
        statistics=read(STATISTICS, parse_arrays) if STATISTICS in files else {},
        metadata=read(METADATA, _json),
        tables={table.name: table for table in tables},
        config=read(CONFIG, _yaml),
    )


def _of_archive(content: bytes, path: PurePath) -> Results:
    arrays = parse_arrays(content, path)
    metadata = arrays.pop("metadata", None)
    return Results(
        data=arrays, metadata={} if metadata is None else _json(str(metadata).encode(), path)
    )


def _table(content: bytes, path: PurePath) -> Table:
    return Table.from_csv(path.stem, content.decode())


def _json(content: bytes, path: PurePath) -> Mapping[str, Any]:
    return _mapping(parse_json(content.decode(), quoted(path), error=RunDirectoryError))


def _yaml(content: bytes, path: PurePath) -> Mapping[str, Any]:
    return _mapping(parse_yaml(content.decode(), quoted(path), error=RunDirectoryError))


def _mapping(found: Any) -> Mapping[str, Any]:
    if not isinstance(found, dict):
        raise ValueError(f"it holds {type(found).__name__} where there should be names with values")
    return found


def _read(path: PurePath, content: bytes, parse: Callable[[bytes, PurePath], _Read]) -> _Read:
    try:
        return parse(content, path)
    except (ValueError, KeyError, AssertionError, csv.Error) as error:
        reason = " ".join(str(error).split())[:_LONGEST_REASON]
        raise RunDirectoryError(f"{quoted(path)} cannot be read: {reason}.") from error
