"""The command itself: views of one pass over a corpus, their tables and figures."""

import json
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from backlight.errors import UnsupportedSiteError
from backlight.models.sites import format_layers, parse_layers
from backlight.models.subject import Subject
from backlight.runs.directory import RunDirectory
from backlight.runs.results import CONSOLIDATED, METADATA, Results, load_results
from backlight.surveys.driver.model import load, settle
from backlight.surveys.driver.reading import same_numbers
from backlight.surveys.driver.resolving import resolve
from backlight.surveys.driver.session import Clock, find_run, print_places
from backlight.surveys.driver.survey import Material, begin, finished, gather, measure
from backlight.surveys.flow.measure.survey import VIEWS, Flow, survey_flow
from backlight.surveys.flow.options import FlowConfig
from backlight.surveys.flow.printed import print_flow

_COMMAND = "flow"
_logger = logging.getLogger(__name__)


def flow(
    config: str | Path | None = None, *, subject: Subject | None = None, **options: Any
) -> Results:
    """Measure what norms, attention and residual paths do to the gradient, over a corpus.

    The same as the command ``backlight flow``, for notebooks and scripts; nothing is printed.

    Args:
        config: A YAML file of options, if any.
        subject: A model that is already loaded; its options then have no place here.
        **options: Options by the names of the command's flags; they win over the file.

    Returns:
        The tables of the views: ``norms``; ``attention`` and ``attention_distance``; ``residual``,
        ``depth``, ``depth_by_position`` and ``depth_slope``. Its ``path`` is the run directory,
        None if nothing was written.

    Raises:
        ConfigError: If an option does not exist or does not fit, or is one for loading a model
            although there is a subject.
    """
    resolved = resolve(FlowConfig, config, options)
    return _survey(*settle(resolved, subject))


def run(config: FlowConfig) -> None:
    """Carry out ``backlight flow`` and print what was found and where it went.

    Args:
        config: Its options.
    """
    results = _survey(config, load)
    print_flow(config, results)
    if results.path is not None:
        print_places(RunDirectory(results.path), _COMMAND)


def _survey(config: FlowConfig, load: Callable[[FlowConfig], Subject]) -> Results:
    clock = Clock()
    found = find_run(config, _COMMAND)
    done = finished(config, found)
    if done is not None:
        return load_results(done.path)
    material = gather(config, lambda: load(config), clock)
    layers = parse_layers(config.layers, material.subject.num_layers)
    state, left_out = _views(config, material.subject, layers)
    name = f"flow_{config.model_file_name}_layers_{format_layers(layers)}"
    directory = begin(config, _COMMAND, name, material, found)
    survey = partial(
        survey_flow,
        material.subject,
        material.passages,
        material.batches,
        state,
        reduction=config.loss_reduction,
    )
    title = f"gradient flow: {', '.join(state.views)}"
    measure(material, state, survey, directory, title=title)
    clock.lap("gradient_computation")
    results = _results(config, material, state, left_out, directory)
    if directory is not None:
        _write(directory, results, clock)
    return results


def _views(
    config: FlowConfig, subject: Subject, layers: tuple[int, ...]
) -> tuple[Flow, dict[str, str]]:
    """Make the views that the model has; one that was asked for by name must be there."""
    views, left_out = {}, dict[str, str]()
    for name in config.views:
        try:
            views[name] = VIEWS[name](subject, layers)
        except UnsupportedSiteError as error:
            if config.view != "all":
                raise
            left_out[name] = str(error)
            _logger.warning("The view of %s is left out: %s", name, error)
    if not views:
        raise UnsupportedSiteError(
            f"None of the views can be had of {subject.name}: {' '.join(left_out.values())}"
        )
    return Flow(views), left_out


def _results(
    config: FlowConfig,
    material: Material,
    state: Flow,
    left_out: dict[str, str],
    directory: RunDirectory | None,
) -> Results:
    tables = {table.name: table for table in state.tables()}
    return Results(
        path=None if directory is None else directory.path,
        data={
            f"{name}/{column}": values
            for name, table in tables.items()
            for column, values in table.columns.items()
            if values.dtype.kind in "if"
        },
        metadata={
            "loss_nats_per_token": state.nats / state.num_predicted,
            "num_tokens": material.passages.num_tokens,
            "num_passages": len(material.passages.tokens),
            "text": material.passages.account(),
            **({"left_out": left_out} if left_out else {}),
            **material.subject.note,
        },
        tables=tables,
        config=same_numbers(config) if directory is None else directory.config(),
    )


def _write(directory: RunDirectory, results: Results, clock: Clock) -> None:
    from backlight.report.rendering import rendered
    from backlight.surveys.flow import figures

    for table in results.tables.values():
        directory.write_table(table)
    clock.lap("save_data")
    for name, figure in figures.draw(results):
        directory.write_bytes(name, rendered(name, figure))
    clock.lap("plots")
    timing = {"timing_stats": {**clock.laps, "total_runtime": clock.total()}}
    directory.write_json(METADATA, {**results.metadata, **timing})
    brief = np.array(json.dumps(dict(results.metadata)))
    directory.write_arrays(CONSOLIDATED, {**results.data, "metadata": brief})
    directory.finish({"command": _COMMAND, "complete": True, **results.metadata})
