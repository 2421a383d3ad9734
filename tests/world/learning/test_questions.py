"""Rows to learn from, and questions that are kept from learning."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backlight.errors import TaskError
from backlight.world.learning.questions import (
    Spokes,
    draw_rows,
    held_out_questions,
    is_held_out,
)
from backlight.world.questions.catalogue import TASKS, find_task
from zoo.cities import make_cities

RANDOM = np.random.default_rng(5)
CITIES = make_cities(RANDOM.integers((-1800, -900), (1800, 900), size=(60, 2)).tolist())


def cities_of(row):
    return re.findall(r"c_\d{4}", row.partition("=")[0])


def rows_of(name, num, *, seed=0, per_city=4, held_out=0.1):
    random = np.random.default_rng(seed)
    return draw_rows(
        find_task(name), CITIES, num, random, questions_per_city=per_city, held_out=held_out
    )


def test_questions_in_a_row_share_their_first_city():
    drawn = Spokes(4).pairs(CITIES, 22, np.random.default_rng(0))
    assert drawn.shape == (22, 2)
    firsts = [set(drawn[start : start + 4, 0].tolist()) for start in range(0, 22, 4)]
    assert [len(first) for first in firsts] == [1] * 6
    assert len(set.union(*firsts)) > 1


@pytest.mark.parametrize("size", [1, 2, 6])
def test_no_city_stands_twice_in_a_question(size):
    drawn = Spokes(3).tuples(CITIES, 40, size, np.random.default_rng(1))
    assert drawn.shape == (40, size)
    assert all(len(set(row)) == size for row in drawn.tolist())


def test_every_city_is_as_likely_as_every_other():
    drawn = Spokes(1).pairs(CITIES, 60_000, np.random.default_rng(2))
    for column in drawn.T:
        counts = np.bincount(column, minlength=60)
        assert abs(counts - 1000).max() < 150  # standard deviation 31
    assert Spokes(1).allowed(CITIES).all()


def test_too_few_cities_are_an_error():
    with pytest.raises(TaskError, match="needs 61 different cities, but there are only 60"):
        Spokes(1).tuples(CITIES, 1, 61, np.random.default_rng(0))


def test_rows_to_learn_from_are_never_held_out():
    rows = rows_of("distance", 2000)
    assert not any(is_held_out(row, 0.1) for row in rows)
    assert 1650 < len(rows) < 1950


def test_rows_are_right_and_the_same_for_the_same_chance():
    rows = rows_of("distance", 100)
    assert rows == rows_of("distance", 100)
    assert rows != rows_of("distance", 100, seed=1)
    for row in rows:
        a, b = (CITIES.row_of(int(name[2:])) for name in cities_of(row))
        apart = np.hypot(*(np.subtract(*(c[[a, b]])) for c in (CITIES.x, CITIES.y)))
        assert row.partition("=")[2] == str(round(float(apart)))


def test_held_out_questions_are_held_out():
    random = np.random.default_rng(3)
    prompts = held_out_questions(find_task("distance"), CITIES, 80, random, held_out=0.1)
    assert len(prompts) == 80
    assert all(is_held_out(prompt.text, 0.1) for prompt in prompts)
    assert len({tuple(cities_of(prompt.text)) for prompt in prompts}) > 60


@pytest.mark.parametrize("name", list(TASKS))
def test_every_task_can_be_learned_and_held_out(name):
    assert rows_of(name, 12)
    random = np.random.default_rng(3)
    prompts = held_out_questions(find_task(name), CITIES, 3, random, held_out=0.5)
    assert len(prompts) == 3


def test_a_world_without_held_out_questions_is_an_error():
    three = CITIES.take([0, 1, 2])
    pairs = [f"dist(c_{a * 11:04d},c_{b * 11:04d})=" for a, b in ((0, 1), (0, 2), (1, 2))]
    assert not any(is_held_out(pair, 0.02) for pair in pairs)
    with pytest.raises(TaskError, match=r"Only 0 questions of 'distance' about these 3 cities"):
        held_out_questions(find_task("distance"), three, 5, np.random.default_rng(0), held_out=0.02)


IDS = st.integers(0, 9999).map("c_{:04d}".format)


@given(IDS, IDS)
def test_a_pair_is_held_out_in_either_order_and_in_every_task(one, other):
    choices = {
        is_held_out(row, 0.5)
        for row in (f"dist({one},{other})=1", f"dist({other},{one})=", f"compass({one},{other})=N")
    }
    assert len(choices) == 1


def test_the_answer_does_not_count():
    assert len({is_held_out(f"dist(c_0001,c_0002)={answer}", 0.5) for answer in range(50)}) == 1


@pytest.mark.parametrize("share", [0.02, 0.3])
def test_the_share_is_what_was_asked_for(share):
    pairs = [f"dist(c_{a:04d},c_{b:04d})=" for a in range(200) for b in range(a)]
    found = sum(is_held_out(row, share) for row in pairs) / len(pairs)
    assert abs(found - share) < 4 * (share * (1 - share) / len(pairs)) ** 0.5


def test_what_is_held_out_stays_so_when_the_share_grows():
    rows = [f"circlecount(c_0001,r={radius})=" for radius in range(300)]
    small, large = ({row for row in rows if is_held_out(row, share)} for share in (0.1, 0.2))
    assert set() < small < large


def test_all_that_is_asked_counts_and_not_the_cities_alone():
    choices = {is_held_out(f"nearest(c_0001,{number})=", 0.5) for number in range(40)}
    assert choices == {True, False}


def test_semicolons_part_what_is_asked():
    assert {is_held_out(f"cross(c_0001,c_0002;c_0003,c_{n:04d})=", 0.5) for n in range(40)} == {
        True,
        False,
    }
