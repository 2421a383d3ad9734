"""Cities come together as the sampling says, none twice in a question, no pair twice in all."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from backlight.errors import TaskError
from backlight.world.questions.catalogue import TASKS
from backlight.world.questions.groups import Group
from backlight.world.questions.sampling import (
    AllPairs,
    BetweenGroups,
    Mixed,
    MustInclude,
    WithinGroups,
    read_sampling,
)
from zoo.cities import make_cities

CITIES = make_cities(
    [(number * 10, number**2) for number in range(12)],
    regions=np.array(["Africa"] * 3 + ["Oceania"] * 4 + ["India"] * 5),
)
AFRICA, OCEANIA, INDIA = ({0, 1, 2}, {3, 4, 5, 6}, {7, 8, 9, 10, 11})
AFRICAN, OCEANIAN, INDIAN = (Group(regions=[region]) for region in ("Africa", "Oceania", "India"))

PAIRS = {
    "all": (AllPairs(), lambda a, b: True),
    "within": (
        WithinGroups((AFRICAN, INDIAN)),
        lambda a, b: {a, b} <= AFRICA or {a, b} <= INDIA,
    ),
    "between": (
        BetweenGroups(((AFRICAN, INDIAN), (OCEANIAN, INDIAN))),
        lambda a, b: len({a, b} & INDIA) == 1,
    ),
    "must include": (MustInclude(AFRICAN), lambda a, b: bool({a, b} & AFRICA)),
    "overlapping": (
        WithinGroups((AFRICAN, Group(city_ids=[11, 22, 33, 44]))),
        lambda a, b: {a, b} <= AFRICA or {a, b} <= {1, 2, 3, 4},
    ),
}


def seeded():
    return np.random.default_rng(4)


@pytest.mark.parametrize(("sampling", "fits"), PAIRS.values(), ids=PAIRS)
def test_all_pairs_that_may_come_do_come_once_if_that_many_are_asked_for(sampling, fits):
    expected = {pair for pair in combinations(range(12), 2) if fits(*pair)}
    drawn = sampling.pairs(CITIES, len(expected), seeded())
    assert {tuple(sorted(pair)) for pair in drawn.tolist()} == expected
    with pytest.raises(
        TaskError,
        match=f"{len(expected) + 1} different pairs of cities were asked for, but only "
        f"{len(expected)} exist: ask for fewer questions, or allow more cities",
    ):
        sampling.pairs(CITIES, len(expected) + 1, seeded())


@pytest.mark.parametrize(("sampling", "fits"), PAIRS.values(), ids=PAIRS)
def test_pairs_are_equally_likely_in_both_orders(sampling, fits):
    random = seeded()
    pairs = [pair for pair in combinations(range(12), 2) if fits(*pair)]
    draws = 60 * len(pairs)
    counts = Counter(
        tuple(pair)
        for _ in range(draws // 3)
        for pair in sampling.pairs(CITIES, 3, random).tolist()
    )
    assert len(counts) == 2 * len(pairs)
    expected = draws / len(counts)
    chi_square = sum((count - expected) ** 2 / expected for count in counts.values())
    freedom = len(counts) - 1
    assert chi_square < freedom + 4 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_cities_of_a_question_differ(size):
    between = BetweenGroups(((AFRICAN, INDIAN),))
    for sampling in (AllPairs(), WithinGroups((OCEANIAN, INDIAN)), between, MustInclude(AFRICAN)):
        rows = sampling.tuples(CITIES, 200, size, seeded())
        assert rows.shape == (200, size)
        assert all(len({*row}) == size for row in rows.tolist())


def test_every_choice_of_cities_is_equally_likely():
    rows = AllPairs().tuples(CITIES.take([0, 1, 2, 3]), 4800, 3, seeded())
    counts = Counter(map(tuple, rows.tolist()))
    assert len(counts) == 24
    assert max(abs(count - 200) for count in counts.values()) < 60


def test_questions_within_groups_are_of_one_group():
    rows = WithinGroups((AFRICAN, INDIAN)).tuples(CITIES, 1100, 3, seeded()).tolist()
    ours = Counter(tuple(AFRICA) if {*row} <= AFRICA else tuple(INDIA) for row in rows)
    assert all({*row} <= AFRICA or {*row} <= INDIA for row in rows)
    assert 60 < ours[tuple(AFRICA)] < 150  # one choice of eleven


def test_questions_between_groups_have_both_and_no_third():
    rows = BetweenGroups(((AFRICAN, INDIAN),)).tuples(CITIES, 300, 4, seeded()).tolist()
    for row in rows:
        assert {*row} & AFRICA
        assert {*row} & INDIA
        assert not {*row} & OCEANIA
    assert {place for row in rows for place, city in enumerate(row) if city in AFRICA} == {
        *range(4)
    }


def test_a_city_that_must_be_there_is_anywhere():
    rows = MustInclude(Group(city_ids=[0])).tuples(CITIES, 3000, 3, seeded()).tolist()
    places = Counter(row.index(0) for row in rows)
    assert {*places} == {0, 1, 2}
    assert max(abs(count - 1000) for count in places.values()) < 120
    assert {city for row in rows for city in row} == {*range(12)}


def test_a_mix_has_its_shares():
    mixed = Mixed(((0.25, WithinGroups((AFRICAN,))), (0.75, WithinGroups((INDIAN,)))))
    rows = mixed.tuples(CITIES, 40, 3, seeded()).tolist()
    assert sum({*row} <= AFRICA for row in rows) == 10
    pairs = Mixed(((0.5, AllPairs()), (0.5, MustInclude(AFRICAN)))).pairs(CITIES, 36, seeded())
    assert len({tuple(sorted(pair)) for pair in pairs.tolist()}) == 36
    assert sum(bool({*pair} & AFRICA) for pair in pairs.tolist()) >= 18


@pytest.mark.parametrize(
    ("sampling", "size", "message"),
    [
        (AllPairs(), 13, "A question needs 13 different cities, but there are only 12"),
        (WithinGroups((AFRICAN, OCEANIAN)), 5, "needs 5 .* but the largest group has only 4"),
        (
            BetweenGroups(((AFRICAN, OCEANIAN),)),
            8,
            "needs 8 different cities, but there are only 7",
        ),
        (BetweenGroups(((AFRICAN, OCEANIAN),)), 1, "about one city cannot be asked between groups"),
    ],
)
def test_too_few_cities_are_told(sampling, size, message):
    with pytest.raises(TaskError, match=message):
        sampling.tuples(CITIES, 10, size, seeded())


def test_ratios_that_are_no_shares_are_told():
    with pytest.raises(TaskError, match=r"ratios of a mix must add up to 1, but .* \[0.5, 0.4\]"):
        Mixed(((0.5, AllPairs()), (0.4, AllPairs())))


@pytest.mark.parametrize("task_type", [name for name in TASKS if name != "randomwalk"])
def test_every_question_has_a_city_that_must_be_there(task_type, shipped):
    sampling = MustInclude(Group(regions=["Atlantis"]))
    prompts = TASKS[task_type].draw(shipped, 30, seeded(), sampling=sampling)
    for prompt in prompts:
        regions = [value for name, value in prompt.values.items() if name.endswith("_region")]
        assert "Atlantis" in regions


def test_all_nearest_questions_of_a_group_come_once():
    task = TASKS["nearest_neighbor"]
    rows = [*task.rows(CITIES, 15, seeded(), sampling=MustInclude(AFRICAN))]
    asked = {row.partition("=")[0] for row in rows}
    assert asked == {f"nearest(c_{city:04d},{k})" for city in (0, 11, 22) for k in range(1, 6)}
    with pytest.raises(TaskError, match=r"16 different .* but the group of 3 has only 15"):
        task.draw(CITIES, 16, seeded(), sampling=MustInclude(AFRICAN))


GROUPS = {"africa": {"regions": ["Africa"]}, "india": {"regions": ["India"]}}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, AllPairs()),
        ({"type": "all_pairs"}, AllPairs()),
        ({"type": "within_groups", "groups": ["africa"]}, WithinGroups((AFRICAN,))),
        (
            {"type": "between_groups", "group_pairs": [["africa", "india"]]},
            BetweenGroups(((AFRICAN, INDIAN),)),
        ),
        ({"type": "must_include", "groups": ["india"]}, MustInclude(INDIAN)),
        (
            {
                "type": "mixed",
                "mix": [
                    {"type": "within_groups", "groups": ["africa"], "ratio": 0.25},
                    {"type": "all_pairs", "ratio": 0.75},
                ],
            },
            Mixed(((0.25, WithinGroups((AFRICAN,))), (0.75, AllPairs()))),
        ),
    ],
)
def test_a_configuration_says_how_cities_come_together(options, expected):
    assert read_sampling(options, GROUPS) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"type": "all_pair"},
            r"no sampling 'all_pair', only all_pairs, .* Did you mean all_pairs",
        ),
        ({"type": "within_groups"}, "sampling within_groups needs groups, a list"),
        ({"type": "within_groups", "groups": "africa"}, "within_groups needs groups, a list"),
        ({"type": "within_groups", "group": ["a"]}, "has no option 'group', only groups"),
        ({"type": "all_pairs", "groups": ["a"]}, "all_pairs has no option 'groups' and no other"),
        ({"type": "within_groups", "groups": ["asia"]}, "no group 'asia', only africa, india"),
        ({"type": "must_include", "groups": ["africa", "india"]}, "needs one group, not 2"),
        ({"type": "between_groups", "group_pairs": ["africa"]}, r"such as \[a, b\], not 'africa'"),
        ({"type": "mixed", "mix": [{"type": "all_pairs"}]}, "needs a type .* and a ratio, not"),
        ({"type": "mixed", "mix": [{"type": "mixed", "ratio": 1}]}, r"a type \(not mixed\)"),
        ({"type": "mixed", "mix": [{"type": "all_pairs", "ratio": 0.5}]}, "must add up to 1"),
    ],
)
def test_a_configuration_that_cannot_be_is_told(options, message):
    with pytest.raises(TaskError, match=message):
        read_sampling(options, GROUPS)


def test_a_group_that_is_not_defined_is_told():
    with pytest.raises(TaskError, match="no group 'africa', for none is defined"):
        read_sampling({"type": "within_groups", "groups": ["africa"]})
