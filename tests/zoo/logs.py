"""Logs as other tools write them, all of one training."""

import json
import math
import random

__all__ = ["CURVE", "json_lines", "trainer_state"]


def _curve(num_steps):
    chance = random.Random(0)
    return [
        (
            10 * place,
            round(2 * math.exp(-place / 60) + 1.5 + chance.gauss(0, 0.03), 5),
            round(abs(0.4 + chance.gauss(0, 0.05)), 5),
            round(2e-5 * (1 - place / (num_steps + 1)), 9),
        )
        for place in range(1, num_steps + 1)
    ]


CURVE = _curve(60)
"""Step, loss, norm of the gradient, learning rate."""


def json_lines(rows=CURVE):
    return "".join(
        json.dumps({"step": step, "loss": loss, "grad_norm": norm}) + "\n"
        for step, loss, norm, _ in rows
    )


def trainer_state(history=None):
    """Write a state as the Trainer does: indented, with names in order."""
    rows = _trainer_rows() if history is None else history
    state = {"best_metric": None, "global_step": 600, "log_history": rows, "max_steps": 600}
    return json.dumps({**state, "stateful_callbacks": {"TrainerControl": {}}}, indent=2)


def _trainer_rows():
    rows = [
        {"epoch": step / 300, "grad_norm": norm, "learning_rate": rate, "loss": loss, "step": step}
        for step, loss, norm, rate in CURVE
    ]
    rows.insert(30, {"epoch": 1.0, "eval_loss": 1.9, "eval_runtime": 3.1, "step": 300})
    return [*rows, {"epoch": 2.0, "step": 600, "train_loss": 1.2, "train_runtime": 99.0}]
