"""The cities of the world: where they are, whose they are, and the number each is called by."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.atomic import write_whole
from backlight.errors import CityError, StorageError, quoted
from backlight.foreign.files import MEGABYTE, check_file, expanded

ATTRIBUTE_OF: Mapping[str, str] = {
    "asciiname": "names",
    "x": "x",
    "y": "y",
    "country_code": "country_codes",
    "region": "regions",
    "city_id": "city_ids",
}
"""The columns of a file of cities, in order, and the attribute of ``Cities`` that each fills."""

NUM_ID_DIGITS = 4
"""City ids are written with this many digits, zeros in front."""

_NUMBERS = ("city_id", "x", "y")
_LIMITS = {"x": 1800, "y": 900}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cities:
    """Cities on a flat map; every array has one entry for each city and is read-only.

    Attributes:
        city_ids: The number that a city is called by, from 0 to 9999, each given once.
        names: Names in ASCII.
        x: Longitude in 0.1 degree, from -1800 to 1800.
        y: Latitude in 0.1 degree, from -900 to 900.
        country_codes: Two letters (``NA`` is Namibia), or a code of our own.
        regions: The part of the world.
    """

    city_ids: NDArray[np.int64]
    names: NDArray[Any]
    x: NDArray[np.int64]
    y: NDArray[np.int64]
    country_codes: NDArray[Any]
    regions: NDArray[Any]
    _rows: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ATTRIBUTE_OF.values():
            kind = np.int64 if name in ("city_ids", *_LIMITS) else np.str_
            column = np.array(getattr(self, name), dtype=kind)
            column.flags.writeable = False
            object.__setattr__(self, name, column)
        lengths = {len(getattr(self, name)) for name in ATTRIBUTE_OF.values()}
        assert len(lengths) == 1, f"arrays of unequal length: {sorted(lengths)}"
        for name, limit in _LIMITS.items():
            self._check_coordinate(name, limit)
        self._check_ids()
        rows = np.full(10**NUM_ID_DIGITS, -1, np.int64)
        rows[self.city_ids] = np.arange(len(self))
        object.__setattr__(self, "_rows", rows)

    def __len__(self) -> int:
        return len(self.city_ids)

    def take(self, indices: NDArray[np.integer[Any]] | Sequence[int]) -> "Cities":
        """Keep the cities of these rows, in this order; no row may be named twice."""
        rows = np.asarray(indices, np.int64)
        return Cities(**{name: getattr(self, name)[rows] for name in ATTRIBUTE_OF.values()})

    def row_of(self, city_id: int) -> int:
        """Find the row of a city.

        Args:
            city_id: The number that the city is called by.

        Returns:
            Its row.

        Raises:
            CityError: If there is no such city.
        """
        row = self.find(city_id)
        if row is None:
            raise CityError(f"No city has the id {city_id} among these {len(self)} cities.")
        return row

    def find(self, city_id: int) -> int | None:
        """Find the row of a city; None if there is no such city."""
        row = int(self._rows[city_id]) if 0 <= city_id < len(self._rows) else -1
        return None if row < 0 else row

    def _check_coordinate(self, name: str, limit: int) -> None:
        values: NDArray[np.int64] = getattr(self, name)
        outside = np.flatnonzero(np.abs(values) > limit)
        if len(outside):
            row = int(outside[0])
            raise CityError(
                f"The city {quoted(self.names[row])} has {name} = {values[row]}, beyond {limit}: "
                f"coordinates are whole tenths of a degree, {name} from -{limit} to {limit}."
            )

    def _check_ids(self) -> None:
        outside = np.flatnonzero((self.city_ids < 0) | (self.city_ids >= 10**NUM_ID_DIGITS))
        if len(outside):
            row = int(outside[0])
            city_id, name = int(self.city_ids[row]), str(self.names[row])
            raise CityError(
                f"The city {quoted(name)} has the id {city_id}, but ids have four digits, 0000 to "
                "9999."
            )
        known, counts = np.unique(self.city_ids, return_counts=True)
        if (counts > 1).any():
            city_id = int(known[counts > 1][0])
            twice = self.names[self.city_ids == city_id][:2].tolist()
            raise CityError(
                f"The id {city_id} belongs to {quoted(twice[0])} and to {quoted(twice[1])}, but "
                "each city needs an id of its own."
            )


def city_text(city_id: int) -> str:
    """Write a city as questions and answers name it, such as ``c_0865``."""
    return f"c_{city_id:0{NUM_ID_DIGITS}d}"


def read_cities(path: str | Path) -> Cities:
    """Read a file of cities.

    Args:
        path: A CSV file in UTF-8 with a line of headings. Needed are the columns ``asciiname``,
            ``x``, ``y``, ``country_code``, ``region`` and ``city_id``, in any order.

    Returns:
        The cities, in the order of the file; an empty cell or ``NA`` is kept as it is written.

    Raises:
        CityError: If there is no such file, or it is not a table of at least one city.
    """
    path = expanded(path, error=CityError)
    columns = _columns_of(path)
    numbers = {
        ATTRIBUTE_OF[name]: np.array([_number(*cell, name, path) for cell in columns.pop(name)])
        for name in _NUMBERS
    }
    words = {
        ATTRIBUTE_OF[name]: np.array([cell for _, cell in cells]) for name, cells in columns.items()
    }
    try:
        return Cities(**numbers, **words)
    except CityError as error:
        raise CityError(f"{quoted(path)}: {error}") from error


def write_cities(cities: Cities, path: str | Path) -> None:
    """Write cities as a file that ``read_cities`` reads back equal.

    Args:
        cities: The cities.
        path: The CSV file; its folder is made if needed.

    Raises:
        StorageError: If it cannot be written; what was there before is still there.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("id", *ATTRIBUTE_OF))
    columns = [getattr(cities, name).tolist() for name in ATTRIBUTE_OF.values()]
    writer.writerows(zip(range(len(cities)), *columns, strict=True))
    path = expanded(path, error=CityError)
    try:
        write_whole(path, text.getvalue().encode())
    except OSError as error:
        raise StorageError(f"{quoted(path)} cannot be written: {error.strerror}.") from error


