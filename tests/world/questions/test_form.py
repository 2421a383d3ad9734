"""Every character of a question stands in a piece that says what it is."""

import re

import numpy as np
import pytest

from backlight.world.cities import city_text
from backlight.world.questions.catalogue import TASKS
from zoo.cities import make_cities

CITIES = make_cities([(number * 15, number * number % 70) for number in range(30)])

CITY = ["c", "underscore", "digit1", "digit2", "digit3", "digit4"]


def city(number):
    return [f"city{number}_{part}" for part in CITY]


def listed(numbers, first_comma=1):
    names = city(numbers[0])
    for place, number in enumerate(numbers[1:]):
        names += [f"comma{first_comma + place}", *city(number)]
    return names


def drawn(task_type, num_cities=None, num=200):
    prompts = TASKS[task_type].draw(CITIES, num, np.random.default_rng(0))
    if num_cities is None:
        return prompts[0]
    return next(prompt for prompt in prompts if prompt.text.count("c_") == num_cities)


@pytest.mark.parametrize(
    ("task_type", "num_cities", "names"),
    [
        ("distance", 2, [*city(1), "comma", *city(2)]),
        ("compass", 2, [*city(1), "comma", *city(2)]),
        ("trianglearea", 3, listed([1, 2, 3])),
        ("angle", 3, listed([1, 2, 3])),
        ("crossing", 4, [*listed([1, 2]), "semicolon", *listed([3, 4], 2)]),
        ("inside", 4, [*city(1), "semicolon", *listed([2, 3, 4])]),
        ("perimeter", 2, listed([1, 2])),
        ("perimeter", 5, listed([1, 2, 3, 4, 5])),
        ("nearest_neighbor", 1, [*city(1), "comma", "k"]),
        ("randomwalk", 0, ["max_step", "comma", "length"]),
        ("center", 1, [*city(1), "semicolon", "in_name", "in_equals", "in"]),
        ("center", 2, [*listed([1, 2]), "semicolon", "in_name", "in_equals", "in"]),
        ("circlecount", 1, [*city(1), "comma", "radius_name", "radius_equals", "radius"]),
        (
            "randring",
            1,
            [
                *city(1),
                *("comma1", "radius_min_name", "radius_min_equals", "radius_min"),
                *("comma2", "radius_max_name", "radius_max_equals", "radius_max"),
                *("comma3", "k_name", "k_equals", "k"),
            ],
        ),
    ],
)
def test_pieces_are_called_by_their_role(task_type, num_cities, names):
    prompt = drawn(task_type, num_cities)
    found = [piece.name for piece in prompt.pieces]
    assert found == ["task", "open_paren", *names, "close_paren", "equals"]


@pytest.mark.parametrize("task_type", TASKS)
def test_pieces_are_what_they_are_called(task_type):
    for prompt in TASKS[task_type].draw(CITIES, 100, np.random.default_rng(0)):
        texts = {piece.name: piece.text for piece in prompt.pieces}
        assert len(texts) == len(prompt.pieces)  # no name twice
        assert prompt.text.endswith(")=")
        assert " " not in prompt.text + prompt.answer
        for name, text in texts.items():
            marks = {"comma": ",", "semicolon": ";", "open_paren": "(", "close_paren": ")"}
            if mark := marks.get(name.rstrip("0123456789")):
                assert text == mark
            if name.endswith("equals"):
                assert text == "="


@pytest.mark.parametrize("task_type", TASKS)
def test_what_differs_is_a_field_and_what_does_not_is_none(task_type):
    found = {}
    for prompt in TASKS[task_type].draw(CITIES, 300, np.random.default_rng(0)):
        for piece in prompt.pieces:
            found.setdefault((piece.name, piece.is_field), set()).add(piece.text)
    for (name, is_field), texts in found.items():
        assert (len(texts) > 1) == is_field or "digit" in name


def test_digits_and_ends_of_cities_have_other_names():
    names = {piece.name: piece.other_names for piece in drawn("distance").pieces}
    assert names["city1_c"] == ("city1_start",)
    assert names["city2_digit4"] == ("city2_last_digit", "city2_end")
    assert names["city2_digit3"] == names["comma"] == ()


@pytest.mark.parametrize("task_type", TASKS)
def test_values_tell_of_the_cities_in_order_of_appearance(task_type):
    for prompt in TASKS[task_type].draw(CITIES, 50, np.random.default_rng(0)):
        for number, city_id in enumerate(re.findall(r"c_(\d{4})", prompt.text), start=1):
            row = CITIES.row_of(int(city_id))
            assert prompt.values[f"city{number}_id"] == int(city_id)
            assert prompt.values[f"city{number}_x"] == CITIES.x[row]
            assert prompt.values[f"city{number}_y"] == CITIES.y[row]
            assert prompt.values[f"city{number}_region"] == CITIES.regions[row]
        assert str(prompt.values["answer"]) == prompt.answer
        for piece in prompt.pieces:
            if piece.name in prompt.values:
                assert str(prompt.values[piece.name]) == piece.text


def test_values_of_pairs_tell_distance_and_direction():
    for one, other in zip(
        *(
            TASKS[name].draw(CITIES, 20, np.random.default_rng(0))
            for name in ("distance", "compass")
        ),
        strict=True,
    ):
        assert one.values["distance"] == other.values["distance"]
        assert round(one.values["distance"]) == one.values["answer"]
        assert one.values["direction"] == other.values["answer"] == other.answer


def test_the_other_answer_is_known_where_there_are_two():
    for task_type in ("crossing", "inside"):
        for prompt in TASKS[task_type].draw(CITIES, 20, np.random.default_rng(0)):
            assert {prompt.answer, prompt.wrong_answer} == {"TRUE", "FALSE"}
    assert drawn("distance").wrong_answer is None


def test_ids_have_four_digits():
    assert [city_text(number) for number in (0, 865, 9999)] == ["c_0000", "c_0865", "c_9999"]
