"""What do the ways to clip a gradient do to its direction, and to training through spikes?

    backlight lab clipping
    backlight lab clipping --clip_at 0.3 --degrees_of_freedom 1.2

A small network learns y = teacher(x) + noise by SGD, the noise being Student's t: now and then a
label is far off, and the loss and its gradient have a spike. Gradients are clipped by the global
norm (g c / ||g||, Pascanu et al. 2013), by the norm of each parameter alone, by value, or not.

Thresholds are matched: over gradients at the first weights, the mean length that is left is the
same. Theory: the global norm leaves the direction as it is, cosine 1. Where everything is clipped,
the norm of each of P parameters leaves cosine sum_p ||g_p|| / (sqrt(P) ||g||), and values, of n
entries, leave the signs: ||g||_1 / (sqrt(n) ||g||_2). torch multiplies by c / (||g|| + 1e-6), at
most 1, not by c / ||g||.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from backlight.labs.clipping.figures import clipping_plot
from backlight.labs.clipping.options import ClippingConfig
from backlight.labs.clipping.spiky_learning import (
    METHODS,
    Clip,
    Gradient,
    SpikyTask,
    cosine,
    flat,
    match_thresholds,
    part_norms,
)
from backlight.labs.clipping.tables import STRENGTHS, clipping_remarks, clipping_tables
from backlight.labs.frame.repeating import Arrays, repeat
from backlight.surveys.driver.trials import LabFindings, TrialRunner

_NUM_PILOTS = 50


def experiment(config: ClippingConfig, runner: TrialRunner) -> LabFindings:
    """Learn with each way to clip, and measure what it leaves of gradients.

    Args:
        config: The options.
        runner: Where trials are carried out.

    Returns:
        Tables ``methods`` (what each did in training), ``directions`` (cosines against strength),
        ``curves`` and ``torch_factor``; a figure; what they say.
    """

    def trial(seed: int) -> Arrays:
        task = SpikyTask(config, seed, runner.device)
        pilots = [task.gradient(task.network()) for _ in range(_NUM_PILOTS)]
        matched = match_thresholds(pilots, config.clip_at)
        found = _directions(pilots)
        for method in METHODS:
            clip = Clip(method, matched[method])
            for name, values in task.learn(clip).items():
                found[f"{method} {name}"] = values
            found[f"{method} threshold"] = np.array(clip.threshold)
        return found

    ((_, found),) = repeat(runner, trial, {}, config.all_seeds, "seed {seed}")
    methods, directions, factors, curves = clipping_tables(config, found)
    return LabFindings(
        tables=(methods, directions, factors, curves),
        plots=(clipping_plot(config),),
        printed=("methods", "directions", "torch_factor"),
        remarks=clipping_remarks(config, methods, directions, factors),
    )


def strong_limits(gradient: Gradient) -> dict[str, float]:
    """Predict the cosine with the gradient where everything is clipped.

    Args:
        gradient: One tensor for each parameter.

    Returns:
        By method.
    """
    values, norms = flat(gradient), part_norms(gradient)
    length = torch.linalg.vector_norm(values)
    return {
        "none": 1.0,
        "global norm": 1.0,
        "each parameter": (norms.sum() / (len(norms) ** 0.5 * length)).item(),
        "value": (values.abs().sum() / (len(values) ** 0.5 * length)).item(),
    }


def _directions(pilots: Sequence[Gradient]) -> dict[str, NDArray[np.float64]]:
    """Measure mean cosines against strength, and predict them for the strongest."""
    limits = [strong_limits(gradient) for gradient in pilots]
    found: dict[str, NDArray[np.float64]] = {
        f"{method} limit": np.array(np.mean([limit[method] for limit in limits]))
        for method in METHODS
    }
    thresholds = [match_thresholds(pilots, strength) for strength in STRENGTHS]
    for method in METHODS:
        clips = [Clip(method, matched[method]) for matched in thresholds]
        found[f"{method} cosines"] = np.array(
            [np.mean([cosine(clip(pilot), pilot) for pilot in pilots]) for clip in clips]
        )
    return found
