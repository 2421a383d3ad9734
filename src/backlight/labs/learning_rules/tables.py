"""Tables of learning rules: what each reaches, its angles on the way, and what they say."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from backlight.data.characters import Characters
from backlight.labs.characters.curves import curve, known_mean
from backlight.labs.frame.estimates import over_seeds
from backlight.labs.frame.repeating import Arrays, Found
from backlight.labs.frame.tabulating import Block, stacked
from backlight.labs.learning_rules.options import LearningRulesConfig
from backlight.tables import Table

ANGLES: tuple[str, ...] = ("error_angle", "gradient_angle")
"""What is measured on the way, in this order."""

_DEGREES: Mapping[str, str] = dict.fromkeys(ANGLES, "degrees")


def rule_tables(
    config: LearningRulesConfig, found: Found, steps: Sequence[int], matrices: Sequence[str]
) -> list[Table]:
    """Tabulate what was found.

    Args:
        config: The options.
        found: What the seeds of each rule and attention measured.
        steps: At which angles were measured.
        matrices: The names of the network's weight matrices.

    Returns:
        ``rules``, ``blocks``, ``matrices``, ``curves`` and ``seeds``.
    """
    rules = stacked("rules", _rules(config, found))
    units = {name: "degrees" if "angle" in name else "nats" for name in rules if "_" in name}
    curves = [{**condition, **curve(arrays["losses"])} for condition, arrays in found]
    seeds = [
        {
            **condition,
            "seed": config.all_seeds,
            **{name: arrays[name] for name in ("validation_loss", "diverged_at")},
        }
        for condition, arrays in found
    ]
    return [
        replace(rules, units=units),
        stacked("blocks", _blocks(found, steps, matrices), _DEGREES),
        stacked("matrices", _matrices(config, found, steps, matrices), _DEGREES),
        stacked("curves", curves, {"loss": "nats"}),
        stacked("seeds", seeds, {"validation_loss": "nats"}),
    ]


def _rules(config: LearningRulesConfig, found: Found) -> Iterator[Block]:
    """Average over seeds; angles at the end. One seed has no intervals."""
    for condition, arrays in found:
        block = dict(condition)
        for name in ("validation_loss", *ANGLES):
            columns = over_seeds(name, _at_the_end(name, arrays))
            block |= columns if config.seeds > 1 else {name: columns[name]}
        yield {**block, "diverged": (arrays["diverged_at"] >= 0).sum()}


def _at_the_end(name: str, arrays: Arrays) -> NDArray[np.float64]:
    """Choose a loss, or average the last angles; gradients at the head are exact and left out."""
    if name == "validation_loss":
        return arrays[name]
    last = arrays[name][:, -1]
    return np.array([known_mean(row[:-1] if name == "gradient_angle" else row) for row in last])


def _matrices(
    config: LearningRulesConfig, found: Found, steps: Sequence[int], matrices: Sequence[str]
) -> Iterator[Block]:
    """Lay out every angle."""
    for (condition, arrays), (row, seed) in product(found, enumerate(config.all_seeds)):
        yield {
            **condition,
            "seed": seed,
            "step": np.repeat(steps, len(matrices)),
            "matrix": np.tile(matrices, len(steps)),
            **{name: arrays[name][row].ravel() for name in ANGLES},
        }


def _blocks(found: Found, steps: Sequence[int], matrices: Sequence[str]) -> Iterator[Block]:
    """Average over the matrices of a block and over seeds."""
    of_block = np.array([_block(name) for name in matrices])
    for (condition, arrays), (row, step) in product(found, enumerate(steps)):
        for block in dict.fromkeys(of_block.tolist()):
            angles = {name: arrays[name][:, row, of_block == block] for name in ANGLES}
            means = {name: known_mean(values) for name, values in angles.items()}
            yield {**condition, "step": step, "step_plus_1": step + 1, "block": block, **means}


def _block(matrix: str) -> str:
    parts = matrix.split(".")
    return (
        f"block {parts[1]}" if parts[0] == "h" else "head" if matrix == "lm_head" else "embedding"
    )


def rule_remarks(
    config: LearningRulesConfig, found: Found, heights: Mapping[str, float], text: Characters
) -> list[str]:
    """Write in sentences what the numbers say.

    Args:
        config: The options.
        found: What the seeds of each rule and attention measured.
        heights: The yardsticks.
        text: What was learned.

    Returns:
        Plain sentences.
    """
    diverged = [
        f"{', '.join(condition.values())}, seed {seed}: step {step}"
        for condition, arrays in found
        for seed, step in zip(config.all_seeds, arrays["diverged_at"], strict=True)
        if step >= 0
    ]
    known = ", ".join(f"{name} {height:.3f}" for name, height in heights.items())
    return [
        f"{len(text.train):,} characters to learn from, {config.num_steps} steps, "
        f"{config.seeds} seed(s) from {config.seed} on.",
        f"For comparison, the validation loss of a guess from: {known}.",
        "error_angle is the mean over tokens and linear maps of the angle between what the rule "
        "sends on and what backpropagation would; direct feedback does not go through linear maps, "
        "so it has none. gradient_angle is the mean over weight matrices but the head's, which "
        "learns exactly under every rule. Both at the end; 90 degrees is what chance gives.",
        f"Diverged: {'; '.join(diverged)}." if diverged else "No training diverged.",
    ]
