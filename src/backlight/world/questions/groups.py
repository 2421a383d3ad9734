"""Groups of cities, each chosen by filters that must all hold."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.errors import CityError, nearest, quoted
from backlight.world.cities import Cities


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The cities for which every filter holds; a filter that is None holds for all.

    Attributes:
        city_ids: Ids, each of which must exist.
        city_names: Names as they are written, or a regular expression to be found in the name;
            ``^(?!Atlantis_).*`` is every city but the made-up ones.
        country_codes: Codes as they are written, or a regular expression to be found in the code.
        regions: Regions as they are written, or a regular expression to be found in the region.
        bounds: The least and the largest ``x``, ``y`` or both, in 0.1 degree, ends included.
    """

    city_ids: Sequence[int] | None = None
    city_names: Sequence[str] | str | None = None
    country_codes: Sequence[str] | str | None = None
    regions: Sequence[str] | str | None = None
    bounds: Mapping[str, Sequence[float]] | None = None

    def rows(self, cities: Cities) -> NDArray[np.int64]:
        """Find the cities of the group.

        Args:
            cities: The cities to choose from.

        Returns:
            Their rows, in the order of the table; at least one.

        Raises:
            CityError: If a filter cannot be read, names what does not exist, or leaves no city.
        """
        keep = np.ones(len(cities), dtype=np.bool_)
        if self.city_ids is not None:
            keep &= np.isin(np.arange(len(cities)), [cities.row_of(each) for each in self.city_ids])
        keep &= _named(cities.names.tolist(), self.city_names, "city_names")
        keep &= _named(cities.country_codes.tolist(), self.country_codes, "country_codes")
        keep &= _named(cities.regions.tolist(), self.regions, "regions")
        for axis, ends in (self.bounds or {}).items():
            low, high = _ends(axis, ends)
            values: NDArray[np.int64] = getattr(cities, axis)
            keep &= (low <= values) & (values <= high)
        if not keep.any():
            given = {field.name: getattr(self, field.name) for field in fields(self)}
            filters = {name: value for name, value in given.items() if value is not None}
            raise CityError(f"None of the {len(cities)} cities is in the group {filters}.")
        return np.flatnonzero(keep)


def read_group(filters: Mapping[str, Any]) -> Group:
    """Read a group from its filters in a configuration.

    Args:
        filters: The attributes of ``Group`` by name.

    Returns:
        The group.

    Raises:
        CityError: If there is no such filter, or it has another form.
    """
    for name in filters:
        if name not in _FORMS:
            hint = nearest(name, list(_FORMS))
            raise CityError(
                f"Groups of cities have no filter {quoted(name)}, only {', '.join(_FORMS)}. "
                f"{hint}".strip()
            )
    for name, value in filters.items():
        fits, such_as = _FORMS[name]
        if value is not None and not fits(value):
            raise CityError(f"The filter {quoted(name)} is {such_as}, not {quoted(value)}.")
    return Group(**filters)


def _is_list(kind: Any, value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, kind) for each in value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or _is_list(str, value)


def _is_box(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        _is_list(int | float, ends) for ends in value.values()
    )


_FORMS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "city_ids": (partial(_is_list, int), "a list of ids, such as [865, 1234]"),
    "city_names": (_is_text, "a list of names, or a regular expression"),
    "country_codes": (_is_text, "a list of codes, or a regular expression"),
    "regions": (_is_text, "a list of regions, or a regular expression"),
    "bounds": (_is_box, "a mapping such as {x: [-100, 250], y: [0, 300]}"),
}


def _named(cells: list[str], wanted: Sequence[str] | str | None, option: str) -> NDArray[np.bool_]:
    if wanted is None:
        return np.ones(len(cells), dtype=np.bool_)
    if isinstance(wanted, str):
        try:
            found = re.compile(wanted).search
        except (re.error, OverflowError, RecursionError) as error:
            raise CityError(
                f"{quoted(wanted)} for {option} is not a regular expression: {error}."
            ) from error
        return np.array([found(cell) is not None for cell in cells], dtype=np.bool_)
    known = set(cells)
    for name in wanted:
        if name not in known:
            hint = nearest(str(name), sorted(known))
            raise CityError(f"No city has {quoted(name)} among its {option}. {hint}".strip())
    return np.array([cell in wanted for cell in cells], dtype=np.bool_)


def _ends(axis: str, ends: Sequence[float]) -> tuple[float, float]:
    if axis not in {"x", "y"}:
        raise CityError(f"Bounds of a group are given for x and y, not for {quoted(axis)}.")
    if len(ends) != 2 or not ends[0] <= ends[1]:
        raise CityError(
            f"The bounds of {axis} are the least and the largest value, such as [-100, 250], "
            f"not {quoted(ends)}."
        )
    return ends[0], ends[1]
