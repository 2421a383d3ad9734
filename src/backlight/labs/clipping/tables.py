"""Tables of what clipping leaves of directions and of trainings, and what they say."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from backlight.labs.clipping.options import ClippingConfig
from backlight.labs.clipping.spiky_learning import METHODS
from backlight.labs.frame.estimates import over_seeds
from backlight.labs.frame.repeating import Arrays
from backlight.labs.frame.tabulating import sentences, stacked
from backlight.tables import Table

STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Global norms at which directions are measured, in medians of the gradients' norms."""

_NUM_CURVE = 100
_TORCH_NORMS = (1e-7, 1e-6, 1e-5, 1e-3, 1.0, 100.0)


def clipping_tables(config: ClippingConfig, found: Arrays) -> list[Table]:
    """Tabulate what was found.

    Args:
        config: The options.
        found: What the seeds gave.

    Returns:
        ``methods`` (what each did in training), ``directions`` (cosines against strength),
        ``torch_factor`` and ``curves``.
    """
    directions = [
        {
            "method": method,
            "clip_at": STRENGTHS,
            "theory_all_clipped": found[f"{method} limit"].mean(),
            **over_seeds("cosine", found[f"{method} cosines"]),
        }
        for method in METHODS
        if method != "none"
    ]
    steps = np.unique(np.linspace(0, config.num_steps - 1, _NUM_CURVE).astype(int))
    curves = [
        {"method": method, "step": steps, **_quartiles(found[f"{method} error"][:, steps])}
        for method in METHODS
    ]
    return [
        stacked("methods", [_training(method, found) for method in METHODS]),
        stacked("directions", directions, {"clip_at": "median norms"}),
        stacked("torch_factor", [_torch_factor(norm) for norm in _TORCH_NORMS]),
        stacked("curves", curves),
    ]


def _training(method: str, found: Arrays) -> dict[str, Any]:
    """Sum up what a method did in training, over seeds."""
    errors, clipped = found[f"{method} error"], found[f"{method} kept"] < 1
    cosines = found[f"{method} cosine"][clipped]
    final = errors[:, -max(1, errors.shape[1] // 10) :].mean(axis=1)  # infinite if it diverged
    rises = np.diff(errors, axis=1).max(axis=1)
    return {
        "method": method,
        "threshold": found[f"{method} threshold"].mean(),
        "share_clipped": clipped.mean(axis=1).mean(),
        "cosine_if_clipped": cosines.mean() if cosines.size else np.nan,
        "cosine_least": cosines.min() if cosines.size else np.nan,
        "longest_step": np.median(found[f"{method} length"].max(axis=1)),
        "worst_jump": np.median(np.where(np.isfinite(errors).all(axis=1), rises, np.inf)),
        **over_seeds("error", np.log(final), unlog=True),  # heavy tails: a geometric mean
        "diverged": np.mean(~np.isfinite(final)),
    }


def _torch_factor(norm: float) -> dict[str, float]:
    """Clip a gradient to half its length by torch, beside its formula and the plain ratio."""
    weights = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    weights.grad = torch.full((4,), norm / 2, dtype=torch.float64)
    torch.nn.utils.clip_grad_norm_([weights], max_norm=norm / 2)
    return {
        "norm": norm,
        "max_norm": norm / 2,
        "max_norm_over_norm": 0.5,
        "theory": min(1.0, norm / 2 / (norm + 1e-6)),
        "torch": torch.linalg.vector_norm(weights.grad).item() / norm,
    }


def _quartiles(errors: Float[np.ndarray, "seeds steps"]) -> dict[str, NDArray[np.float64]]:
    """Take the median over seeds and the quartiles; NaN where they are not finite."""
    parts = {"error": 0.5, "lower_quartile": 0.25, "upper_quartile": 0.75}
    ordered = {
        name: np.quantile(errors, part, axis=0, method="nearest") for name, part in parts.items()
    }
    return {name: np.where(np.isfinite(each), each, np.nan) for name, each in ordered.items()}


def clipping_remarks(
    config: ClippingConfig, methods: Table, directions: Table, factors: Table
) -> list[str]:
    """Write in sentences what the numbers say.

    Args:
        config: The options.
        methods: The table of that name.
        directions: The table of that name.
        factors: The table ``torch_factor``.

    Returns:
        Plain sentences.
    """
    strongest = directions.select(directions["clip_at"] == min(STRENGTHS))
    clipping = methods.select(methods["method"] != "none")
    both = Table(name="both", columns={**strongest, **clipping})
    (by_norm,) = np.flatnonzero(methods["method"] == "global norm")
    share = methods["share_clipped"][by_norm]
    away = np.abs(factors["torch"] - factors["theory"]).max()
    return [
        f"{config.num_steps} steps of SGD, {config.seeds} seed(s), 95 % t intervals over seeds (of "
        "the logarithm, for errors, which are geometric means of those that did not diverge); "
        f"all methods leave the same mean length at the first weights, that of a global norm "
        f"clipped at {config.clip_at:g} median(s).",
        "Global norm: theory, cosine 1; measured, 1 - "
        f"{1 - methods['cosine_least'][by_norm]:.1e} at worst.",
        *sentences(
            both.select(both["method"] != "global norm"),
            "{method}, everything clipped: theory, cosine {theory_all_clipped:.4f}; measured at "
            "the strongest {cosine:.4f}; in training, where clipped, {cosine_if_clipped:.4f} "
            "(least {cosine_least:.3f}).",
        ),
        *sentences(
            methods,
            "{method}: error in the end {error:.4f} [{error_low:.4f}, {error_high:.4f}], worst "
            "rise by one step {worst_jump:.3g} (median over seeds), {diverged:.0%} of the "
            "trainings diverged.",
        ),
        "It is often said that the global norm 'only kicks in when gradients are abnormally "
        f"large'. That depends on the threshold alone: here it clipped {share:.0%} of the steps.",
        f"torch's factor is max_norm / (norm + 1e-6), to {away:.1e}; max_norm / norm, as it is "
        "often written, is wrong where norms are near 1e-6.",
    ]
