"""The one way of every experiment: find the run, carry out trials, write, draw, print."""

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from backlight.report.plots import plots_to_json
from backlight.runs.results import Results, load_results
from backlight.surveys.driver.clock import Clock
from backlight.surveys.driver.declaration import Lab
from backlight.surveys.driver.options.reading import resolve
from backlight.surveys.driver.results.findings import Findings, results_of
from backlight.surveys.driver.results.presenting import LabPresentation
from backlight.surveys.driver.results.writing import write
from backlight.surveys.driver.starting import begin, find_run
from backlight.surveys.driver.trials import LabFindings, TrialRunner
from backlight.surveys.driver.words.places import where_it_went
from backlight.surveys.driver.words.printing import every_column
from backlight.surveys.driver.words.screen import (
    first_of,
    print_results,
    refuse_contradiction,
    refuse_table,
)

_NUM_LINES = 12  # of a screen that are for what the numbers say


def ask_lab(lab: Lab, config: str | Path | None, options: Mapping[str, Any]) -> Results:
    """Carry out an experiment for a caller in Python: nothing is printed, or written unasked.

    Args:
        lab: Which.
        config: A YAML file of options, if any.
        options: Options by the names of the command's flags; they win over the file.

    Returns:
        Its tables; ``data`` holds what each trial found, ``metadata["remarks"]`` what it means.
    """
    read = resolve(lab.options, config, {"save_outputs": False, **options})
    refuse_table(read)
    return experiment(lab, read)


def run_lab(lab: Lab, options: Any) -> None:
    """Carry out an experiment, and print what was found and where it went.

    Args:
        lab: Which.
        options: Its options.
    """
    refuse_contradiction(options)
    results = experiment(lab, options)
    about = results.metadata
    tables = [every_column(results.tables[name]) for name in about["printed"]]
    remarks = list(about["remarks"])
    asked = filter(None, [about.get("asked")])
    print_results(
        options,
        results,
        summary=[] if options.table else first_of([*asked, *remarks], _NUM_LINES),
        brief=tables[:1],
        tables=[*tables, *(f"\n{remark}" for remark in remarks)],
        places=where_it_went(results, command_of(lab), f"{about['plots'][0]['name']}.*"),
    )


def command_of(lab: Lab) -> str:
    """Name the command of an experiment."""
    return f"lab {lab.name}"


def experiment(lab: Lab, options: Any) -> Results:
    """Carry out an experiment: what every one of them has in common.

    Args:
        lab: Which.
        options: Its options, checked.

    Returns:
        What was found; of a finished run that was to be resumed, what its files hold.
    """
    clock, command = Clock(), command_of(lab)
    shown = LabPresentation(command)
    found = find_run(options, command)
    if found is not None and found.is_finished:
        return replace(load_results(found.path), presentation=shown)
    directory = begin(options, command, f"lab_{lab.name}", found, {})
    trials = TrialRunner(options.device, directory, quiet=options.quiet)
    module = importlib.import_module(f"{lab.room}.experiment")
    seen: LabFindings = module.experiment(options, trials)
    clock.lap("experiment")
    findings = Findings(
        tables=seen.tables,
        data=trials.state(),
        metadata={
            "asked": inspect.cleandoc(lab.options.__doc__ or "").split("\n\n")[0],
            "printed": list(seen.printed),
            "remarks": list(seen.remarks),
            "plots": plots_to_json(seen.plots),
        },
    )
    results = results_of(options, findings, directory, shown, {})
    if directory is not None:
        write(directory, findings, results, clock, options.figures)
    return results
