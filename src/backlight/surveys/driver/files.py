"""The files of a survey: the seed's, with the seed's names, and ours."""

import json
from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.runs.directory import RunDirectory
from backlight.runs.results import CONSOLIDATED, METADATA, STATISTICS, Results
from backlight.stats.aggregate import Mode, Norm, aggregate
from backlight.surveys.driver.options import SurveyConfig
from backlight.surveys.driver.session import Clock


def aggregated(
    config: SurveyConfig, statistics: Mapping[int, Mapping[str, NDArray[np.float64]]]
) -> dict[str, NDArray[np.float32]]:
    """Aggregate each layer's dimensions in every way that was asked for.

    Args:
        config: The options.
        statistics: By layer, the statistic of each mode: one number for each dimension.

    Returns:
        The arrays, by ``layer_{i}_{mode}`` and, with two normalisations, what follows it.
    """
    return {
        f"layer_{layer}_{name}": aggregate(modes[mode], power=config.power, norm=norm).astype(
            np.float32
        )
        for (name, (mode, norm)), (layer, modes) in product(
            _variants(config).items(), statistics.items()
        )
    }


def write_results(
    directory: RunDirectory,
    config: SurveyConfig,
    results: Results,
    clock: Clock,
    figures: Iterable[tuple[str, Any]],
    *,
    extra: Mapping[str, Any],
) -> None:
    """Write arrays, tables, figures, timing and metadata, and the manifest last.

    Args:
        directory: Where.
        config: The options.
        results: What was found.
        clock: How long it took so far.
        figures: The figures by the names of their files, drawn as they are asked for.
        extra: Options of this command alone that its metadata should tell.
    """
    from backlight.report.rendering import rendered

    seconds: dict[str, float] = {}
    for key, array in results.data.items():
        directory.write_array(f"{key}_{config.aggregate_by}.npy", array)
        seconds[key] = clock.split()
    for table in results.tables.values():
        directory.write_table(table)
    if results.statistics:
        directory.write_arrays(STATISTICS, dict(results.statistics))
    clock.lap("save_data")
    drawn: dict[str, float] = {}
    for name, figure in figures:
        directory.write_bytes(name, rendered(name, figure))
        drawn[name] = clock.split()
    clock.lap("plots")

    command = directory.provenance()["command"]
    timing = _timing(results, clock, seconds, drawn)
    directory.write_json("timing_stats.json", timing)
    directory.write_text("timing_summary.txt", _timing_summary(timing))
    described = _metadata(directory, config, results, timing, extra)
    directory.write_json(METADATA, described)
    brief = np.array(json.dumps(described["experiment_info"] | described["analysis_config"]))
    directory.write_arrays(CONSOLIDATED, {**results.data, "metadata": brief})
    directory.finish({"command": command, "complete": True, **results.metadata})


def _variants(config: SurveyConfig) -> dict[str, tuple[Mode, Norm]]:
    """List how dimensions are aggregated, by the names that files have for it."""
    if config.normalize != "both":
        return {mode: (mode, config.normalize) for mode in config.modes}
    norms: tuple[Norm, ...] = ("sum", "sum_abs")
    return {f"{mode}_norm_{norm}": (mode, norm) for mode, norm in product(config.modes, norms)}


def _metadata(
    directory: RunDirectory,
    config: SurveyConfig,
    results: Results,
    timing: Mapping[str, Any],
    extra: Mapping[str, Any],
) -> dict[str, Any]:
    layers = results.tables["layers"]["layer"].tolist()
    origin = directory.provenance()
    return {
        "experiment_info": {
            "model_name": config.model_name,
            "num_samples": config.num_samples,
            "batch_size": config.batch_size,
            "max_length": config.max_length,
            "device": origin["model"].get("device", config.device),
            "timestamp": origin["started"],
        },
        "analysis_config": {
            "layers": layers,
            "aggregation_mode": config.aggregation_mode,
            "normalization_mode": config.normalize,
            "aggregate_by": config.aggregate_by,
            "power": config.power,
            "loss_reduction": config.loss_reduction,
            **extra,
        },
        "corpus": origin["corpus"],
        **results.metadata,
        "timing_stats": timing["overall"],
        "per_layer_timing": timing["per_layer"],
        "layer_statistics": {
            f"layer_{layer}": {
                name: _statistics(results.data[f"layer_{layer}_{name}"])
                for name in _variants(config)
            }
            for layer in layers
        },
        "dimension_info": {
            f"layer_{layer}": int(width)
            for layer, width in zip(layers, results.tables["layers"]["num_dimensions"], strict=True)
        },
        "loading_instructions": {
            "npz_file": CONSOLIDATED,
            "individual_npy": f"layer_{{i}}_{{mode}}_{config.aggregate_by}.npy",
            "example_code": f"import backlight; backlight.load_results({str(directory.path)!r})",
        },
    }


def _statistics(values: NDArray[Any]) -> dict[str, float]:
    """Sum up an array as the seed's tool does: over dimensions."""
    return {
        "mean": float(values.mean()),
        "std": float(values.std()),
        "max": float(np.abs(values).max()),
        "sum_abs": float(np.abs(values).sum()),
    }


def _timing(
    results: Results, clock: Clock, saved: Mapping[str, float], drawn: Mapping[str, float]
) -> dict[str, Any]:
    """Report seconds; layers that came out of one pass have an equal share of it."""
    layers = results.tables["layers"]["layer"].tolist()
    share = clock.laps["gradient_computation"] / len(layers)
    per_layer: dict[str, dict[str, float]] = {}
    for layer in layers:
        prefix = f"layer_{layer}_"
        parts = {
            "gradient_computation": share,
            "plots": sum(value for name, value in drawn.items() if name.startswith(prefix)),
            "save_data": sum(value for name, value in saved.items() if name.startswith(prefix)),
        }
        per_layer[str(layer)] = {**parts, "total": sum(parts.values())}
    overall = {**clock.laps, "total_runtime": clock.total()}
    note = "The time of gradient_computation is shared out evenly among the layers."
    return {"overall": overall, "per_layer": per_layer, "note": note}


def _timing_summary(timing: Mapping[str, Any]) -> str:
    overall = [f"  {name:<22}{value:10.2f} s" for name, value in timing["overall"].items()]
    layers = [
        f"  layer {layer:<16}{parts['total']:10.2f} s"
        for layer, parts in timing["per_layer"].items()
    ]
    return "\n".join(["Overall", *overall, "", "Per layer", *layers, "", timing["note"], ""])
