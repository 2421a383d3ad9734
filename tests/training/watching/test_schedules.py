"""Which steps are measured."""

import pytest

from backlight.errors import ConfigError
from backlight.training.watching.schedules import every, log_spaced, make_schedule


def due(schedule, last):
    return [step for step in range(1, last + 1) if schedule(step)]


def test_every_n_measures_the_first_step_and_all_multiples():
    assert due(every(4), 13) == [1, 4, 8, 12]
    assert due(every(1), 3) == [1, 2, 3]


def test_log_spaced_steps_are_all_in_the_beginning_and_even_per_decade():
    steps = due(log_spaced(5), 10_000)
    assert steps[:6] == [1, 2, 3, 4, 6, 10]
    assert steps[6:] == [
        16,
        25,
        40,
        63,
        100,
        158,
        251,
        398,
        631,
        1000,
        1585,
        2512,
        3981,
        6310,
        10_000,
    ]
    assert log_spaced(1)(10**15)


def test_a_number_or_any_function_is_a_schedule():
    assert make_schedule(3).words == "every 3"
    assert due(make_schedule(lambda step: step in (2, 5)), 9) == [2, 5]
    assert make_schedule(every(2)).words == "every 2"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: every(0), "cannot be measured every 0; give 1 or more"),
        (lambda: log_spaced(0), "cannot have 0 measured"),
        (lambda: make_schedule(True), "True is no schedule"),
    ],
)
def test_what_is_no_schedule_is_said(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