def _columns_of(path: Path) -> dict[str, list[tuple[int, str]]]:
    rows = _rows_of(path)
    headings = rows[0][1] if rows else []
    missing = [name for name in ATTRIBUTE_OF if name not in headings]
    if missing:
        raise CityError(
            f"{quoted(path)} has no column {', '.join(map(quoted, missing))}; a file of cities has "
            f"the columns id, {', '.join(ATTRIBUTE_OF)}."
        )
    if len(rows) == 1:
        raise CityError(f"{quoted(path)} holds no city, only headings.")
    for line, row in rows:
        if len(row) != len(headings):
            raise CityError(
                f"Line {line} of {quoted(path)} has {len(row)} cells, but there are "
                f"{len(headings)} columns."
            )
    place = {name: headings.index(name) for name in ATTRIBUTE_OF}
    return {name: [(line, row[at]) for line, row in rows[1:]] for name, at in place.items()}


def _rows_of(path: Path) -> list[tuple[int, list[str]]]:
    if not path.is_file():
        raise CityError(f"There is no file of cities {quoted(path)}.")
    check_file(path, error=CityError, most=256 * MEGABYTE)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            return [(reader.line_num, row) for row in reader if row]
    except UnicodeDecodeError as error:
        raise CityError(
            f"{quoted(path)} is not UTF-8 text (byte {error.start}); convert it first."
        ) from error
    except csv.Error as error:
        raise CityError(f"{quoted(path)} is not a CSV file: {error}.") from error


def _number(line: int, cell: str, column: str, path: Path) -> int:
    where = f"Line {line} of {quoted(path)} has {quoted(cell)} in the column {quoted(column)}"
    try:
        number = int(cell)
    except ValueError as error:
        raise CityError(f"{where}, which is not a whole number.") from error
    if abs(number) > 2**62:
        raise CityError(f"{where}: too large.")
    return number
