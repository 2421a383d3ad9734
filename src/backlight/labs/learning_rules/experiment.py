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

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from backlight.data.characters import Characters
from backlight.labs.characters.alignment import (
    error_angles,
    gradient_angles,
    matrix_gradients,
    matrix_names,
)
from backlight.labs.characters.curves import curve, known_mean
from backlight.labs.characters.learning import Lesson, attempt, make_network, open_text
from backlight.labs.frame.intervals import Estimate, estimate
from backlight.labs.frame.notebook import Findings, Notebook
from backlight.labs.learning_rules.options import LearningRulesConfig
from backlight.labs.learning_rules.shown import rule_plots, rule_remarks
from backlight.tables import Table

_NUM_OBSERVED = 9
_PROBE = 10**6  # added to a seed: the batch on which angles are measured
_ANGLES = ("error_angle", "gradient_angle")
_HEAD = "lm_head"

Found: TypeAlias = Mapping[tuple[str, str, int], Mapping[str, NDArray[Any]]]
"""What each training gave, by rule, attention and seed."""


def experiment(config: LearningRulesConfig, notebook: Notebook) -> Findings:
    """Train by every rule, measuring angles on the way.

    Args:
        config: The options.
        notebook: Where trials are carried out.

    Returns:
        Tables ``rules`` (one row for each rule and attention), ``blocks`` (angles by block and
        step), ``matrices`` (angles by weight matrix and step), ``curves`` and ``seeds``, figures,
        and what they say.
    """
    text, steps = open_text(config), observed_steps(config.num_steps)

    def trial(rule: str, attention: str, seed: int) -> Mapping[str, NDArray[Any]]:
        plain = make_network(config, text, seed, attn_mode=attention).to(notebook.device)
        options = {"attn_mode": attention, **_options(rule)}
        model = make_network(config, text, seed, **options).to(notebook.device)
        probe = Lesson(config, text, seed + _PROBE, notebook.device).draw()
        angles = np.full((len(_ANGLES), len(steps), len(matrix_names(model))), np.nan)

        def observe(row: int) -> None:
            true = matrix_gradients(plain, probe, dict(model.named_parameters()))
            turned = gradient_angles(true, matrix_gradients(model, probe))
            angles[:, row] = error_angles(model, probe).numpy(), turned.cpu().numpy()

        observations = {step: partial(observe, row) for row, step in enumerate(steps)}
        lesson = Lesson(config, text, seed, notebook.device)
        found = attempt(model, lesson, observe=observations)
        return {**found, **dict(zip(_ANGLES, angles, strict=True))}

    ran: list[tuple[str, str, int]] = list(
        product(config.rules, config.attn_modes, config.all_seeds)
    )
    names = [f"{rule}, {attention}, seed {seed}" for rule, attention, seed in ran]
    trials = {name: partial(trial, *words) for name, words in zip(names, ran, strict=True)}
    found = dict(zip(ran, notebook.carry_out(trials).values(), strict=True))
    matrices = _matrices(found, steps, matrix_names(make_network(config, text, 0)))
    rules, heights = _rules(config, found), yardsticks(text)
    return Findings(
        tables=(rules, _blocks(matrices), matrices, _curves(config, found), _seeds(found)),
        plots=rule_plots(config, heights),
        printed=("rules",),
        remarks=rule_remarks(config, found, heights, text),
    )


def observed_steps(num_steps: int) -> list[int]:
    """Choose when angles are measured: at the start, at the end, and evenly in the logarithm.

    Args:
        num_steps: Of the training.

    Returns:
        At most ten steps, rising.
    """
    spread = np.geomspace(1, num_steps, _NUM_OBSERVED).round().astype(int)
    return sorted({0, *spread.tolist()})


