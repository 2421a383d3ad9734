"""Tables of what clipping leaves of directions, and of trainings."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from backlight.labs.clipping.options import ClippingConfig
from backlight.labs.clipping.spiky_learning import METHODS
from backlight.labs.frame.intervals import estimate, estimate_columns
from backlight.tables import Column, Table

STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Global norms at which directions are measured, in medians of the gradients' norms."""

_NUM_CURVE = 100
_TORCH_NORMS = (1e-7, 1e-6, 1e-5, 1e-3, 1.0, 100.0)

Arrays = Mapping[str, NDArray[np.float64]]
"""What a seed gave, by name."""


def clipping_tables(config: ClippingConfig, found: Sequence[Arrays]) -> dict[str, Table]:
    """Tabulate what was found.

    Args:
        config: The options.
        found: What each seed gave.

    Returns:
        ``methods`` (what each did in training), ``directions`` (cosines against strength),
        ``torch_factor`` and ``curves``, by name.
    """
    tables = (
        _methods(found),
        _directions(found),
        _torch_factors(),
        _curves(config, found),
    )
    return {table.name: table for table in tables}


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


def _directions(found: Sequence[Arrays]) -> Table:
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
            "method": np.repeat(shown, len(STRENGTHS)),
            "clip_at": np.tile(STRENGTHS, len(shown)),
            "theory_all_clipped": np.repeat(np.array(limits, dtype=np.float64), len(STRENGTHS)),
            **estimate_columns("cosine", cosines),
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
