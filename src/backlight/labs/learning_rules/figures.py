"""Figures of learning rules: curves of training, and angles on the way."""

from collections.abc import Mapping
from functools import partial

from backlight.labs.characters.curves import STEPS_IN_A_POINT
from backlight.labs.learning_rules.options import LearningRulesConfig
from backlight.report.plots import Panel, Plot


def rule_plots(config: LearningRulesConfig, heights: Mapping[str, float]) -> list[Plot]:
    """Describe the figures.

    Args:
        config: The options.
        heights: The yardsticks: validation losses of models that hardly know anything.

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
                title=f"{attention} attention; lines across: loss of a guess from",
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
    shown = [
        ("gradient_angle", rule, f"{rule}: gradients of weights")
        for rule in config.rules
        if rule != "bp"
    ]
    if "fa" in config.rules:
        shown.append(("error_angle", "fa", "fa: errors, B d and W'd"))
    return Plot(
        name=f"learning_rule_angles_{attention}",
        title=f"Angles between a rule and backpropagation, {attention} attention, means over the "
        "weight matrices of a block",
        columns=3,
        panels=[
            shared(y=angle, where={"rule": rule, "attention": attention}, title=title)
            for angle, rule, title in shown
        ],
    )