def yardsticks(text: Characters) -> dict[str, float]:
    """Give the validation loss of models that hardly know anything.

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


def _rules(config: LearningRulesConfig, found: Found) -> Table:
    """Average over seeds; angles at the end."""
    ran = list(product(config.rules, config.attn_modes))

    def over_seeds(name: str) -> list[Estimate]:
        trials = [[found[(*words, seed)] for seed in config.all_seeds] for words in ran]
        return [estimate(np.array([_at_the_end(trial, name) for trial in of])) for of in trials]

    columns = {"rule": np.array([r for r, _ in ran]), "attention": np.array([a for _, a in ran])}
    for name in ("validation_loss", *_ANGLES):
        estimates = over_seeds(name)
        columns[name] = np.array([one.mean for one in estimates])
        if config.seeds > 1:
            columns[f"{name}_low"] = np.array([one.low for one in estimates])
            columns[f"{name}_high"] = np.array([one.high for one in estimates])
    columns["diverged"] = np.array(
        [sum(int(found[(*w, seed)]["diverged_at"]) >= 0 for seed in config.all_seeds) for w in ran]
    )
    units = {
        name: "nats" if name.startswith("validation") else "degrees"
        for name in columns
        if name.startswith(("validation", *_ANGLES))
    }
    return Table(name="rules", columns=columns, units=units)


def _at_the_end(trial: Mapping[str, NDArray[Any]], name: str) -> float:
    """Give a loss, or the mean of the last angles; gradients at the head are exact and left out."""
    if name == "validation_loss":
        return float(trial[name])
    return known_mean(trial[name][-1, :-1] if name == "gradient_angle" else trial[name][-1])


def _matrices(found: Found, steps: Sequence[int], names: Sequence[str]) -> Table:
    """Lay out every angle."""
    each = len(steps) * len(names)
    return Table(
        name="matrices",
        columns={
            "rule": np.repeat([rule for rule, _, _ in found], each),
            "attention": np.repeat([attention for _, attention, _ in found], each),
            "seed": np.repeat([seed for _, _, seed in found], each),
            "step": np.tile(np.repeat(steps, len(names)), len(found)),
            "matrix": np.tile(names, len(found) * len(steps)),
            **{
                name: np.concatenate([trial[name].ravel() for trial in found.values()])
                for name in _ANGLES
            },
        },
        units=dict.fromkeys(_ANGLES, "degrees"),
    )


def _blocks(matrices: Table) -> Table:
    """Average over the matrices of a block and over seeds."""
    blocks = np.array([_block(name) for name in matrices["matrix"].tolist()])
    by = [matrices[name].tolist() for name in ("rule", "attention", "step")]
    groups: dict[tuple[Any, ...], list[int]] = {}
    for row, key in enumerate(zip(*by, blocks.tolist(), strict=True)):
        groups.setdefault(key, []).append(row)
    keys = list(zip(*groups, strict=True))
    return Table(
        name="blocks",
        columns={
            "rule": np.array(keys[0]),
            "attention": np.array(keys[1]),
            "step": np.array(keys[2]),
            "step_plus_1": np.array(keys[2]) + 1,
            "block": np.array(keys[3]),
            **{
                name: np.array([known_mean(matrices[name][rows]) for rows in groups.values()])
                for name in _ANGLES
            },
        },
        units=dict.fromkeys(_ANGLES, "degrees"),
    )


def _block(matrix: str) -> str:
    parts = matrix.split(".")
    return f"block {parts[1]}" if parts[0] == "h" else "head" if matrix == _HEAD else "embedding"


def _curves(config: LearningRulesConfig, found: Found) -> Table:
    """Average the losses of batches over ten steps and over seeds that got there."""
    ran = list(product(config.rules, config.attn_modes))
    losses = [[found[(*words, seed)]["losses"] for seed in config.all_seeds] for words in ran]
    drawn = [curve(np.array(of)) for of in losses]
    count = len(drawn[0][0])
    return Table(
        name="curves",
        columns={
            "rule": np.repeat([rule for rule, _ in ran], count),
            "attention": np.repeat([attention for _, attention in ran], count),
            "step": np.concatenate([steps for steps, _ in drawn]),
            "loss": np.concatenate([means for _, means in drawn]),
        },
        units={"loss": "nats"},
    )


def _seeds(found: Found) -> Table:
    return Table(
        name="seeds",
        columns={
            "rule": np.array([rule for rule, _, _ in found]),
            "attention": np.array([attention for _, attention, _ in found]),
            "seed": np.array([seed for _, _, seed in found]),
            "validation_loss": np.array([float(t["validation_loss"]) for t in found.values()]),
            "diverged_at": np.array([int(t["diverged_at"]) for t in found.values()]),
        },
        units={"validation_loss": "nats"},
    )
