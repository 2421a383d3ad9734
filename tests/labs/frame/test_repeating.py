"""Trials of conditions and seeds: named, carried out in order, stacked."""

import numpy as np

from backlight.labs.frame.repeating import repeat
from backlight.surveys.driver.trials import TrialRunner


def test_every_condition_meets_every_seed_and_the_seeds_are_stacked():
    runner = TrialRunner("cpu", None)

    found = repeat(
        runner,
        lambda rule, width, seed: {"sum": np.array([len(rule), width, seed])},
        {"rule": ("bp", "dfa"), "width": (8, 16)},
        range(3, 5),
        "{rule}, {width:g} wide, seed {seed}",
    )

    assert [condition for condition, _ in found] == [
        {"rule": "bp", "width": 8},
        {"rule": "bp", "width": 16},
        {"rule": "dfa", "width": 8},
        {"rule": "dfa", "width": 16},
    ]
    assert found[3][1]["sum"].tolist() == [[3, 16, 3], [3, 16, 4]]
    assert list(runner.results)[:2] == ["bp, 8 wide, seed 3", "bp, 8 wide, seed 4"]


def test_without_conditions_there_is_one_that_has_no_name():
    trial = {"seed": np.array(0)}

    found = repeat(TrialRunner("cpu", None), lambda seed: trial, {}, range(2), "seed {seed}")

    assert found[0][0] == {}
    assert found[0][1]["seed"].shape == (2,)
