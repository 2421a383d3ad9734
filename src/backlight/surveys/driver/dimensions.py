"""One number for each dimension or feature of a layer: the arrays, and what is said about them."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.runs.results import CONSOLIDATED
from backlight.stats.aggregate import Mode, Norm, aggregate
from backlight.surveys.driver.material.opening import Corpus
from backlight.surveys.driver.options.shared import Quantity, SurveyConfig
from backlight.surveys.driver.results.findings import Findings
from backlight.tables import Table

UNITS: Mapping[Quantity, str] = {
    "gradients": "nats/unit",
    "values": "units",
    "grad_x_act": "nats",
    "fisher": "(nats/unit)^2",
    "hessian_diagonal": "nats/unit^2",
}
"""The unit of each quantity; a "unit" is one unit of the site's activation."""


def findings_of(
    options: SurveyConfig,
    corpus: Corpus,
    by_mode: Mapping[int, Mapping[str, NDArray[np.float64]]],
    tables: Sequence[Table],
    *,
    metadata: Mapping[str, Any],
    statistics: Mapping[str, NDArray[Any]] | None = None,
    **asked: Any,
) -> Findings:
    """Put the tables of a survey beside its arrays, and describe these.

    Args:
        options: The options.
        corpus: What was measured.
        by_mode: By layer, the statistic of each mode: one number for each dimension.
        tables: The tables; the first has a row for each layer.
        metadata: What a reader of the numbers must know.
        statistics: Arrays that are kept as they are; None for none.
        **asked: Options of this survey alone that belong to the description.

    Returns:
        What was found; each array also has a file of its own,
        ``layer_{i}_{mode}_{what was aggregated}.npy``.
    """
    data = _aggregated(options, by_mode)
    description = _described(options, corpus, tables[0], data, asked)
    return Findings(
        tables=tables,
        data=data,
        statistics=statistics or {},
        metadata={
            **metadata,
            "text": corpus.passages.account(),
            **corpus.subject.note,
        },
        described=description,
        brief={**description["experiment_info"], **description["analysis_config"]},
        files={f"{name}_{options.aggregate_by}.npy": array for name, array in data.items()},
    )


def _aggregated(
    options: SurveyConfig, statistics: Mapping[int, Mapping[str, NDArray[np.float64]]]
) -> dict[str, NDArray[np.float32]]:
    """Aggregate each layer's dimensions in every way that was asked for.

    Args:
        options: The options.
        statistics: By layer, the statistic of each mode: one number for each dimension.

    Returns:
        The arrays, by ``layer_{i}_{mode}`` and, with two normalisations, what follows it.
    """
    return {
        f"layer_{layer}_{name}": aggregate(modes[mode], power=options.power, norm=norm).astype(
            np.float32
        )
        for (name, (mode, norm)), (layer, modes) in product(
            _variants(options).items(), statistics.items()
        )
    }


def _described(
    options: SurveyConfig,
    corpus: Corpus,
    layers: Table,
    data: Mapping[str, NDArray[Any]],
    asked: Mapping[str, Any],
) -> dict[str, Any]:
    """Describe the arrays, for ``metadata.json``: what was asked, of which text, what came out."""
    numbers = layers["layer"].tolist()
    return {
        "experiment_info": {
            "model_name": options.model_name,
            "num_samples": options.num_samples,
            "batch_size": options.batch_size,
            "max_length": options.max_length,
            "device": corpus.subject.facts.get("device", options.device),
        },
        "analysis_config": {
            "layers": numbers,
            "aggregation_mode": options.aggregation_mode,
            "normalization_mode": options.normalize,
            "aggregate_by": options.aggregate_by,
            "power": options.power,
            "loss_reduction": options.loss_reduction,
            **asked,
        },
        "corpus": corpus.material["corpus"],
        "layer_statistics": {
            f"layer_{layer}": {
                name: _statistics(data[f"layer_{layer}_{name}"]) for name in _variants(options)
            }
            for layer in numbers
        },
        "dimension_info": {
            f"layer_{layer}": int(width)
            for layer, width in zip(numbers, layers["num_dimensions"], strict=True)
        },
        "loading_instructions": {
            "npz_file": CONSOLIDATED,
            "individual_npy": f"layer_{{i}}_{{mode}}_{options.aggregate_by}.npy",
        },
    }


def _variants(options: SurveyConfig) -> dict[str, tuple[Mode, Norm]]:
    """List how dimensions are aggregated, by the names that files have for it."""
    if options.normalize != "both":
        return {mode: (mode, options.normalize) for mode in options.modes}
    norms: tuple[Norm, ...] = ("sum", "sum_abs")
    return {f"{mode}_norm_{norm}": (mode, norm) for mode, norm in product(options.modes, norms)}


def _statistics(values: NDArray[Any]) -> dict[str, float]:
    """Summarise an array over its dimensions."""
    return {
        "mean": float(values.mean()),
        "std": float(values.std()),
        "max": float(np.abs(values).max()),
        "sum_abs": float(np.abs(values).sum()),
    }
