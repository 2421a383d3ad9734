"""``backlight demo``: the main jobs on a real model, on text that is shipped."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from backlight.surveys.driver.session import console
from backlight.surveys.features.command import run as run_sae
from backlight.surveys.features.options import SaeConfig
from backlight.surveys.flow.command import run as run_flow
from backlight.surveys.flow.options import FlowConfig
from backlight.surveys.layers.command import run as run_layers
from backlight.surveys.layers.options import LayersConfig
from backlight.surveys.tokens.command import run as run_tokens
from backlight.surveys.tokens.options import TokensConfig

_CORPUS = {"model_name": "smollm2", "dataset": "shakespeare", "num_samples": 32}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    command: str
    kind: type[BaseModel]
    run: Callable[[Any], None]
    options: Mapping[str, Any]


_JOBS = (
    _Job(command="layers", kind=LayersConfig, run=run_layers, options=_CORPUS),
    _Job(
        command="sae",
        kind=SaeConfig,
        run=run_sae,
        options={**_CORPUS, "sae_path": "smollm2", "aggregation_mode": "both"},
    ),
    _Job(command="flow", kind=FlowConfig, run=run_flow, options=_CORPUS),
    _Job(
        command="tokens",
        kind=TokensConfig,
        run=run_tokens,
        options={
            "task_type": "distance",
            "n_samples": 60,
            "target_positions": "city1_last_digit,equals",
        },
    ),
)


def run(output_dir: Path) -> None:
    """Survey SmolLM2-135M in three ways over a few passages, and the shipped city model.

    Args:
        output_dir: Where results go, a folder for each job; an earlier demo there is replaced.
    """
    for job in _JOBS:
        place = output_dir / job.command
        words = " ".join(f"--{name} {value}" for name, value in job.options.items())
        console().print(
            f"\nbacklight {job.command} {words} --output_dir {place} --overwrite\n",
            soft_wrap=True,
        )
        where = {"output_dir": place, "overwrite": True}
        job.run(job.kind.model_validate({**job.options, **where}))
