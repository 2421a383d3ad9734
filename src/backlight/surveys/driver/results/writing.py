"""What was found goes to disk: arrays, tables, figures, metadata, and the manifest last."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from backlight.report.drawing import Drawing, Wanted, wanted_of
from backlight.report.page.document import document
from backlight.runs.directory import RunDirectory
from backlight.runs.results import CONSOLIDATED, METADATA, PAGE, STATISTICS, Results
from backlight.surveys.driver.clock import Clock
from backlight.surveys.driver.results.findings import Findings

_OF_A_LAYER = re.compile(r"layer_(\d+)_")


def write(
    directory: RunDirectory,
    findings: Findings,
    results: Results,
    clock: Clock,
    figures: Wanted,
) -> None:
    """Write everything into a run directory and finish it.

    Args:
        directory: Where.
        findings: What was found.
        results: The same, as it is shown.
        clock: How long it took so far.
        figures: Which figures are wanted.
    """
    seconds, shown = Clock(), results.presentation
    assert shown is not None, "who shows these results was not said"
    for name, content in findings.files.items():
        _write_file(directory, name, content)
        seconds.lap(name)
    for table in findings.tables:
        directory.write_table(table)
    if findings.statistics:
        directory.write_arrays(STATISTICS, dict(findings.statistics))
    clock.lap("save_data")
    if figures != "none":
        _draw(directory, wanted_of(shown.draw(results), figures), seconds)
    clock.lap("plots")
    origin = directory.provenance()
    started = {"timestamp": origin["started"]}
    described = {
        **findings.described,
        "experiment_info": {**findings.described.get("experiment_info", {}), **started},
        **findings.metadata,
        "timing_stats": {**clock.laps, "total_runtime": clock.total()},
        **_by_layer(seconds.laps, clock.laps.get("gradient_computation", 0.0)),
        "loading_instructions": {
            **findings.described.get("loading_instructions", {}),
            "example_code": f"import backlight; backlight.load_results({str(directory.path)!r})",
        },
    }
    directory.write_json(METADATA, described)
    directory.write_bytes(PAGE, document(shown.page(replace(results, metadata=described))))
    kept = findings.data if findings.archived is None else findings.archived
    brief = np.array(json.dumps({**findings.brief, **started}))
    arrays = {name: findings.data[name] for name in kept}
    directory.write_arrays(CONSOLIDATED, {**arrays, "metadata": brief})
    directory.finish({"command": origin["command"], "complete": True, **findings.metadata})


def _draw(directory: RunDirectory, drawings: Iterable[Drawing], seconds: Clock) -> None:
    from backlight.report.rendering import rendered  # only now is matplotlib needed

    for drawing in drawings:
        directory.write_bytes(drawing.name, rendered(drawing.name, drawing.make()))
        seconds.lap(drawing.name)


def _write_file(directory: RunDirectory, name: str, content: Any) -> None:
    if name.endswith(".npy"):
        directory.write_array(name, content)
    elif name.endswith(".npz"):
        directory.write_arrays(name, content)
    else:
        directory.write_json(name, content)


def _by_layer(seconds: Mapping[str, float], pass_seconds: float) -> dict[str, Any]:
    # All layers come out of one pass, so each has an equal share of its time.
    layers: dict[str, dict[str, float]] = {}
    for name, value in seconds.items():
        match = _OF_A_LAYER.match(name)
        if match:
            parts = layers.setdefault(match[1], {"plots": 0.0, "save_data": 0.0})
            parts["plots" if name.endswith(".png") else "save_data"] += value
    for parts in layers.values():
        parts["gradient_computation"] = pass_seconds / len(layers)
        parts["total"] = sum(parts.values())
    return {"per_layer_timing": layers} if layers else {}
