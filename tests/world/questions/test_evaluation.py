"""Right answers get the best mark, worse ones less, and what is no answer the worst."""

import math

import numpy as np
import pytest

from backlight.objectives.prompts import Piece, Prompt
from backlight.world.questions.catalogue import TASKS
from backlight.world.questions.spelling import spell
from backlight.world.questions.task import with_options
from zoo.cities import make_cities

LINE = make_cities([(0, 0), (30, 0), (60, 0), (90, 0), (0, 400)])  # 0, 11, 22, 33, 44

BEST = {
    **dict.fromkeys(("distance", "trianglearea", "angle", "perimeter", "circlecount", "center"), 0),
    **dict.fromkeys(
        ("compass", "crossing", "inside", "nearest_neighbor", "randomwalk", "randring"), 1
    ),
}
WORST = {
    "distance": 4024.92,
    "trianglearea": 3_240_000,
    "angle": 180,
    "compass": 0,
    "crossing": 0,
    "inside": 0,
    "perimeter": 20_000,
    "nearest_neighbor": 0,
    "randomwalk": 0,
    "center": 4024.92,
    "circlecount": 1000,
    "randring": 0,
}


def question(answer, **values):
    return Prompt(pieces=(Piece(name="task", text="?"),), answer=answer, values=values)


@pytest.mark.parametrize("task_type", TASKS)
def test_the_right_answer_gets_the_best_mark_compact_or_spelled(task_type, made_up):
    task = TASKS[task_type]
    for prompt in task.draw(made_up, 40, np.random.default_rng(3)):
        assert task.score(prompt, prompt.answer, made_up) == BEST[task_type]
        spelled = spell(prompt)
        assert task.score(spelled, spelled.answer + spelled.ending, made_up) == BEST[task_type]
        assert task.score(prompt, f"{spelled.answer} <eos> <pad> 7", made_up) == BEST[task_type]


@pytest.mark.parametrize("text", ["", "c_", "7 c_0007", "-5", "c_0007,", "MAYBE", "1" * 5000, "٣"])
@pytest.mark.parametrize("task_type", TASKS)
def test_what_is_no_answer_gets_the_worst_mark(task_type, text, made_up):
    task = TASKS[task_type]
    prompt = next(
        prompt for prompt in task.draw(made_up, 40, np.random.default_rng(3)) if prompt.answer
    )
    assert task.score(prompt, text, made_up) == pytest.approx(WORST[task_type], abs=0.01)


@pytest.mark.parametrize(
    "task_type", [name for name, best in BEST.items() if name != "center" and best == 0]
)
def test_numbers_are_marked_by_how_far_off_they_are(task_type):
    task = TASKS[task_type]
    assert task.metric.name == "absolute error"
    assert task.score(question("100"), "93", LINE) == 7
    assert task.score(question("100"), "0 1 1 0", LINE) == 10


@pytest.mark.parametrize("task_type", ["compass", "crossing", "inside"])
def test_words_are_right_or_wrong(task_type):
    task = TASKS[task_type]
    assert task.metric.name == "exact match"
    assert task.score(question("NE"), "N E <eos>", LINE) == 1
    assert task.score(question("NE"), "N", LINE) == 0


def test_neighbours_are_marked_as_sets_of_the_right_size():
    score = TASKS["nearest_neighbor"].score
    right = question("c_0011,c_0022,c_0033")
    assert score(right, "c_0033,c_0011,c_0022", LINE) == 1
    assert score(right, "c_0011,c_0022,c_0044", LINE) == 2 / 4
    assert score(right, "c_0011,c_0022", LINE) == 0
    assert score(right, "c_0011,c_0011,c_0011", LINE) == 1 / 3


def test_a_center_is_marked_by_how_far_it_is_from_the_right_one():
    task = TASKS["center"]
    right = question("c_0011", answer_x=30, answer_y=0)
    assert task.score(right, "c_0033", LINE) == 60
    assert task.score(right, "c_0044", LINE) == math.hypot(30, 400)
    assert task.score(right, "c_0012", LINE) == task.metric.failure  # no such city
    assert task.score(right, "c_0011,c_0011", LINE) == task.metric.failure


def test_a_walk_is_marked_by_its_valid_steps_and_its_length():
    score = TASKS["randomwalk"].score
    asked = question("", max_step=30, length=4)
    assert score(asked, "c_0000,c_0011,c_0022,c_0011", LINE) == 1
    assert score(asked, "c_0000,c_0011,c_0033,c_0022", LINE) == 2 / 3  # one step of 60
    assert score(asked, "c_0000,c_0011,c_0011,c_0022", LINE) == 2 / 3  # one step nowhere
    assert score(asked, "c_0000,c_0011,c_0099,c_0022", LINE) == 1 / 3  # no such city
    assert score(asked, "c_0000,c_0011", LINE) == pytest.approx(math.exp(-2 / 4))
    assert score(asked, "c_0000", LINE) == 0
    assert score(asked, "c_0000,c_0011,c_0022,c_0011,", LINE) == 0  # cut off


def test_a_ring_is_marked_by_its_cities_and_their_number():
    score = TASKS["randring"].score
    asked = question("c_0022,c_0033", city1_id=0, radius_min=40, radius_max=90)
    assert score(asked, "c_0033,c_0022", LINE) == 1
    assert score(asked, "c_0033,c_0011", LINE) == 1 / 2
    assert score(asked, "c_0033,c_0033", LINE) == 1 / 2  # once is enough
    assert score(asked, "c_0033", LINE) == pytest.approx(math.exp(-1 / 2))
    assert score(asked, "", LINE) == 0
    nothing = question("", city1_id=0, radius_min=91, radius_max=95)
    assert score(nothing, "", LINE) == 1
    assert score(nothing, "c_0033", LINE) == 0


def test_the_center_of_a_ring_is_not_in_it():
    task = with_options(TASKS["randring"], {"radius_min": [0, 0]})
    asked = question("c_0011", city1_id=0, radius_min=0, radius_max=30)
    assert task.score(asked, "c_0000", LINE) == 0
