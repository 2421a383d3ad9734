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

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from backlight.config.labs import SoftmaxScaleConfig
from backlight.decompose.softmax import softmax_backward, softmax_jacobian
from backlight.labs.intervals import estimate
from backlight.labs.notebook import Findings, Notebook
from backlight.labs.softmax_theory import gap_density, jacobian_norms, median_gap, peaked
from backlight.report.plots import Panel, Plot
from backlight.tables import Column, Table

__all__ = ["experiment"]

_SCALINGS = {"with 1/sqrt(d)": True, "without": False}
_SCALES = np.geomspace(0.1, 300, 22)
_PEAKS = np.arange(0, 16, 0.5)
_MEASURED = (
    "norm",
    "log_norm_median",
    "dead",
    "score_gradient",
    "query_gradient",
    "query_gradient_median",
    "outside",
)
_DEAD = 1e-3  # a Jacobian of this norm passes on next to nothing
_DOCUMENT = {2.0: "0.84 0.08 0.08", 10.0: "0.9999 0.00005 0.00005"}

Arrays = Mapping[str, NDArray[np.float64]]


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
        by_scale = [jacobian_norms(scale * scores).mean().item() for scale in _SCALES]
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
    widths, slopes = _widths(config, found), _slopes(config, found)
    return Findings(
        tables=(_exact(), slopes, widths, _scales(config, found), _peaks()),
        plots=(_plot(config),),
        printed=("exact", "slopes"),
        remarks=_remarks(config, slopes, widths),
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
    for is_scaled in _SCALINGS.values():
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
            (norms < _DEAD).double().mean(),
            torch.linalg.vector_norm(at_scores, dim=-1).mean(),
            at_queries.mean(),
            at_queries.quantile(0.5),
            outside.double().mean(),
        )
        for name, value in zip(_MEASURED, numbers, strict=True):
            found.setdefault(name, []).append(value.item())
    return {name: np.array(values) for name, values in found.items()}


def _shaped(config: SoftmaxScaleConfig, found: Sequence[Arrays], name: str) -> Column:
    """Order a number by keys, seeds, widths and scalings."""
    shape = (len(config.num_keys), config.seeds, len(config.widths), len(_SCALINGS))
    return np.array([trial[name] for trial in found]).reshape(shape)


def _widths(config: SoftmaxScaleConfig, found: Sequence[Arrays]) -> Table:
    """Average over seeds, for each number of keys, scaling and width."""
    count = (len(config.num_keys), len(_SCALINGS), len(config.widths))
    keys, scalings, widths = np.meshgrid(
        config.num_keys, list(_SCALINGS), config.widths, indexing="ij"
    )
    columns: dict[str, Column] = {
        "keys": keys.ravel(),
        "scores": scalings.ravel(),
        "width": widths.ravel(),
    }
    for name in _MEASURED:
        values = _shaped(config, found, name).transpose(0, 3, 2, 1).reshape(np.prod(count), -1)
        over_seeds = [estimate(row) for row in values]
        columns[name] = np.array([value.mean for value in over_seeds])
        if name != "outside":
            columns[f"{name}_low"] = np.array([value.low for value in over_seeds])
            columns[f"{name}_high"] = np.array([value.high for value in over_seeds])
    density = np.array([gap_density(number) for number in config.num_keys])
    gap = np.array([median_gap(number) for number in config.num_keys])
    shown, root = columns["scores"] == "without", np.sqrt(columns["width"])
    per_row = np.repeat(np.arange(len(density)), count[1] * count[2])
    limit = np.where(root > 2 * density[per_row], density[per_row] / root, np.nan)
    columns["theory"] = np.where(shown, limit, np.nan)
    far = shown & ~np.isnan(limit)
    columns["theory_median"] = np.where(far, np.log(2) - gap[per_row] * root, np.nan)
    return Table(name="widths", columns=columns)


