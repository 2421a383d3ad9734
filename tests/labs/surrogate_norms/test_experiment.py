"""Costs of replaced norms on a tiny network: paired, taken apart, and none dropped in silence."""

import numpy as np
import pytest
import torch
from scipy import stats

from backlight.data.characters import characters_of
from backlight.labs.call import lab
from backlight.labs.characters import learning
from backlight.labs.characters.learning import (
    DivergedError,
    Lesson,
    attempt,
    learn,
    make_network,
    validation_loss,
)
from backlight.labs.surrogate_norms.experiment import experiment
from backlight.labs.surrogate_norms.options import SurrogateNormsConfig
from backlight.surveys.driver.trials import TrialRunner
from zoo.labs import SENTENCES, rows


def options(text, **others):
    sizes = {"batch_size": 4, "block_size": 8, "n_layer": 1, "n_head": 2, "n_embd": 16}
    steps = {"num_steps": 5, "learning_rate": 0.01, "seeds": 2}
    return SurrogateNormsConfig(text=text, **{**sizes, **steps, **others})


@pytest.fixture(scope="module")
def findings(text):
    torch.set_num_threads(1)
    return experiment(options(text, seeds=3, methods=("fa",)), TrialRunner("cpu", None))


def table(findings, name):
    return next(table for table in findings.tables if table.name == name)


def test_a_cost_is_a_paired_comparison_over_seeds(findings):
    costs, seeds = table(findings, "costs"), table(findings, "seeds")
    assert costs.num_rows == 2 * 5
    assert seeds.num_rows == 3 * 2 * 5
    for attention in ("softmax", "sigmoid"):
        true = rows(seeds, attention=attention, norm_backward="true")["validation_loss"]
        for name in ("center_scale", "scale", "projected", "identity"):
            found = rows(costs, condition=f"fa, {attention}", norm_backward=name)
            losses = rows(seeds, attention=attention, norm_backward=name)["validation_loss"]
            test = stats.ttest_rel(losses, true)
            interval = test.confidence_interval(0.95)
            assert found["cost"][0] == pytest.approx((losses - true).mean())
            assert found["p"][0] == pytest.approx(test.pvalue)
            assert found["cost_low"][0] == pytest.approx(interval.low)
            assert found["cost_high"][0] == pytest.approx(interval.high)
    assert (rows(costs, norm_backward="true")["cost"] == 0).all()
    assert np.isnan(rows(costs, norm_backward="true")["p"]).all()


def test_attentions_are_compared_within_seeds(findings):
    contrasts, seeds = table(findings, "contrasts"), table(findings, "seeds")
    found = rows(contrasts, norm_backward="center_scale")
    soft, sigmoid = (
        rows(seeds, attention=attention, norm_backward="center_scale")["cost"]
        for attention in ("softmax", "sigmoid")
    )
    assert found["softmax_less_sigmoid"][0] == pytest.approx((soft - sigmoid).mean())
    assert found["p"][0] == pytest.approx(stats.ttest_rel(soft, sigmoid).pvalue)
    answer = next(remark for remark in findings.remarks if "center_scale costs" in remark)
    assert answer.startswith("fa: ")
    assert f"{found['softmax_less_sigmoid'][0]:+.4f} nats more with softmax" in answer


def test_a_training_is_that_of_a_network_made_by_hand(findings, text):
    config, characters = options(text), characters_of(SENTENCES)
    how = {"attn_mode": "sigmoid", "method": "fa", "norm_backward": "identity"}
    model = make_network(config, characters, 1338, **how)
    learn(model, Lesson(config, characters, 1338, torch.device("cpu")))
    found = rows(table(findings, "seeds"), seed=1338, attention="sigmoid", norm_backward="identity")
    assert found["validation_loss"][0] == validation_loss(model, characters)


