"""The numbers of a log by their names, as arrays: a log may have a million lines."""

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from backlight.errors import RunDirectoryError, quoted
from backlight.training.log.foreign.values import is_blank, read_number, read_step, sample_of
from backlight.training.log.foreign.words import (
    Field,
    is_evaluation,
    is_summary,
    long_pair,
    meaning,
    split_of,
)

_QUANTITIES = ("loss", "norm", "clipped", "rate")
_HELD_OUT = frozenset({"evaluate", "validate", "true"})
_MOST_NAMES, _MOST_CELLS = 10_000, 40_000_000
_A_PLAN, _MOST_PLANNED = 1000, 5_000_000  # characters of names of rows that are kept in mind
_DEPTH = 3  # of mappings inside of mappings whose names are joined
_NORMS = "norms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """The numbers under one name.

    Attributes:
        key: The name, as the log writes it.
        quantity: What it stands for.
        rank: How good a name for this it is; 0 is the best.
        rows: Which rows have a number.
        values: The numbers.
    """

    key: str
    quantity: Field
    rank: int
    rows: "array[int]" = field(default_factory=lambda: array("q"))
    values: "array[float]" = field(default_factory=lambda: array("d"))


@dataclass(slots=True)
class Skipped:
    """What was read and is no step.

    Attributes:
        evaluations: Rows about held-out data.
        summaries: Rows that sum up the whole run.
        others: Rows without a quantity that is understood.
        unread: Values that stand where a number is due, and are none.
        example: One of those, quoted.
    """

    evaluations: int = 0
    summaries: int = 0
    others: int = 0
    unread: int = 0
    example: str = ""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What to take from rows with the same names."""

    quantities: tuple[tuple[str, Column], ...]
    coordinates: tuple[tuple[str, Column], ...]
    summaries: tuple[str, ...]
    splits: tuple[str, ...]
    evaluations: tuple[str, ...]
    norms: bool
    pair: tuple[str, str] | None


