"""The one way of every survey: find the run, open model and text, measure, tabulate, write."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from backlight.errors import ConfigError, RunDirectoryError, quoted
from backlight.models.lending import borrowed
from backlight.models.subject import Subject
from backlight.runs.directory import RunDirectory
from backlight.runs.results import Results, load_results
from backlight.surveys.driver.checking import check_numbers, with_checks
from backlight.surveys.driver.clock import Clock
from backlight.surveys.driver.declaration import Survey
from backlight.surveys.driver.engines.choice import engine_of, refuse_elsewhere
from backlight.surveys.driver.engines.task import material_of
from backlight.surveys.driver.material.opening import Opening, is_other_text, settle
from backlight.surveys.driver.measurement import Measurement
from backlight.surveys.driver.options.dry_run import DryRunOptions
from backlight.surveys.driver.options.reading import resolve
from backlight.surveys.driver.options.shared import CheckOptions
from backlight.surveys.driver.reached import with_precision
from backlight.surveys.driver.results.findings import Findings, results_of
from backlight.surveys.driver.results.presenting import SurveyPresentation
from backlight.surveys.driver.results.telling import print_survey
from backlight.surveys.driver.results.writing import write
from backlight.surveys.driver.shards.shardwise import Shardwise
from backlight.surveys.driver.starting import begin, find_run, with_size_of
from backlight.surveys.driver.words.checks import CHECKS
from backlight.surveys.driver.words.printing import print_shown
from backlight.surveys.driver.words.progress import Bar, restore_checkpoint
from backlight.surveys.driver.words.screen import refuse_contradiction, refuse_table
from backlight.tables import Table

_logger = logging.getLogger(__name__)


def asked(
    survey: Survey,
    config: str | Path | None,
    options: Mapping[str, Any],
    subject: Subject | None,
) -> Any:
    """Read the options of a caller in Python.

    Args:
        survey: What is asked.
        config: A YAML file of options, if any.
        options: Options by the names of the command's flags; they win over the file.
        subject: A model that is already loaded; None for the one that the options name.

    Returns:
        The options, checked.

    Raises:
        ConfigError: If an option does not exist or does not fit, or is one for loading a model
            although there is a subject.
    """
    read = resolve(survey.options, config, options)
    refuse_table(read)
    if _is_dry(read):
        raise ConfigError(
            "dry_run tells what a whole process takes, on the command line: run "
            f"`backlight {survey.name} --dry_run`."
        )
    return settle(read, subject)


def run(survey: Survey, options: Any) -> None:
    """Carry out a survey, and print what was found and where it went.

    Args:
        survey: Which.
        options: Its options.
    """
    if survey.lists is not None and getattr(options, survey.lists):
        print_shown(survey.door("printed").listed(options))
        return
    if _is_dry(options):
        from backlight.surveys.driver.dry_run.estimate import tell  # it loads an optimiser

        tell(survey, options)
        return
    refuse_contradiction(options)
    print_survey(survey, options, conduct(survey, options))


def conduct(
    survey: Survey,
    options: Any,
    *,
    subject: Subject | None = None,
    read: Mapping[str, Any] | None = None,
    **given: Any,
) -> Results:
    """Carry out a survey: what every one of them has in common.

    Args:
        survey: Which.
        options: Its options, checked.
        subject: A model that is already loaded; None for the one that the options name.
        read: What the door ``reading`` takes in Python, of a survey of a finished run.
        **given: What else the survey takes in Python.

    Returns:
        What was found; of a finished run that was to be resumed, what its files hold.

    Raises:
        RunDirectoryError: If the run's directory cannot be used, or the finished run measured other
            data in memory.
    """
    clock, shown = Clock(), SurveyPresentation(survey)
    found = find_run(options, survey.name)
    options = with_size_of(found, options)
    if found is not None and found.is_finished:
        return replace(_read_back(options, found), presentation=shown)
    refuse_elsewhere(options, subject)
    opening = Opening(options, subject, clock)
    if survey.reads:
        given |= survey.door("reading").read(options, **(read or {}))
    measurement: Measurement[Any, Any] = survey.door("measure").prepare(options, opening, **given)
    options = opening.options
    directory = begin(
        options,
        survey.name,
        measurement.run_name,
        found,
        material_of(measurement),
        masks=measurement.masks,
        **opening.told,
    )
    checks = _checks(options, measurement, clock)
    engine = engine_of(survey, options, measurement)
    work = Shardwise(measurement.sharding, measurement.state, directory)
    restore_checkpoint(directory, work)
    bar = _bar(options, measurement, work, directory, told=engine is None)
    # The loops stand here, not in functions: from a caller to autograd it is to be few frames.
    if engine is not None:
        with bar:
            for step in work.gathered(engine):
                bar.after(step, work.how_far(options.workers))
    else:
        # The model is borrowed once for all passes, which then need not do so one by one.
        with borrowed(measurement.corpus.subject.model), bar:
            for steps in work.parts():
                for step in steps:
                    bar.after(step)
            bar.keep()
    work.finish()
    clock.lap("gradient_computation")
    findings: Findings = survey.door("tables").findings(options, measurement)
    findings = findings if checks is None else with_checks(findings, checks)
    findings = with_precision(findings, work.told())
    clock.lap("tables")
    results = results_of(options, findings, directory, shown, measurement.corpus.material)
    if directory is not None:
        write(directory, findings, results, clock, options.figures)
    return results


def _is_dry(options: Any) -> bool:
    return isinstance(options, DryRunOptions) and options.dry_run


def _bar(
    options: Any,
    measurement: Measurement[Any, Any],
    work: Shardwise[Any],
    directory: RunDirectory | None,
    *,
    told: bool,
) -> Bar:
    """Make the progress bar, which also keeps the shard in progress; others' are not told of."""
    return Bar(
        measurement.title,
        total=measurement.total,
        done=work.done(),
        unit=measurement.unit,
        run=directory,
        state=work,
        found=measurement.found if told else None,
        quiet=options.quiet,
    )


def _checks(options: Any, measurement: Measurement[Any, Any], clock: Clock) -> Table | None:
    """Check the model's numbers on the text of the run, if that is wanted."""
    if not _is_to_check(options):
        return None
    corpus = measurement.corpus
    checks = check_numbers(corpus.subject, corpus.passages, quiet=options.quiet)
    clock.lap("numerical_checks")
    return checks


def _is_to_check(options: Any) -> bool:
    return isinstance(options, CheckOptions) and options.check


def _read_back(options: Any, run: RunDirectory) -> Results:
    if is_other_text(options, run.provenance().get("corpus", {})):
        raise RunDirectoryError(
            f"The finished run in {quoted(run.path)} measured other data in memory than was "
            "given now; start anew with overwrite, or name another output_dir."
        )
    results = load_results(run.path)
    if _is_to_check(options) and CHECKS not in results.tables:
        _logger.warning(
            "The finished run in %s was not checked, and it is not measured again; check the "
            "model by itself with `backlight check`.",
            quoted(run.path),
        )
    return results
