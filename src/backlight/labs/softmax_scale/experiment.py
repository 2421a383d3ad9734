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

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from backlight.decompose.softmax import softmax_backward
from backlight.labs.frame.repeating import Arrays, over_trials, repeat
from backlight.labs.softmax_scale.figures import scale_plot
from backlight.labs.softmax_scale.options import SoftmaxScaleConfig
from backlight.labs.softmax_scale.tables import DEAD, SCALES, SCALINGS, scale_remarks, scale_tables
from backlight.labs.softmax_scale.theory import jacobian_norms
from backlight.surveys.driver.trials import LabFindings, TrialRunner


def experiment(config: SoftmaxScaleConfig, runner: TrialRunner) -> LabFindings:
    """Measure Jacobians of the softmax.

    Args:
        config: The options.
        runner: Where trials are carried out.

    Returns:
        Tables ``exact`` (two examples), ``slopes`` (against the width), ``widths``, ``scales`` and
        ``peaks``; figures; what they say.
    """

    def trial(keys: int, seed: int) -> Arrays:
        generator = torch.Generator().manual_seed(seed)

        def normal(rows: int, columns: int) -> Tensor:
            size = (rows, columns)
            entries = torch.randn(size, dtype=torch.float64, generator=generator)
            return entries.to(runner.device)

        scores = normal(config.num_queries, keys)
        by_scale = [jacobian_norms(scale * scores).mean().item() for scale in SCALES]
        by_width = [
            _by_scaling(
                queries=normal(config.num_queries, width),
                keys=normal(keys, width),
                grad=normal(config.num_queries, keys),
            )
            for width in config.widths
        ]
        return {"by_scale": np.array(by_scale), **over_trials(by_width)}

    axes = {"keys": config.num_keys}
    found = repeat(runner, trial, axes, config.all_seeds, "{keys} keys, seed {seed}")
    tables = scale_tables(config, found)
    _, slopes, widths, *_ = tables
    return LabFindings(
        tables=tables,
        plots=(scale_plot(config),),
        printed=("exact", "slopes"),
        remarks=scale_remarks(config, slopes, widths),
    )


def _by_scaling(
    *,
    queries: Float[Tensor, "queries width"],
    keys: Float[Tensor, "keys width"],
    grad: Float[Tensor, "queries keys"],
) -> Arrays:
    """Measure one set of queries and keys, with and without the factor."""
    found = list[dict[str, float]]()
    for is_scaled in SCALINGS.values():
        factor = queries.shape[1] ** -0.5 if is_scaled else 1.0
        scores = factor * queries @ keys.T
        weights, norms = scores.softmax(dim=-1), jacobian_norms(scores)
        at_scores, _ = softmax_backward(weights, grad)
        at_queries = torch.linalg.vector_norm(factor * at_scores @ keys, dim=-1)
        spread = (weights * (1 - weights)).max(dim=-1).values
        outside = (norms < spread * (1 - 1e-9)) | (norms > (2 * spread).clamp_max(0.5) + 1e-12)
        numbers = {
            "norm": norms.mean(),
            "log_norm_median": norms.log().quantile(0.5),
            "dead": (norms < DEAD).double().mean(),
            "score_gradient": torch.linalg.vector_norm(at_scores, dim=-1).mean(),
            "query_gradient": at_queries.mean(),
            "query_gradient_median": at_queries.quantile(0.5),
            "outside": outside.double().mean(),
        }
        found.append({name: value.item() for name, value in numbers.items()})
    return {name: np.array([each[name] for each in found]) for name in found[0]}
