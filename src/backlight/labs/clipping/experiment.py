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
most 1, not by the c / ||g|| of the document.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from backlight.config.labs import ClippingConfig
from backlight.labs.intervals import estimate
from backlight.labs.notebook import Findings, Notebook
from backlight.labs.spiky_learning import (
    METHODS,
    Clip,
    SpikyTask,
    cosine,
    match_thresholds,
)
from backlight.report.plots import Panel, Plot
from backlight.tables import Column, Table

__all__ = ["experiment", "strong_limits"]

_STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
_NUM_PILOTS, _NUM_CURVE = 50, 100
_TORCH_NORMS = (1e-7, 1e-6, 1e-5, 1e-3, 1.0, 100.0)

Arrays = Mapping[str, NDArray[np.float64]]


def experiment(config: ClippingConfig, notebook: Notebook) -> Findings:
    """Learn with each way to clip, and measure what it leaves of gradients.

    Args:
        config: The options.
        notebook: Where trials are carried out.

    Returns:
        Tables ``methods`` (what each did in training), ``directions`` (cosines against strength),
        ``curves`` and ``torch_factor``; a figure; what they say.
    """

    def trial(seed: int) -> Arrays:
        task = SpikyTask(config, seed, notebook.device)
        pilots = [task.gradient(task.network()) for _ in range(_NUM_PILOTS)]
        matched = match_thresholds(pilots, config.clip_at)
        found = _directions(pilots)
        for method in METHODS:
            clip = Clip(method, matched[method])
            for name, values in task.learn(clip).items():
                found[f"{method} {name}"] = values
            found[f"{method} threshold"] = np.array(clip.threshold)
        return found

    found = list(
        notebook.carry_out(
            {f"seed {seed}": partial(trial, seed) for seed in config.all_seeds}
        ).values()
    )
    methods, directions, factors = _methods(found), _tabulate_directions(found), _torch_factors()
    return Findings(
        tables=(methods, directions, factors, _curves(config, found)),
        plots=(_plot(config),),
        printed=("methods", "directions", "torch_factor"),
        remarks=_remarks(config, methods, directions, factors),
    )


def strong_limits(gradient: Sequence[Float[Tensor, "..."]]) -> dict[str, float]:
    """Predict the cosine with the gradient where everything is clipped.

    Args:
        gradient: One tensor for each parameter.

    Returns:
        By method.
    """
    flat = torch.cat([part.flatten() for part in gradient])
    norms = torch.stack([torch.linalg.vector_norm(part) for part in gradient])
    length = torch.linalg.vector_norm(flat)
    return {
        "none": 1.0,
        "global norm": 1.0,
        "each parameter": (norms.sum() / (len(norms) ** 0.5 * length)).item(),
        "value": (flat.abs().sum() / (len(flat) ** 0.5 * length)).item(),
    }


def _directions(pilots: Sequence[Sequence[Tensor]]) -> dict[str, NDArray[np.float64]]:
    """Measure mean cosines against strength, and predict them for the strongest."""
    limits = [strong_limits(gradient) for gradient in pilots]
    found = {
        f"{method} limit": np.array(np.mean([limit[method] for limit in limits]))
        for method in METHODS
    }
    thresholds = [match_thresholds(pilots, strength) for strength in _STRENGTHS]
    for method in METHODS:
        clips = [Clip(method, matched[method]) for matched in thresholds]
        found[f"{method} cosines"] = np.array(
            [np.mean([cosine(clip(pilot), pilot) for pilot in pilots]) for clip in clips]
        )
    return found


def _methods(found: Sequence[Arrays]) -> Table:
    """Say what each method did in training, over seeds."""
    rows: list[dict[str, float | np.floating[Any]]] = []
    for method in METHODS:
        lengths = [trial[f"{method} length"] for trial in found]
        cosines = [trial[f"{method} cosine"] for trial in found]
        clipped = [kept < 1 for kept in (trial[f"{method} kept"] for trial in found)]
        final = np.array([_final(trial[f"{method} error"]) for trial in found])
        error = estimate(np.log(final))  # heavy tails: a geometric mean
        inside = [c[is_clipped] for c, is_clipped in zip(cosines, clipped, strict=True)]
        met = np.concatenate(inside)
        rows.append(
            {
                "threshold": np.mean([trial[f"{method} threshold"] for trial in found]),
                "share_clipped": np.mean([is_clipped.mean() for is_clipped in clipped]),
                "cosine_if_clipped": met.mean() if len(met) else np.nan,
                "cosine_least": met.min() if len(met) else np.nan,
                "longest_step": np.median([length.max() for length in lengths]),
                "worst_jump": np.median([_jump(trial[f"{method} error"]) for trial in found]),
                "error": np.exp(error.mean),
                "error_low": np.exp(error.low),
                "error_high": np.exp(error.high),
                "diverged": np.mean(~np.isfinite(final)),
            }
        )
    columns: dict[str, Column] = {"method": np.array(METHODS)}
    for name in rows[0]:
        columns[name] = np.array([float(row[name]) for row in rows])
    return Table(name="methods", columns=columns)


