"""``backlight demo``: the main jobs on a real model, on text that is shipped."""

from backlight.surveys import SURVEYS
from backlight.surveys.driver.conduct import run as run_survey
from backlight.surveys.driver.terminal import console
from backlight.tools.demo.options import DemoConfig

_CORPUS = {"model_name": "smollm2", "dataset": "shakespeare", "num_samples": 32}
_CITIES = {
    "task_type": "distance",
    "n_samples": 60,
    "target_positions": "city1_last_digit,equals",
}
_JOBS = {
    "layers": _CORPUS,
    "sae": {**_CORPUS, "sae_path": "smollm2", "aggregation_mode": "both"},
    "flow": _CORPUS,
    "tokens": _CITIES,
}


def run(options: DemoConfig) -> None:
    """Survey SmolLM2-135M in three ways over a few passages, and the shipped city model.

    Args:
        options: Where results go, a folder for each job; an earlier demo there is replaced.
    """
    for name, job in _JOBS.items():
        place = options.output_dir / name
        words = " ".join(f"--{option} {value}" for option, value in job.items())
        console().print(
            f"\nbacklight {name} {words} --output_dir {place} --overwrite\n", soft_wrap=True
        )
        survey = SURVEYS[name]
        where = {"output_dir": place, "overwrite": True}
        run_survey(survey, survey.options.model_validate({**job, **where}))
