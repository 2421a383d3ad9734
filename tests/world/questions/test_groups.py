"""A group is where all its filters hold."""

import numpy as np
import pytest

from backlight.errors import CityError
from backlight.world.questions.groups import Group, read_group
from zoo.cities import SIX_CITIES as CITIES


def names(**filters):
    return CITIES.names[read_group(filters).rows(CITIES)].tolist()


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"city_ids": [9999, 7]}, ["Atlantis_001", "Lagos"]),
        ({"city_names": ["Lagos", "Nome"]}, ["Nome", "Lagos"]),
        ({"city_names": "^(?!Atlantis_).*", "regions": "fric"}, ["Windhoek", "Lagos"]),
        ({"city_names": "o"}, ["Windhoek", "Nome", "Lagos"]),
        ({"country_codes": ["NA", "US"]}, ["Windhoek", "Nome"]),
        ({"country_codes": "^XX"}, ["Atlantis_001", "Atlantis_002", "Null Island"]),
        ({"regions": ["Africa"]}, ["Windhoek", "Lagos"]),
        ({"regions": "^(Oceania|North America)$"}, ["Null Island", "Nome"]),
        ({"bounds": {"x": [0, 10]}}, ["Atlantis_002", "Null Island", "Lagos"]),
        ({"bounds": {"x": [0, 10], "y": [0, 5]}}, ["Null Island", "Lagos"]),
        ({"bounds": {"x": [0, 10]}, "regions": ["Africa"]}, ["Lagos"]),
    ],
)
def test_groups_are_these_cities_in_the_order_of_the_table(filters, expected):
    assert names(**filters) == expected


def test_a_group_without_filters_is_every_city():
    assert np.array_equal(Group().rows(CITIES), np.arange(6))


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"region": ["Africa"]}, r"no filter 'region', only city_ids, .* Did you mean regions\?"),
        ({"city_ids": [8]}, "No city has the id 8 among these 6"),
        ({"city_ids": "8"}, r"'city_ids' is a list of ids, such as \[865, 1234\], not '8'"),
        ({"regions": 3}, "'regions' is a list of regions, or a regular expression, not 3"),
        ({"bounds": [1, 2]}, "'bounds' is a mapping such as"),
        ({"regions": ["Afrika"]}, r"No city has 'Afrika' among its regions. Did you mean Africa\?"),
        ({"city_names": ["lagos"]}, "No city has 'lagos' among its city_names"),
        ({"country_codes": "("}, r"'\(' for country_codes is not a regular expression: missing"),
        ({"bounds": {"z": [0, 1]}}, "Bounds of a group are given for x and y, not for 'z'"),
        ({"bounds": {"x": [1, 0]}}, r"bounds of x are the least and the largest .* not \[1, 0\]"),
        ({"bounds": {"x": [1]}}, r"bounds of x are .*, not \[1\]"),
        ({"regions": "Mars"}, r"None of the 6 cities is in the group {'regions': 'Mars'}"),
    ],
)
def test_filters_that_do_not_fit_are_told(filters, message):
    with pytest.raises(CityError, match=message):
        names(**filters)
