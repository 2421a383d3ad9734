"""The run that is validated, read from its directory or taken as it is."""

from collections.abc import Mapping
from typing import Any

from backlight.data.given import IN_MEMORY
from backlight.errors import ConfigError
from backlight.models.subject import Subject
from backlight.runs.config import PROVENANCE
from backlight.runs.results import Results, load_results
from backlight.surveys.driver.material.opening import settle
from backlight.surveys.driver.options.reading import merge
from backlight.surveys.driver.options.shared import ModelOptions, ShownRunOptions
from backlight.surveys.driver.results.presenting import command_of
from backlight.surveys.driver.words.aggregation import modes_of
from backlight.surveys.features import FEATURES
from backlight.surveys.flow import FLOW
from backlight.surveys.layers import LAYERS
from backlight.surveys.tokens import TOKENS
from backlight.surveys.validation.measure.target import Target
from backlight.surveys.validation.options import ValidateConfig

_SURVEYS = {survey.name: survey for survey in (LAYERS, FEATURES, TOKENS, FLOW)}


def read(
    options: ValidateConfig,
    *,
    results: Results | None = None,
    subject: Subject | None = None,
    dataset: Any = None,
) -> dict[str, Any]:
    """Read the run.

    Args:
        options: What is asked.
        results: The run, if it is at hand; None to read it from its directory.
        subject: A model that is already loaded; None for the one that the run names.
        dataset: The text, if the run measured data in memory.

    Returns:
        What the door ``measure`` takes besides the options: the run as ``target``.

    Raises:
        ConfigError: If there is no run, it measured data in memory which are not given, or its
            gradients are averages along paths, which are no predictions of first order.
        RunDirectoryError: If it is no finished run of a survey.
    """
    if results is None:
        if options.run is None:
            raise ConfigError(
                "Say which run is to be validated: backlight validate RUN, the directory of a "
                "finished run of layers, sae, tokens or flow."
            )
        results = load_results(options.run)
    survey = _SURVEYS[command_of(results, _SURVEYS, "validated")]
    told = {
        name: value
        for name, value in results.config.items()
        if name != PROVENANCE and name not in ShownRunOptions.model_fields
    }
    _refuse(told, dataset)
    if subject is not None:
        told = {
            name: value for name, value in told.items() if name not in ModelOptions.model_fields
        }
    given = {} if dataset is None else {"dataset": dataset}
    return {
        "target": Target(
            command=survey.name,
            options=settle(merge(survey.options, told, given), subject),
            mode=modes_of(results.config)[0] if "aggregation_mode" in results.config else "",
            prepare=survey.door("measure").prepare,
            subject=subject,
            tables=results.tables,
            statistics=results.statistics,
            origin=results.provenance,
            path=None if results.path is None else str(results.path),
        )
    }


def _refuse(told: Mapping[str, Any], dataset: Any) -> None:
    if told.get("dataset") == IN_MEMORY and dataset is None:
        raise ConfigError(
            "The run measured data in memory, which are not kept with it: call "
            "backlight.validate(run, dataset=...) with the same data."
        )
    if told.get("path") is not None:
        raise ConfigError(
            "The gradients of this run are averages along paths, and its table completeness holds "
            "them against the true change. Validate a run without --path."
        )