class Columns:
    """Takes rows of names and values, and keeps the numbers that are understood.

    A row counts if it has a loss, a norm or a learning rate.

    Attributes:
        columns: By name.
        lines: The line or the entry of each row that counts.
        skipped: What does not count.
        unknown: The names that mean nothing here, in the order in which they came; some of them.
        names: The layers under ``norms``.
        norm_cells: Row, place of the name, and norm of each layer.
    """

    def __init__(self, path: Path) -> None:
        self.columns: dict[str, Column] = {}
        self.lines: array[int] = array("q")
        self.skipped = Skipped()
        self.unknown: dict[str, None] = {}
        self.names: dict[str, int] = {}
        self.norm_cells = array("q"), array("q"), array("d")
        self._path = path
        self._plans: dict[tuple[str, ...], _Plan] = {}
        self._planned_size = 0

    @property
    def num_rows(self) -> int:
        """How many rows count."""
        return len(self.lines)

    def add(self, line: int, row: Mapping[str, Any]) -> bool:
        """Take a row.

        Args:
            line: Where it stands.
            row: Values by names.

        Returns:
            Whether it counts.
        """
        for value in row.values():
            if value.__class__ is dict:
                row = dict(_flat(row, "", 0))
                break
        # What names mean is looked up once for all rows that have the same ones.
        keys = tuple(row)
        plan = self._plans.get(keys) or self._planned(keys)
        if plan.pair is not None:
            name, value = plan.pair
            others = {key: row[key] for key in keys if key not in plan.pair}
            return self.add(line, {**others, f"{row[name]}": row[value]})
        if (plan.summaries or plan.evaluations or plan.splits) and self._is_no_step(plan, row):
            return False
        place, counts = len(self.lines), False
        for key, column in plan.quantities:
            value = row[key]
            number = value if value.__class__ is float else self._number(value)
            if number is not None:
                column.rows.append(place)
                column.values.append(number)
                counts = True
        if plan.norms and self._add_norms(line, place, row[_NORMS]):
            counts = True
        if not counts:
            self.skipped.evaluations += bool(plan.evaluations)
            self.skipped.others += not plan.evaluations
            return False
        self._add_coordinates(plan, place, row)
        self.lines.append(line)
        return True

    def of(self, quantity: Field) -> list[Column]:
        """Return the columns of a quantity, in the order in which their names came."""
        return [each for each in self.columns.values() if each.quantity == quantity]

    def keys(self) -> list[str]:
        """Return all names that were seen, those that are understood first."""
        return [*self.columns, *self.unknown]

    def _add_coordinates(self, plan: _Plan, place: int, row: Mapping[str, Any]) -> None:
        for key, column in plan.coordinates:
            value = row[key]
            if value.__class__ is int and 0 <= value < 1 << 53:
                number = value
            else:
                number = read_step(value) if column.quantity == "step" else read_number(value)
            if number is not None:
                column.rows.append(place)
                column.values.append(number)

    def _is_no_step(self, plan: _Plan, row: Mapping[str, Any]) -> bool:
        if any(_is_finite(row[key]) for key in plan.summaries):
            self.skipped.summaries += 1
            return True
        # A table without blanks has NaN where a row says nothing.
        seen = [read_number(row[key]) for key, _ in plan.quantities] if plan.evaluations else []
        evaluated = all(value is None or value != value for value in seen) and any(
            _is_finite(row[key]) for key in plan.evaluations
        )
        is_no_step = evaluated or any(_is_held_out(row[key]) for key in plan.splits)
        self.skipped.evaluations += is_no_step
        return is_no_step

    def _number(self, value: object) -> float | None:
        number = read_number(value)
        if number is None and not is_blank(value):
            self.skipped.unread += 1
            self.skipped.example = self.skipped.example or sample_of(value)
        return number

    def _planned(self, keys: tuple[str, ...]) -> _Plan:
        understood = [(key, self._column(key)) for key in keys if key != _NORMS]
        known = [(key, column) for key, column in understood if column is not None]
        quantities = tuple(pair for pair in known if pair[1].quantity in _QUANTITIES)
        plan = _Plan(
            quantities=quantities,
            coordinates=tuple(pair for pair in known if pair[1].quantity not in _QUANTITIES),
            summaries=tuple(key for key in keys if is_summary(key)),
            splits=tuple(key for key in keys if split_of(key)),
            evaluations=tuple(key for key in keys if is_evaluation(key)),
            norms=_NORMS in keys,
            pair=None if quantities else long_pair(keys),
        )
        self._planned_size += sum(map(len, keys)) + _A_PLAN
        if self._planned_size > _MOST_PLANNED:
            self._plans.clear()
            self._planned_size = 0
        self._plans[keys] = plan
        return plan

    def _column(self, key: str) -> Column | None:
        if key in self.columns:
            return self.columns[key]
        found = meaning(key)
        if found is None or len(self.columns) >= _MOST_NAMES:
            if len(self.unknown) < _MOST_NAMES:
                self.unknown[key[:200]] = None
            return None
        self.columns[key] = Column(key=key, quantity=found[0], rank=found[1])
        return self.columns[key]

    def _add_norms(self, line: int, place: int, found: object) -> bool:
        if found is None:
            return False
        if not isinstance(found, Mapping):
            raise self._no_norms(line)
        rows, places, values = self.norm_cells
        some = False
        for name, value in cast("Mapping[str, object]", found).items():
            number = read_number(value)
            if number is None and value is not None:
                raise self._no_norms(line)
            column = self.names.setdefault(name, len(self.names))
            if number is not None:
                rows.append(place)
                places.append(column)
                values.append(number)
                some = True
        if len(self.names) * (place + 1) > _MOST_CELLS:
            raise RunDirectoryError(
                f"{quoted(self._path)} names {len(self.names):,} layers over {place + 1:,} steps: "
                "more than can be judged at once."
            )
        return some

    def _no_norms(self, line: int) -> RunDirectoryError:
        return RunDirectoryError(
            f"The norms in line {line} of {quoted(self._path)} are not numbers by names of layers, "
            'such as {"first layer": 0.1, "second layer": 0.2}.'
        )


def _is_finite(value: object) -> bool:
    number = read_number(value)
    return number is not None and math.isfinite(number)


def _is_held_out(value: object) -> bool:
    """Check whether a value names held-out data, or says that a row is about it."""
    word = str(value)[:40].strip().casefold()
    return word in _HELD_OUT or is_evaluation(word)


def _flat(row: Mapping[str, Any], before: str, depth: int) -> "list[tuple[str, Any]]":
    """Join the names of mappings inside of mappings; the norms of layers stay together."""
    pairs: list[tuple[str, Any]] = []
    for key, value in row.items():
        if isinstance(value, dict) and key != _NORMS and depth < _DEPTH:
            pairs += _flat(cast("dict[str, Any]", value), f"{before}{key}/", depth + 1)
        else:
            pairs.append((key if key == _NORMS else f"{before}{key}", value))
    return pairs