def _final(errors: NDArray[np.float64]) -> float:
    """Average the last tenth; infinity if the training did not get there."""
    last = errors[-max(1, len(errors) // 10) :]
    return float(last.mean()) if np.isfinite(last).all() else np.inf


def _jump(errors: NDArray[np.float64]) -> float:
    """Find the largest rise of the error by one step."""
    rises = np.diff(errors)
    return float(rises.max()) if np.isfinite(errors).all() else np.inf


def _tabulate_directions(found: Sequence[Arrays]) -> Table:
    shown = [method for method in METHODS if method != "none"]
    cosines = [
        estimate(values)
        for method in shown
        for values in np.array([trial[f"{method} cosines"] for trial in found]).T
    ]
    limits = [np.mean([trial[f"{method} limit"] for trial in found]) for method in shown]
    return Table(
        name="directions",
        columns={
            "method": np.repeat(shown, len(_STRENGTHS)),
            "clip_at": np.tile(_STRENGTHS, len(shown)),
            "theory_all_clipped": np.repeat(np.array(limits, dtype=np.float64), len(_STRENGTHS)),
            "cosine": np.array([value.mean for value in cosines]),
            "cosine_low": np.array([value.low for value in cosines]),
            "cosine_high": np.array([value.high for value in cosines]),
        },
        units={"clip_at": "median norms"},
    )


def _torch_factors() -> Table:
    """Clip gradients of some lengths to half by torch, beside its formula and the document's."""
    measured: list[float] = []
    for norm in _TORCH_NORMS:
        weights = torch.zeros(4, dtype=torch.float64, requires_grad=True)
        weights.grad = torch.full((4,), norm / 2, dtype=torch.float64)
        torch.nn.utils.clip_grad_norm_([weights], max_norm=norm / 2)
        measured.append(torch.linalg.vector_norm(weights.grad).item() / norm)
    norms = np.array(_TORCH_NORMS)
    return Table(
        name="torch_factor",
        columns={
            "norm": norms,
            "max_norm": norms / 2,
            "document": np.full(len(norms), 0.5),
            "theory": np.minimum(1, norms / 2 / (norms + 1e-6)),
            "torch": np.array(measured),
        },
    )


def _curves(config: ClippingConfig, found: Sequence[Arrays]) -> Table:
    """Lay out medians of the error and of raw lengths while learning."""
    steps = np.unique(np.linspace(0, config.num_steps - 1, _NUM_CURVE).astype(int))
    errors = {
        method: np.array([trial[f"{method} error"][steps] for trial in found]) for method in METHODS
    }
    return Table(
        name="curves",
        columns={
            "method": np.repeat(METHODS, len(steps)),
            "step": np.tile(steps, len(METHODS)),
            "error": np.concatenate([_middle(errors[method], 0.5) for method in METHODS]),
            "lower_quartile": np.concatenate([_middle(errors[method], 0.25) for method in METHODS]),
            "upper_quartile": np.concatenate([_middle(errors[method], 0.75) for method in METHODS]),
        },
    )


def _middle(errors: Float[np.ndarray, "seeds steps"], part: float) -> NDArray[np.float64]:
    """Take a quantile over seeds; NaN where it is not finite."""
    ordered = np.quantile(errors, part, axis=0, method="nearest")
    return np.where(np.isfinite(ordered), ordered, np.nan)


def _plot(config: ClippingConfig) -> Plot:
    return Plot(
        name="clipping",
        title=f"Clipping on a spiky loss (labels with t noise, {config.degrees_of_freedom:g} "
        "degrees of freedom)",
        panels=[
            Panel(
                table="curves",
                x="step",
                y="error",
                low="lower_quartile",
                high="upper_quartile",
                series="method",
                log="y",
                title="squared error without noise: median and quartiles over seeds",
                y_label="squared error",
            ),
            Panel(
                table="directions",
                x="clip_at",
                y="cosine",
                low="cosine_low",
                high="cosine_high",
                dashed="theory_all_clipped",
                series="method",
                log="x",
                title="cosine with the raw gradient, against strength",
                x_label="global norm at which is clipped (in median norms)",
                y_label="mean cosine",
            ),
        ],
    )


def _remarks(
    config: ClippingConfig, methods: Table, directions: Table, factors: Table
) -> list[str]:
    rows = {str(name): row for row, name in enumerate(methods["method"])}
    strongest = directions.select(directions["clip_at"] == min(_STRENGTHS))
    away = np.abs(factors["torch"] - factors["theory"]).max()
    share = methods["share_clipped"][rows["global norm"]]
    return [
        f"{config.num_steps} steps of SGD, {config.seeds} seed(s), 95 % t intervals over seeds (of "
        "the logarithm, for errors, which are geometric means of those that did not diverge); "
        f"all methods leave the same mean length at the first weights, that of a global norm "
        f"clipped at {config.clip_at:g} median(s).",
        "Global norm: theory, cosine 1; measured, 1 - "
        f"{1 - methods['cosine_least'][rows['global norm']]:.1e} at worst.",
        *(
            f"{method}, everything clipped: theory, cosine "
            f"{strongest['theory_all_clipped'][row]:.4f}; measured at the strongest "
            f"{strongest['cosine'][row]:.4f}; in training, where clipped, "
            f"{methods['cosine_if_clipped'][rows[str(method)]]:.4f} (least "
            f"{methods['cosine_least'][rows[str(method)]]:.3f})."
            for row, method in enumerate(strongest["method"])
            if method != "global norm"
        ),
        *(
            f"{method}: error in the end {methods['error'][row]:.4f} "
            f"[{methods['error_low'][row]:.4f}, {methods['error_high'][row]:.4f}], worst rise by "
            f"one step {methods['worst_jump'][row]:.3g} (median over seeds), "
            f"{methods['diverged'][row]:.0%} of the trainings diverged."
            for method, row in rows.items()
        ),
        "The document: the global norm 'only kicks in when gradients are abnormally large'. That "
        f"depends on the threshold alone: here it clipped {share:.0%} of the steps.",
        f"torch's factor is max_norm / (norm + 1e-6), to {away:.1e}; max_norm / norm, as the "
        "document has it, is wrong where norms are near 1e-6.",
    ]
