"""Tasks are found by name, changed by options, and say what they cannot ask."""

import re
from dataclasses import replace

import numpy as np
import pytest

from backlight.errors import TaskError
from backlight.world.questions.catalogue import TASKS, find_task
from backlight.world.questions.task import with_options
from zoo.cities import make_cities

NAMES = [
    *("distance", "trianglearea", "angle", "compass", "crossing", "inside", "perimeter"),
    *("nearest_neighbor", "randomwalk", "center", "circlecount", "randring"),
]


def draw(task, cities, num=50):
    return task.draw(cities, num, np.random.default_rng(0))


def numbers(prompts, pattern):
    return {int(re.search(pattern, prompt.text)[1]) for prompt in prompts}


def test_there_are_twelve_tasks():
    assert list(TASKS) == NAMES
    assert all(find_task(name) is TASKS[name] for name in NAMES)
    assert all(task.task_type == name for name, task in TASKS.items())


def test_an_unknown_task_is_told_with_all_that_exist():
    with pytest.raises(
        TaskError, match=f"'distence' among the 12: {', '.join(NAMES)}. Did you mean di"
    ):
        find_task("distence")


def test_options_change_what_is_drawn(made_up):
    prompts = draw(
        with_options(TASKS["inside"], {"min_n": 6, "max_n": 7, "true_ratio": 0.9}), made_up
    )
    assert {prompt.values["k"] for prompt in prompts} == {6, 7}
    assert sum(prompt.answer == "TRUE" for prompt in prompts) == 45
    prompts = draw(
        with_options(TASKS["randomwalk"], {"max_step": [20, 100], "length": [2, 3]}), made_up
    )
    assert numbers(prompts, r"\((\d+)") <= {*range(20, 101)}
    assert numbers(prompts, r",(\d+)") == {2, 3}
    prompts = draw(with_options(TASKS["circlecount"], {"radius": [7, 8]}), made_up)
    assert numbers(prompts, r"r=(\d+)") == {7, 8}
    prompts = draw(with_options(TASKS["center"], {"true_ratio": 1}), made_up)
    assert all("in=TRUE" in prompt.text for prompt in prompts)
    prompts = draw(with_options(TASKS["nearest_neighbor"], {"k": [9, 9]}), made_up)
    assert all(prompt.answer.count("c_") == 9 for prompt in prompts)
    prompts = draw(with_options(TASKS["perimeter"], {"max_n": 2}), made_up)
    assert all(prompt.text.count("c_") == 2 for prompt in prompts)


def test_an_outer_radius_is_larger_than_the_inner_whatever_the_ranges():
    cities = make_cities([(number * 10, 0) for number in range(40)])
    options = {"radius_min": [100, 120], "radius_max": [50, 60]}
    for prompt in draw(with_options(TASKS["randring"], options), cities):
        assert prompt.values["radius_max"] == prompt.values["radius_min"] + 1


def test_rings_are_never_empty_if_that_is_not_allowed(made_up):
    some = draw(TASKS["randring"], made_up, 300)
    assert any(prompt.answer == "" for prompt in some)
    others = draw(with_options(TASKS["randring"], {"allow_empty": False}), made_up, 300)
    assert all(prompt.answer for prompt in others)


def test_options_leave_the_task_itself_as_it_was():
    task = TASKS["inside"]
    changed = with_options(task, {"max_n": 9})
    assert (task.max_n, changed.max_n) == (5, 9)
    assert with_options(task, {}) == task
    assert replace(task, max_n=9) == changed


@pytest.mark.parametrize(
    ("task_type", "options", "message"),
    [
        ("distance", {"min_n": 2}, "The task distance has no option 'min_n', nor any other"),
        (
            "inside",
            {"minn": 2},
            r"no option 'minn', only min_n, max_n, true_ratio. Did you mean min",
        ),
        ("inside", {"min_n": 2}, "'min_n' of the task inside must be .* at least 3, not 2"),
        ("inside", {"min_n": 3.5}, "must be a whole number of at least 3, not 3.5"),
        ("inside", {"min_n": True}, "must be a whole number of at least 3, not True"),
        ("inside", {"min_n": 6}, "'min_n' of the task inside is 6, more than 'max_n', 5"),
        ("crossing", {"true_ratio": 1.5}, "'true_ratio' .* must be a number from 0 to 1, not 1.5"),
        ("crossing", {"true_ratio": "half"}, "must be a number from 0 to 1, not 'half'"),
        ("nearest_neighbor", {"k": 5}, r"must be a range of whole .* such as \[1, 9\], not 5"),
        ("nearest_neighbor", {"k": [5, 1]}, r"must be a range .* not \[5, 1\]"),
        ("nearest_neighbor", {"k": [0, 1]}, r"must be a range .* at least 1, .* not \[0, 1\]"),
        ("nearest_neighbor", {"k": [1, 2, 3]}, r"must be a range .* not \[1, 2, 3\]"),
        ("nearest_neighbor", {"k": [1, 2.5]}, r"must be a range .* not \[1, 2.5\]"),
        ("randring", {"allow_empty": 0}, "'allow_empty' .* must be true or false, not 0"),
    ],
)
def test_options_that_cannot_be_are_told(task_type, options, message):
    with pytest.raises(TaskError, match=message):
        with_options(TASKS[task_type], options)


IN_LINE = make_cities([(number, 2 * number) for number in range(20)])
FAR_APART = make_cities([(number * 600 - 1500, 0) for number in range(6)])
TWO = make_cities([(0, 0), (10, 10)])


@pytest.mark.parametrize(
    ("task", "cities", "message"),
    [
        (
            TASKS["crossing"],
            IN_LINE,
            "whether two segments cross, 25 TRUE could not be found among",
        ),
        (TASKS["inside"], IN_LINE, "whether a city is inside 3 others, .* TRUE could not be found"),
        (TASKS["randomwalk"], FAR_APART, r"No walk .* 6 cities .* within max_step, \[50, 500\]"),
        (with_options(TASKS["randring"], {"allow_empty": False}), FAR_APART, "No ring with a city"),
        (TASKS["nearest_neighbor"], TWO, "The 5 nearest to a city .* there are only 2 cities"),
        (TASKS["distance"], TWO, "50 different pairs .* but only 1 exist"),
        (TASKS["compass"], TWO, "50 different pairs .* but only 1 exist"),
        (TASKS["trianglearea"], TWO, "A question needs 3 different cities, but there are only 2"),
        (TASKS["perimeter"], TWO, "A question needs 3 different cities, but there are only 2"),
        (TASKS["crossing"], TWO, "A question needs 4 different cities, but there are only 2"),
    ],
)
def test_what_cannot_be_asked_of_some_cities_is_told(task, cities, message):
    with pytest.raises(TaskError, match=message):
        draw(task, cities)


def test_rare_answers_are_found():
    cities = make_cities([(0, 0), (100, 0), (0, 100), (100, 100), (50, 5), (200, 300)])
    options = {"true_ratio": 1, "min_n": 5, "max_n": 5}
    prompts = draw(with_options(TASKS["inside"], options), cities, 40)
    assert {prompt.answer for prompt in prompts} == {"TRUE"}


def test_single_questions_are_true_about_half_the_time(made_up):
    random = np.random.default_rng(0)
    found = [TASKS["crossing"].draw(made_up, 1, random)[0].answer for _ in range(200)]
    assert 75 < found.count("TRUE") < 125
