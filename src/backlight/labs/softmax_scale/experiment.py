"""What does 1/sqrt(d) on the scores do to the gradient that goes back through the softmax?

    backlight lab softmax-scale
    backlight lab softmax-scale --num_keys 8 --widths 16 64 256

With weights p = softmax(s), the Jacobian is J = diag(p) - p p'. Its spectral norm lies between
max p (1 - p) and the smaller of twice that and 1/2. For one score that stands out, s = [a, 0, ...,
0], it is n p_1 p_2, which falls like n e^-a. For scores s times n standard normal numbers it is 1/n
at s = 0, and on average K_n / s for large s, where K_n is the density at zero of the gap between
the largest two: only queries whose two best keys are nearly equal pass anything on.

Queries and keys of d standard normal numbers make scores of scale sqrt(d). So without 1/sqrt(d),
for large d, the mean falls with slope -1/2 in log d, and the median like exp(-m_n sqrt(d)), m_n the
median gap; with 1/sqrt(d), neither depends on d. ``query_gradient`` is what reaches a query, J g K
times the factor.
"""

from functools import partial

import numpy as np
import torch

from backlight.decompose.softmax import softmax_backward
from backlight.labs.frame.notebook import Findings, Notebook
from backlight.labs.softmax_scale.options import SoftmaxScaleConfig
from backlight.labs.softmax_scale.shown import scale_plot, scale_remarks
from backlight.labs.softmax_scale.tables import (
    DEAD,
    MEASURED,
    SCALES,
    SCALINGS,
    Arrays,
    scale_tables,
)
from backlight.labs.softmax_scale.theory import jacobian_norms


def experiment(config: SoftmaxScaleConfig, notebook: Notebook) -> Findings:
    """Measure Jacobians of the softmax.

    Args:
        config: The options.
        notebook: Where trials are carried out.

    Returns:
        Tables ``exact`` (the examples of the document), ``slopes`` (against the width), ``widths``,
        ``scales`` and ``peaks``; figures; what they say.
    """

    def trial(keys: int, seed: int) -> Arrays:
        generator = torch.Generator().manual_seed(seed)
        size = (config.num_queries, keys)
        scores = torch.randn(size, dtype=torch.float64, generator=generator).to(notebook.device)
        by_scale = [jacobian_norms(scale * scores).mean().item() for scale in SCALES]
        by_width = [
            _by_width(config, keys, width, generator, notebook.device) for width in config.widths
        ]
        stacked = {name: np.stack([row[name] for row in by_width]) for name in by_width[0]}
        return {"by_scale": np.array(by_scale), **stacked}

    found = list(
        notebook.carry_out(
            {
                f"{keys} keys, seed {seed}": partial(trial, keys, seed)
                for keys in config.num_keys
                for seed in config.all_seeds
            }
        ).values()
    )
    tables = scale_tables(config, found)
    return Findings(
        tables=tuple(tables.values()),
        plots=(scale_plot(config),),
        printed=("exact", "slopes"),
        remarks=scale_remarks(config, tables["slopes"], tables["widths"]),
    )


def _by_width(
    config: SoftmaxScaleConfig,
    num_keys: int,
    width: int,
    generator: torch.Generator,
    device: torch.device,
) -> Arrays:
    """Measure one set of queries and keys, with and without the factor."""
    queries, keys, grad = (
        torch.randn(size, dtype=torch.float64, generator=generator).to(device)
        for size in ((config.num_queries, width), (num_keys, width), (config.num_queries, num_keys))
    )
    found: dict[str, list[float]] = {}
    for is_scaled in SCALINGS.values():
        factor = width**-0.5 if is_scaled else 1.0
        scores = factor * queries @ keys.T
        weights, norms = scores.softmax(dim=-1), jacobian_norms(scores)
        at_scores, _ = softmax_backward(weights, grad)
        at_queries = torch.linalg.vector_norm(factor * at_scores @ keys, dim=-1)
        spread = (weights * (1 - weights)).max(dim=-1).values
        outside = (norms < spread * (1 - 1e-9)) | (norms > (2 * spread).clamp_max(0.5) + 1e-12)
        numbers = (
            norms.mean(),
            norms.log().quantile(0.5),
            (norms < DEAD).double().mean(),
            torch.linalg.vector_norm(at_scores, dim=-1).mean(),
            at_queries.mean(),
            at_queries.quantile(0.5),
            outside.double().mean(),
        )
        for name, value in zip(MEASURED, numbers, strict=True):
            found.setdefault(name, []).append(value.item())
    return {name: np.array(values) for name, values in found.items()}
