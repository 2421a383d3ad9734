"""All rules on a tiny network: what is exact, what is not disturbed, what is said."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from backlight.data.characters import characters_of
from backlight.labs.call import lab
from backlight.labs.characters import learning
from backlight.labs.characters.learning import DivergedError, Lesson, learn, make_network
from backlight.labs.learning_rules.experiment import experiment, observed_steps, yardsticks
from backlight.labs.learning_rules.options import LearningRulesConfig
from backlight.surveys.driver.trials import TrialRunner
from zoo.labs import SENTENCES, rows


def options(text, **others):
    sizes = {"batch_size": 4, "block_size": 8, "n_layer": 1, "n_head": 2, "n_embd": 16}
    steps = {"num_steps": 4, "learning_rate": 0.01}
    return LearningRulesConfig(text=text, **{**sizes, **steps, **others})


@pytest.fixture(scope="module")
def findings(text):
    torch.set_num_threads(1)
    runner = TrialRunner("cpu", None)
    return experiment(options(text, seeds=2), runner), runner


def tables(findings):
    return {table.name: table for table in findings[0].tables}


def test_there_is_one_row_for_each_rule_and_attention(findings):
    rules = tables(findings)["rules"]
    assert rules.num_rows == 12
    for rule, attention in zip(rules["rule"], rules["attention"], strict=True):
        seeds = rows(tables(findings)["seeds"], rule=rule, attention=attention)
        row = rows(rules, rule=rule, attention=attention)
        assert row["validation_loss"][0] == pytest.approx(seeds["validation_loss"].mean())
        assert row["validation_loss_low"][0] < row["validation_loss"][0]


def test_angles_are_measured_from_the_start_to_the_end(findings):
    matrices = tables(findings)["matrices"]
    assert sorted(set(matrices["step"].tolist())) == observed_steps(4)
    assert (observed_steps(4)[0], observed_steps(4)[-1]) == (0, 4)
    assert np.isfinite(matrices["gradient_angle"]).all()


def test_backpropagation_turns_nothing_and_no_rule_turns_the_head(findings):
    matrices = tables(findings)["matrices"]
    assert rows(matrices, rule="bp")["gradient_angle"].max() == 0
    assert rows(matrices, matrix="lm_head")["gradient_angle"].max() < 0.01


def test_signs_of_the_weights_point_better_than_random_feedback(findings):
    at_start = rows(tables(findings)["blocks"], step=0, block="block 0", attention="softmax")
    angle = dict(zip(at_start["rule"].tolist(), at_start["error_angle"], strict=True))
    assert 75 < angle["fa"] < 105  # chance
    assert angle["sign_uniform"] < angle["sign_random"] < 60
    assert np.isnan([angle["bp"], angle["dfa_macro"], angle["dfa_micro"]]).all()


def test_measuring_angles_does_not_disturb_the_training(findings, text):
    config, characters = options(text), characters_of(SENTENCES)
    for rule, how in {
        "fa": {"method": "fa"},
        "dfa_micro": {"method": "dfa", "dfa_points": "micro"},
    }.items():
        model = make_network(config, characters, 1338, attn_mode="sigmoid", **how)
        losses = learn(model, Lesson(config, characters, 1338, torch.device("cpu")))
        found = findings[1].results[f"{rule}, sigmoid, seed 1338"]["losses"]
        assert np.array_equal(losses, found)


def test_yardsticks_are_losses_of_counted_characters():
    text = characters_of("abab" * 10 + "abba")
    train, val = text.train.tolist(), text.val.tolist()
    single = {c: (train.count(c) + 1) / (len(train) + 2) for c in (0, 1)}
    pairs = list(pairwise(train))

    def follows(a, b):
        return (pairs.count((a, b)) + 1) / (sum(pair[0] == a for pair in pairs) + 2)

    expected = {
        "nothing": np.log(2),
        "frequencies": np.mean([-np.log(single[c]) for c in val]),
        "last character": np.mean([-np.log(follows(a, b)) for a, b in pairwise(val)]),
    }
    assert yardsticks(text) == pytest.approx(expected)


def test_a_rule_that_diverges_is_said_with_its_step_and_the_others_go_on(text, monkeypatch):
    def unsteady(model, lesson, **options):
        if model.config.method == "fa":
            message = "The training diverged."
            raise DivergedError(message, step=3, losses=np.array([2.0, 3.0, 9.0, np.inf]))
        return learn(model, lesson, **options)

    monkeypatch.setattr(learning, "learn", unsteady)
    config = options(text, rules=("bp", "fa"), attn_modes=("softmax",), num_steps=12)
    found = experiment(config, TrialRunner("cpu", None))
    by_name = {table.name: table for table in found.tables}
    assert by_name["rules"]["diverged"].tolist() == [0, 1]
    assert np.isnan(by_name["rules"]["validation_loss"]).tolist() == [False, True]
    assert by_name["seeds"]["diverged_at"].tolist() == [-1, 3]
    assert by_name["curves"]["loss"][2] == pytest.approx((2 + 3 + 9) / 3)
    assert found.remarks[-1] == "Diverged: fa, softmax, seed 1337: step 3."


def test_a_training_that_really_diverges_ends_no_experiment(text):
    config = options(text, rules=("bp",), attn_modes=("softmax",), learning_rate=1e30)
    found = experiment(config, TrialRunner("cpu", None))
    assert "Diverged: bp, softmax, seed 1337: step" in found.remarks[-1]


def test_the_command_keeps_tables_and_pictures(text, tmp_path):
    config = options(text, rules=("bp", "fa"), num_steps=3).model_dump(exclude={"output_dir"})
    results = lab("learning-rules", **config, output_dir=tmp_path / "run")
    assert set(results.tables) == {"rules", "blocks", "matrices", "curves", "seeds"}
    pictures = {path.name for path in (tmp_path / "run").glob("*.png")}
    assert pictures == {
        "learning_rules.png",
        "learning_rule_angles_softmax.png",
        "learning_rule_angles_sigmoid.png",
    }
    assert any(
        "For comparison, the validation loss of a guess" in remark
        for remark in results.metadata["remarks"]
    )
