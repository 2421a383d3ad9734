"""How well does each learning rule learn, and how far is it from backpropagation on its way?

    backlight lab learning-rules
    backlight lab learning-rules --text my.txt --seeds 3 --num_steps 1000

A small GPT learns characters by each rule, once with softmax and once with sigmoid attention. All
networks of a seed start from the same weights and see the same batches. Along the way, on one more
batch, two angles are measured (``labs.characters.alignment``): between the error that a linear map
sends on and the one that backpropagation would (``error_angle``), and between the gradient of each
weight matrix and backpropagation's at the same weights (``gradient_angle``). Below 90 degrees a
step still leads downhill.

A validation loss means little by itself, so three yardsticks stand beside it: a model that knows
nothing, one that knows how often each character occurs, and one that knows the last character.
"""

from functools import partial

import numpy as np

from backlight.data.characters import Characters
from backlight.labs.characters.alignment import error_angles, gradient_angles
from backlight.labs.characters.backward import matrix_gradients, matrix_names
from backlight.labs.characters.learning import Lesson, attempt, make_network, open_text
from backlight.labs.frame.repeating import Arrays, repeat
from backlight.labs.learning_rules.figures import rule_plots
from backlight.labs.learning_rules.options import LearningRulesConfig
from backlight.labs.learning_rules.tables import ANGLES, rule_remarks, rule_tables
from backlight.surveys.driver.trials import LabFindings, TrialRunner

_NUM_OBSERVED = 9
_PROBE = 10**6  # added to a seed: the batch on which angles are measured


def experiment(config: LearningRulesConfig, runner: TrialRunner) -> LabFindings:
    """Train by every rule, measuring angles on the way.

    Args:
        config: The options.
        runner: Where trials are carried out.

    Returns:
        Tables ``rules`` (one row for each rule and attention), ``blocks`` (angles by block and
        step), ``matrices`` (angles by weight matrix and step), ``curves`` and ``seeds``, figures,
        and what they say.
    """
    text, steps = open_text(config), observed_steps(config.num_steps)

    def trial(rule: str, attention: str, seed: int) -> Arrays:
        plain = make_network(config, text, seed, attn_mode=attention).to(runner.device)
        options = {"attn_mode": attention, **_options(rule)}
        model = make_network(config, text, seed, **options).to(runner.device)
        probe = Lesson(config, text, seed + _PROBE, runner.device).draw()
        angles = np.full((len(ANGLES), len(steps), len(matrix_names(model))), np.nan)

        def observe(row: int) -> None:
            true = matrix_gradients(plain, probe, dict(model.named_parameters()))
            turned = gradient_angles(true, matrix_gradients(model, probe))
            angles[:, row] = error_angles(model, probe).numpy(), turned.cpu().numpy()

        observations = {step: partial(observe, row) for row, step in enumerate(steps)}
        lesson = Lesson(config, text, seed, runner.device)
        found = attempt(model, lesson, observe=observations)
        return {**found, **dict(zip(ANGLES, angles, strict=True))}

    axes = {"rule": config.rules, "attention": config.attn_modes}
    found = repeat(runner, trial, axes, config.all_seeds, "{rule}, {attention}, seed {seed}")
    matrices = matrix_names(make_network(config, text, 0))
    heights = yardsticks(text)
    return LabFindings(
        tables=rule_tables(config, found, steps, matrices),
        plots=rule_plots(config, heights),
        printed=("rules",),
        remarks=rule_remarks(config, found, heights, text),
    )


def observed_steps(num_steps: int) -> list[int]:
    """Choose when angles are measured: at the start, at the end, and evenly in the logarithm.

    Args:
        num_steps: The number of steps of the training.

    Returns:
        At most ten steps, rising.
    """
    spread = np.geomspace(1, num_steps, _NUM_OBSERVED).round().astype(int)
    return sorted({0, *spread.tolist()})


def yardsticks(text: Characters) -> dict[str, float]:
    """Compute the validation loss of models that hardly know anything.

    Args:
        text: Counts, each plus one, are those of the part to learn from.

    Returns:
        In nats per character, of a model for which all characters are alike, one that knows how
        often each occurs, and one that knows how often each follows each.
    """
    size, train, val = len(text.vocabulary), text.train.astype(int), text.val.astype(int)
    singles = np.bincount(train, minlength=size) + 1
    pairs = np.bincount(size * train[:-1] + train[1:], minlength=size**2).reshape(size, size) + 1
    single_losses = -np.log(singles / singles.sum())
    pair_losses = -np.log(pairs / pairs.sum(axis=1, keepdims=True))
    return {
        "nothing": float(np.log(size)),
        "frequencies": float(single_losses[val].mean()),
        "last character": float(pair_losses[val[:-1], val[1:]].mean()),
    }


def _options(rule: str) -> dict[str, str]:
    method, _, points = rule.partition("_") if rule.startswith("dfa") else (rule, "", "")
    return {"method": method, "dfa_points": points or "macro"}
