"""Trials: carried out once, kept one by one, and the same after a stop."""

import numpy as np
import pytest
import torch

from backlight.runs.directory import RunDirectory
from backlight.surveys.driver.trials import TrialRunner


def drawn(seed):
    torch.manual_seed(seed)
    return {"values": torch.rand(3).numpy(), "more/of it": np.array(seed)}


def directory(tmp_path):
    return RunDirectory.create(tmp_path / "run", {}, {"command": "lab test"})


def test_trials_come_back_in_the_order_in_which_they_were_asked_for():
    runner = TrialRunner("cpu", None)
    runner.carry_out({"b": lambda: drawn(2)})
    found = runner.carry_out({"a": lambda: drawn(1), "b": lambda: pytest.fail("again")})
    assert list(found) == ["a", "b"]


def test_a_stopped_experiment_goes_on_with_the_first_trial_that_is_missing(tmp_path):
    run = directory(tmp_path)
    trials = {f"seed {seed}, a|b": lambda seed=seed: drawn(seed) for seed in range(3)}

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TrialRunner("cpu", run).carry_out({**trials, "seed 2, a|b": stop})
    done = [name for name in trials if name != "seed 2, a|b"]
    again = {name: (lambda: pytest.fail("carried out twice")) for name in done}
    resumed = TrialRunner("cpu", run)
    resumed.carry_out({**again, "seed 2, a|b": trials["seed 2, a|b"]})
    whole = TrialRunner("cpu", None)
    whole.carry_out(trials)
    assert resumed.state().keys() == whole.state().keys()
    assert all(np.array_equal(a, resumed.state()[key]) for key, a in whole.state().items())


def test_a_trial_leaves_the_random_numbers_of_others_alone():
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    TrialRunner("cpu", None).carry_out({"a": lambda: drawn(9)})
    assert torch.equal(torch.rand(2), expected)
