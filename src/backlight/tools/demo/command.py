"""``backlight demo``: the main jobs on a real model, on text that is shipped."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.text import Text

from backlight.surveys import SURVEYS
from backlight.surveys.driver.conduct import conduct
from backlight.surveys.driver.screen import print_lines, where_it_went, wrapped
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

_PLACES = ("Page", "Figures")


def run(options: DemoConfig) -> None:
    """Survey SmolLM2-135M in three ways over a few passages, and the shipped city model.

    Args:
        options: Where results go, a folder for each job; an earlier demo there is replaced.
    """
    for name, job in JOBS.items():
        _carry_out(name, job, options.output_dir / name)
    page = page_at(OpenConfig(run_dir=options.output_dir))
    lines = (f"Tables    {options.output_dir}/*/tables/*.csv", f"All four  {page}")
    print_lines([Text(line) for line in lines])


def _carry_out(name: str, job: Mapping[str, Any], place: Path) -> None:
    """Carry out one job; its command is printed, what it found, and where to look."""
    words = " ".join(f"--{option} {value}" for option, value in job.items())
    command = f"backlight {name} {words} --output_dir {place} --overwrite"
    print_lines([Text(line.plain, style="bold") for line in wrapped([command])])
    survey = SURVEYS[name]
    where = {"output_dir": place, "overwrite": True}
    results = conduct(survey, survey.options.model_validate({**job, **where}))
    places = where_it_went(results, name, survey.picture)
    print_lines(
        [
            *wrapped(survey.door("printed").summary(results)),
            *(Text(line) for line in places if line.startswith(_PLACES)),
            Text(),
        ]
    )