def _slopes(config: SoftmaxScaleConfig, found: Sequence[Arrays]) -> Table:
    """Fit slopes against the width for each seed, from the width that was asked for."""
    widths = np.array(config.widths, dtype=np.float64)
    far = widths >= min(config.slope_from, np.sort(widths)[-2:].min())
    rows: list[dict[str, str | float]] = []
    means = np.log(_shaped(config, found, "norm"))
    medians = _shaped(config, found, "log_norm_median")
    by_scale = np.array([trial["by_scale"] for trial in found])
    by_scale = by_scale.reshape(len(config.num_keys), config.seeds, -1).mean(axis=1)
    for index, keys in enumerate(config.num_keys):
        for number, scaling in enumerate(_SCALINGS):
            gap, scaled = median_gap(keys), _SCALINGS[scaling]
            # Independent normal scores of scale sqrt(d), as far as d is from infinity.
            logs = np.interp(np.log(widths[far]) / 2, np.log(_SCALES), np.log(by_scale[index]))
            here = float(np.polyfit(np.log(widths[far]), logs, 1)[0])
            laws = {
                "ln mean / ln d": (means, np.log(widths), -0.5, here),
                "median ln / sqrt d": (medians, np.sqrt(widths), -gap, np.nan),
            }
            for law, (values, x, limit, theory) in laws.items():
                each = values[index, :, far, number].T
                slope = estimate(np.array([np.polyfit(x[far], row, 1)[0] for row in each]))
                rows.append(
                    {
                        "keys": keys,
                        "scores": scaling,
                        "slope_of": law,
                        "limit": 0.0 if scaled else limit,
                        "theory": np.nan if scaled else theory,
                        "slope": slope.mean,
                        "slope_low": slope.low,
                        "slope_high": slope.high,
                    }
                )
    return Table(
        name="slopes", columns={name: np.array([row[name] for row in rows]) for name in rows[0]}
    )


def _scales(config: SoftmaxScaleConfig, found: Sequence[Arrays]) -> Table:
    """Average over seeds, for each number of keys and scale of independent scores."""
    norms = np.array([trial["by_scale"] for trial in found])
    norms = norms.reshape(len(config.num_keys), config.seeds, -1)
    over_seeds = [estimate(values) for rows in norms for values in rows.T]
    limits: list[Column] = []
    for keys in config.num_keys:
        tail = gap_density(keys) / _SCALES
        edges = [_SCALES < 0.3, 4 * gap_density(keys) < _SCALES]
        limits.append(np.select(edges, [np.full_like(tail, 1 / keys), tail], np.nan))
    return Table(
        name="scales",
        columns={
            "keys": np.repeat(config.num_keys, len(_SCALES)),
            "scale": np.tile(_SCALES, len(config.num_keys)),
            "norm": np.array([value.mean for value in over_seeds]),
            "low": np.array([value.low for value in over_seeds]),
            "high": np.array([value.high for value in over_seeds]),
            "limits": np.concatenate(limits),
        },
    )


def _exact() -> Table:
    """Set what the document says beside what is so."""
    rows: list[dict[str, str | float]] = []
    for score, said in _DOCUMENT.items():
        weights, norm = peaked(score)
        rows.append(
            {
                "scores": f"[{score:g}, 0, 0]",
                "document": said,
                "softmax": " ".join(f"{weight:.5g}" for weight in weights.tolist()),
                "theory_3_p1_p2": (3 * weights[0] * weights[1]).item(),
                "jacobian_norm": norm,
                "jacobian_trace": softmax_jacobian(weights).trace().item(),
            }
        )
    return Table(
        name="exact", columns={name: np.array([row[name] for row in rows]) for name in rows[0]}
    )


def _peaks() -> Table:
    """Raise one of three scores."""
    found = [peaked(float(score)) for score in _PEAKS]
    return Table(
        name="peaks",
        columns={
            "score": _PEAKS,
            "norm": np.array([norm for _, norm in found]),
            "theory": np.array([(3 * weights[0] * weights[1]).item() for weights, _ in found]),
        },
    )


