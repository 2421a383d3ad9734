"""Patterns choose what their parts say, joined as sets are, and mistakes in them are told."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backlight.errors import CityError
from backlight.world.questions.selection import matches, select
from zoo.cities import SIX_CITIES as CITIES

ROWS = [
    dict(zip(("asciiname", "x", "y", "country_code", "region", "city_id"), row, strict=True))
    for row in zip(
        CITIES.names.tolist(),
        CITIES.x.tolist(),
        CITIES.y.tolist(),
        CITIES.country_codes.tolist(),
        CITIES.regions.tolist(),
        CITIES.city_ids.tolist(),
        strict=True,
    )
]


def chosen(pattern):
    return set(np.flatnonzero(matches(CITIES, pattern)).tolist())


def by_hand(column, regex):
    return {row for row, city in enumerate(ROWS) if re.match(regex, str(city[column]))}


@pytest.mark.parametrize("pattern", [None, "", "  ", ".*", "region:.*", [], "city_id:", ["", ".*"]])
def test_a_pattern_that_says_nothing_takes_every_city(pattern):
    assert chosen(pattern) == set(range(6))


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("Africa", {"Windhoek", "Lagos"}),
        ("region:^Atlantis$", {"Atlantis_001", "Atlantis_002"}),
        ("region:A", {"Atlantis_001", "Atlantis_002", "Windhoek", "Lagos"}),
        ("region:America", set()),  # from the start of the cell
        ("region:.*America", {"Nome"}),
        ("region:(?:Africa|Oceania)$", {"Windhoek", "Lagos", "Null Island"}),
        ("(?:Africa|Oceania)", {"Windhoek", "Lagos", "Null Island"}),
        ("(?i:AFRICA)", {"Windhoek", "Lagos"}),
        ("region : Africa", {"Windhoek", "Lagos"}),
        ("country_code:NA", {"Windhoek"}),
        ("x:-", {"Atlantis_001", "Nome"}),
        ("y:0$", {"Null Island"}),
        ("asciiname:.*\\s", {"Null Island"}),
        ("city_id:^[1-9][0-9]{3,}$", {"Null Island", "Nome", "Lagos"}),
        ("city_id:0", set()),  # numbers have no zeros in front
        ("region:^(?!Atlantis).* && city_id:^[1-9][0-9]{3,}$", {"Null Island", "Nome", "Lagos"}),
        ("Africa && city_id:8 || Oceania", {"Windhoek", "Null Island"}),
        ("Oceania||Africa&&city_id:8", {"Windhoek", "Null Island"}),
        (["Africa || Oceania", "city_id:^[0-9]{4}$"], {"Lagos", "Null Island"}),
        ({"OR": [{"AND": ["Africa", "city_id:8"]}, "Oceania"]}, {"Windhoek", "Null Island"}),
    ],
)
def test_patterns_choose_these_cities(pattern, names):
    assert {ROWS[row]["asciiname"] for row in chosen(pattern)} == names


ATOMS = [
    ("region", "Africa"),
    ("region", "^(?!Atlantis).*"),
    ("region", "(?:Africa|North)"),
    ("city_id", "^[1-9][0-9]{3,}$"),
    ("city_id", "[0-4]"),
    ("x", "-"),
    ("y", "[0-9]+$"),
    ("country_code", "XX"),
    ("asciiname", ".*_"),
]
atoms = st.sampled_from(ATOMS)
gaps = st.sampled_from(["", " ", "  "])


@given(st.lists(st.lists(atoms, min_size=1, max_size=3), min_size=1, max_size=3), gaps)
def test_and_binds_tighter_than_or(unions, gap):
    text = f"{gap}||{gap}".join(
        f"{gap}&&{gap}".join(":".join(atom) for atom in parts) for parts in unions
    )
    expected = set().union(
        *(set.intersection(*(by_hand(*atom) for atom in parts)) for parts in unions)
    )
    assert chosen(text) == expected
    nested = {"OR": [{"AND": [":".join(atom) for atom in parts]} for parts in unions]}
    assert chosen(nested) == expected


def trees(leaves):
    some = st.lists(leaves, min_size=1, max_size=3)
    return some | st.fixed_dictionaries({"AND": some}) | st.fixed_dictionaries({"OR": some})


def meaning(tree):
    if isinstance(tree, str):
        return by_hand(*tree.split(":", 1))
    (how, parts), *_ = (tree if isinstance(tree, dict) else {"AND": tree}).items()
    join = set.intersection if how == "AND" else set.union
    return join(*map(meaning, parts))


@given(st.recursive(atoms.map(":".join), trees, max_leaves=6))
def test_nested_patterns_are_what_sets_say(tree):
    assert chosen(tree) == meaning(tree)


@given(atoms, atoms, atoms)
def test_union_and_intersection_obey_their_laws(a, b, c):
    a, b, c = map(":".join, (a, b, c))
    assert chosen(f"{a} && {b}") == chosen(f"{b} && {a}") == chosen([a, b])
    assert chosen(f"{a} || {b}") == chosen(f"{b} || {a}") == chosen({"OR": [a, b]})
    assert chosen(f"{a} && {a}") == chosen(f"{a} || {a}") == chosen(a)
    assert chosen([a, f"{b} || {c}"]) == chosen(f"{a} && {b} || {a} && {c}")


def test_selected_cities_keep_the_order_of_the_table():
    assert select(CITIES, "Africa || Atlantis").names.tolist() == [
        "Atlantis_001",
        "Atlantis_002",
        "Windhoek",
        "Lagos",
    ]


@pytest.mark.parametrize(("pattern", "number"), [("Afrika", 0), ("Oceania", 1)])
def test_fewer_than_two_cities_are_no_choice(pattern, number):
    with pytest.raises(
        CityError,
        match=f"pattern '{pattern}' matches {number} of 6 cities, but a question needs at least "
        "two; the regions are Africa, Atlantis, North America, Oceania",
    ):
        select(CITIES, pattern)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("regoin:Africa", r"no column 'regoin' .*, only asciiname, .*Did you mean region\?"),
        ("population:1", r"no column 'population' .* country_code, region, city_id\.$"),
        ("region:(Africa", r"'\(Africa' in the pattern .* is not a regular expression: missing \)"),
        ("region:(a||b)", r"'\(a' in .* expression: .*; && and \|\| cannot be part of a regex\."),
        ("Africa && ", "'Africa && ' has nothing on one side of its && or"),
        ("|| Africa", "has nothing on one side"),
        ({"XOR": ["Africa"]}, r"A pattern is {'AND': \[...\]} or .*, not {'XOR': \['Africa'\]}"),
        ({"AND": ["a"], "OR": ["b"]}, "A pattern is .*with a list of patterns, not"),
        ({"OR": "Africa"}, "with a list of patterns, not {'OR': 'Africa'}"),
        ({}, "with a list of patterns, not {}"),
        ({"OR": []}, r"'OR' of a pattern needs a list of patterns, not \[\]"),
        ({"AND": 3}, "'AND' of a pattern needs a list of patterns, not 3"),
        (["Africa", 3], "A part of a pattern is text, a list, or .*, not 3"),
        ({"OR": [None]}, "A part of a pattern is text, a list, or .*, not None"),
    ],
)
def test_a_pattern_that_cannot_be_read_is_told(pattern, message):
    with pytest.raises(CityError, match=message):
        matches(CITIES, pattern)


def test_the_pattern_of_the_origin_fits_the_shipped_cities(shipped):
    some = select(shipped, "region:^(?!Atlantis).* && city_id:^[1-9][0-9]{3,}$")
    assert some.city_ids.min() >= 1000
    assert "Atlantis" not in some.regions
    assert len(some) > 0.85 * (shipped.regions != "Atlantis").sum()
