"""What does a simpler backward of the layer norms cost, and does it follow from their Jacobian?

    backlight lab surrogate-norms
    backlight lab surrogate-norms --text my.txt --methods fa --seeds 10

A small GPT learns characters while the backward of all its norms is ``true``, or one of the
surrogates (``backlight.learning_rules.norms`` has the formulas). All networks of a seed start from
the same weights and see the same batches, so the cost of a surrogate is a difference within seeds:

    cost = validation loss with the surrogate - validation loss with the true backward.

Beside it stands what could be said beforehand, from the network that learned with the true
backward: ``direction_lost``, 1 - cosine of surrogate and true gradient, and ``length_ratio``, both
at each norm for the same gradient behind it; and ``gradient_angle``, between the gradients of
weights with all norms replaced and with none. Two more are known afterwards, of the network that
learned with the surrogate: ``own_direction_lost``, and ``sigma``, what its norms divide by.
"""

from functools import partial
from itertools import product, starmap

import numpy as np
from numpy.typing import NDArray

from backlight.labs.characters.alignment import gradient_angles
from backlight.labs.characters.backward import matrix_gradients
from backlight.labs.characters.learning import Batch, Lesson, attempt, make_network, open_text
from backlight.labs.characters.norm_parts import take_norms_apart
from backlight.labs.frame.repeating import Arrays
from backlight.labs.surrogate_norms.figures import cost_plots
from backlight.labs.surrogate_norms.options import SurrogateNormsConfig
from backlight.labs.surrogate_norms.tables import Condition, cost_remarks, cost_tables
from backlight.learning_rules import LocalGPT, surrogate_norm
from backlight.surveys.driver.trials import LabFindings, TrialRunner


def experiment(config: SurrogateNormsConfig, runner: TrialRunner) -> LabFindings:
    """Train with every backward, and say what each costs.

    Args:
        config: The options.
        runner: Where trials are carried out.

    Returns:
        Tables ``costs`` (one row for each rule, attention and surrogate), ``contrasts`` (softmax
        less sigmoid), ``predictions`` (at each norm), ``curves`` and ``seeds`` (everything),
        figures, and what they say.
    """
    text = open_text(config)

    def trial(method: str, attention: str, norm_backward: str, seed: int) -> Arrays:
        options = {"attn_mode": attention, "method": method, "norm_backward": norm_backward}
        model = make_network(config, text, seed, **options).to(runner.device)
        lesson = Lesson(config, text, seed, runner.device)
        found = attempt(model, lesson)
        if found["diverged_at"] >= 0:
            return found
        rows = lesson.draw()
        angles = _angles(model, rows, config.surrogates) if norm_backward == "true" else {}
        parts = take_norms_apart(model, rows, without_gain=False)
        return {**found, **angles, **parts}

    # Seed by seed, because costs are differences within seeds.
    backwards = ("true", *config.surrogates)
    ran = starmap(Condition, product(config.methods, config.attn_modes, backwards))
    conditions = list(dict.fromkeys(ran))
    trials = {
        f"{seed}, {', '.join(condition)}": partial(trial, *condition, seed)
        for seed in config.all_seeds
        for condition in conditions
    }
    done = list(runner.carry_out(trials).values())
    found = {condition: done[row :: len(conditions)] for row, condition in enumerate(conditions)}
    costs, contrasts, *others = cost_tables(config, found)
    return LabFindings(
        tables=(costs, contrasts, *others),
        plots=cost_plots(config),
        printed=("costs", *(["contrasts"] if len(config.attn_modes) > 1 else [])),
        remarks=[
            f"{len(text.train):,} characters to learn from, {config.num_steps} steps, "
            f"{config.seeds} seed(s) from {config.seed} on, {len(trials)} trainings.",
            *cost_remarks(config, found, costs, contrasts),
        ],
    )


def _angles(
    model: LocalGPT, rows: Batch, surrogates: tuple[str, ...]
) -> dict[str, NDArray[np.float64]]:
    """Measure how far each surrogate turns the gradients of weights.

    Args:
        model: It learned with the true backward.
        rows: The batch.
        surrogates: Their names.

    Returns:
        ``angle_{surrogate}``: of each weight matrix but the head's, to whose gradient no norm is on
        the way back.
    """
    true, angles = matrix_gradients(model, rows), {}
    for name in surrogates:
        with surrogate_norm(model, name):
            turned = gradient_angles(true, matrix_gradients(model, rows))
        angles[f"angle_{name}"] = turned[:-1].cpu().numpy()
    return angles