def _plot(config: SoftmaxScaleConfig) -> Plot:
    keys = 64 if 64 in config.num_keys else config.num_keys[-1]
    kinds = {
        "norm": ("mean norm of the Jacobian", "theory"),
        "log_norm_median": ("median ln norm of the Jacobian", "theory_median"),
        "dead": (f"share of queries with a norm below {_DEAD:g}", None),
        "query_gradient": ("mean gradient at a query", None),
    }
    by_width = [
        Panel(
            table="widths",
            x="width",
            y=column,
            low=f"{column}_low",
            high=f"{column}_high",
            series="scores",
            where={"keys": keys},
            dashed=dashed,
            log="xy" if column in {"norm", "query_gradient"} else "x",
            title=f"{title}, {keys} keys",
            x_label="width d of queries and keys",
            y_label="",
        )
        for column, (title, dashed) in kinds.items()
    ]
    scales = Panel(
        table="scales",
        x="scale",
        y="norm",
        low="low",
        high="high",
        series="keys",
        dashed="limits",
        levels={"never above 1/2": 0.5},
        log="xy",
        title="mean norm, independent normal scores (by number of keys)",
        x_label="scale of the scores",
        y_label="",
    )
    peaks = Panel(
        table="peaks",
        x="score",
        y="norm",
        dashed="theory",
        log="y",
        title="norm for scores [a, 0, 0]; theory 3 p1 p2",
        x_label="a",
        y_label="",
    )
    return Plot(
        name="softmax_scale",
        title="What the softmax of attention lets through to the scores",
        panels=[*by_width, scales, peaks],
        columns=3,
    )


def _remarks(config: SoftmaxScaleConfig, slopes: Table, widths: Table) -> list[str]:
    lines = [
        f"{config.num_queries} queries, {config.seeds} seed(s), 95 % t intervals over seeds.",
        "Theory: max p(1-p) <= norm <= min(1/2, 2 max p(1-p)); broken by "
        f"{widths['outside'].mean():.2%} of all queries.",
        "The document's softmax([2, 0, 0]) = [0.84, 0.08, 0.08] is wrong; the exact numbers stand "
        "in the first table.",
    ]
    widest = max(config.widths)
    for keys in config.num_keys:
        rows = widths.select((widths["keys"] == keys) & (widths["width"] == widest))
        scaled, raw = (np.flatnonzero(rows["scores"] == name)[0] for name in _SCALINGS)
        lines.append(
            f"{keys} keys, d = {widest}: mean norm {rows['norm'][scaled]:.4f} with 1/sqrt(d), "
            f"{rows['norm'][raw]:.4f} without (theory {gap_density(keys) / widest**0.5:.4f}); "
            f"{rows['dead'][raw]:.0%} of the queries below {_DEAD:g} without, "
            f"{rows['dead'][scaled]:.0%} with; mean gradient at a query "
            f"{rows['query_gradient'][raw]:.3g} without, {rows['query_gradient'][scaled]:.3g} with "
            f"(median {rows['query_gradient_median'][raw]:.2g} and "
            f"{rows['query_gradient_median'][scaled]:.2g})."
        )
    mean = slopes.select((slopes["slope_of"] == "ln mean / ln d") & (slopes["scores"] == "without"))
    numbers = (mean[name] for name in ("keys", "theory", "slope", "slope_low", "slope_high"))
    lines.append(
        "Without 1/sqrt(d) the slope of ln mean with ln d goes to -1/2 only for large d, the fewer "
        f"the keys, the sooner. From d = {config.slope_from}, theory (independent normal scores of "
        "scale sqrt(d)) and measurement: "
        + ", ".join(
            f"{keys} keys {theory:.3f} and {slope:.3f} [{low:.3f}, {high:.3f}]"
            for keys, theory, slope, low, high in zip(*numbers, strict=True)
        )
        + "."
    )
    return lines