def test_what_is_predicted_of_each_surrogate_is_what_its_formula_says(findings):
    costs, norms = table(findings, "costs"), table(findings, "predictions")
    lost = {
        name: rows(costs, condition="fa, softmax", norm_backward=name)["direction_lost"][0]
        for name in ("true", "center_scale", "scale", "projected", "identity")
    }
    assert lost["true"] == 0
    assert lost["projected"] == pytest.approx(0, abs=1e-6)  # of the right direction
    assert 0 < lost["center_scale"] < lost["scale"] == pytest.approx(lost["identity"])
    assert norms["norm"][:3].tolist() == ["h.0.ln_1", "h.0.ln_2", "ln_f"]
    longer = rows(norms, norm_backward="center_scale")["length_ratio"]
    assert (longer > 1).all()  # a part that the true one takes out is left in
    angles = rows(costs, norm_backward="center_scale")["gradient_angle"]
    assert (angles > 1).all()


def test_a_training_that_diverges_is_shown_and_its_seed_is_left_out(text, monkeypatch):
    def unsteady(model, lesson, **options):
        if model.config.norm_backward == "identity" and lesson.seed == 1338:
            raise DivergedError("It diverged.", step=2, losses=np.array([2.0, 9.0, np.nan]))
        return learn(model, lesson, **options)

    monkeypatch.setattr(learning, "learn", unsteady)
    config = options(text, methods=("bp",), surrogates=("identity",), seeds=3)
    found = experiment(config, TrialRunner("cpu", None))
    costs = rows(table(found, "costs"), norm_backward="identity", condition="bp, softmax")
    assert costs["diverged"].tolist() == [1]
    seeds = rows(table(found, "seeds"), norm_backward="identity", attention="softmax")
    assert seeds["diverged_at"].tolist() == [-1, 2, -1]
    assert costs["cost"][0] == pytest.approx(seeds["cost"][[0, 2]].mean())
    assert any("2 of 12 trainings diverged" in remark for remark in found.remarks)
    assert any("bp, softmax, identity, seed 1338: step 2" in remark for remark in found.remarks)


def test_an_attempt_that_diverges_keeps_its_losses_until_then(text):
    config, characters = options(text, learning_rate=1e30), characters_of(SENTENCES)
    lesson = Lesson(config, characters, 1, torch.device("cpu"))
    found = attempt(make_network(config, characters, 1), lesson)
    step = int(found["diverged_at"])
    assert 0 < step < 5
    assert np.isfinite(found["losses"][:step]).all()
    assert not np.isfinite(found["losses"][step:]).any()
    assert np.isnan(found["validation_loss"])


def test_a_network_that_can_only_not_be_tested_has_diverged_too(text, monkeypatch):
    monkeypatch.setattr(learning, "validation_loss", lambda model, text: float("inf"))
    config, characters = options(text), characters_of(SENTENCES)
    lesson = Lesson(config, characters, 1, torch.device("cpu"))
    found = attempt(make_network(config, characters, 1), lesson)
    assert int(found["diverged_at"]) == 5
    assert np.isnan(found["validation_loss"])


def test_an_experiment_in_which_all_diverges_still_ends(text):
    config = options(
        text, methods=("bp",), surrogates=("scale",), attn_modes=("softmax",), learning_rate=1e30
    )
    found = experiment(config, TrialRunner("cpu", None))
    assert table(found, "costs")["diverged"].tolist() == [2, 2]
    assert np.isnan(table(found, "costs")["cost"]).all()


def test_one_seed_says_that_it_proves_nothing(text, tmp_path):
    config = options(text, seeds=1, methods=("bp",), num_steps=3).model_dump(
        exclude={"output_dir", "save_outputs"}
    )
    results = lab("surrogate-norms", **config, output_dir=tmp_path / "run")
    assert set(results.tables) == {"costs", "contrasts", "predictions", "curves", "seeds"}
    assert {path.name for path in (tmp_path / "run").glob("*.png")} == {
        "surrogate_norms.png",
        "surrogate_norm_curves.png",
    }
    assert any("One seed: no intervals" in remark for remark in results.metadata["remarks"])
