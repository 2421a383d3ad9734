"""What learning rules are shown to do: figures, and plain sentences."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from numpy.typing import NDArray

from backlight.data.characters import Characters
from backlight.labs.characters.curves import STEPS_IN_A_POINT
from backlight.labs.learning_rules.options import LearningRulesConfig
from backlight.report.plots import Panel, Plot


def rule_plots(config: LearningRulesConfig, heights: Mapping[str, float]) -> list[Plot]:
    """Say which figures are drawn.

    Args:
        config: The options.
        heights: The yardsticks.

    Returns:
        Curves of training, and for each attention the angles.
    """
    turned = any(rule != "bp" for rule in config.rules)
    angles = [_angle_plot(config, attention) for attention in config.attn_modes if turned]
    return [_curve_plot(config, heights), *angles]


def _curve_plot(config: LearningRulesConfig, heights: Mapping[str, float]) -> Plot:
    return Plot(
        name="learning_rules",
        title=f"Training loss by learning rule, mean over {STEPS_IN_A_POINT} steps"
        + (f" and {config.seeds} seeds" if config.seeds > 1 else ""),
        panels=[
            Panel(
                table="curves",
                x="step",
                y="loss",
                series="rule",
                where={"attention": attention},
                levels={f"{name}: {height:.2f}": height for name, height in heights.items()},
                title=f"{attention} attention; lines across: validation loss of who knows",
            )
            for attention in config.attn_modes
        ],
    )


def _angle_plot(config: LearningRulesConfig, attention: str) -> Plot:
    shared = partial(
        Panel,
        table="blocks",
        x="step_plus_1",
        series="block",
        levels={"at random": 90.0},
        log="x",
        x_label="step + 1",
    )
    gradients = [
        shared(
            y="gradient_angle",
            where={"rule": rule, "attention": attention},
            title=f"{rule}: gradients of weights",
        )
        for rule in config.rules
        if rule != "bp"
    ]
    errors = [
        shared(
            y="error_angle",
            where={"rule": "fa", "attention": attention},
            title="fa: errors, B d and W'd",
        )
        for rule in config.rules
        if rule == "fa"
    ]
    return Plot(
        name=f"learning_rule_angles_{attention}",
        title=f"Angles between a rule and backpropagation, {attention} attention, means over the "
        "weight matrices of a block",
        columns=3,
        panels=[*gradients, *errors],
    )


def rule_remarks(
    config: LearningRulesConfig,
    found: Mapping[tuple[str, str, int], Mapping[str, NDArray[Any]]],
    heights: Mapping[str, float],
    text: Characters,
) -> list[str]:
    """Say what the numbers say.

    Args:
        config: The options.
        found: What each training gave, by rule, attention and seed.
        heights: The yardsticks.
        text: What was learned.

    Returns:
        Plain sentences.
    """
    diverged = [
        f"{rule}, {attention}, seed {seed}: step {int(trial['diverged_at'])}"
        for (rule, attention, seed), trial in found.items()
        if int(trial["diverged_at"]) >= 0
    ]
    known = ", ".join(f"{name} {height:.3f}" for name, height in heights.items())
    return [
        f"{len(text.train):,} characters to learn from, {config.num_steps} steps, "
        f"{config.seeds} seed(s) from {config.seed} on.",
        f"Yardsticks, validation loss of who knows: {known}.",
        "error_angle is the mean over tokens and linear maps of the angle between what the rule "
        "sends on and what backpropagation would; direct feedback does not go through linear maps, "
        "so it has none. gradient_angle is the mean over weight matrices but the head's, which "
        "learns exactly under every rule. Both at the end; 90 degrees is what chance gives.",
        f"Diverged: {'; '.join(diverged)}." if diverged else "No training diverged.",
    ]
