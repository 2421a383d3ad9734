"""Numbers of the watch in Weights & Biases."""

from collections.abc import Mapping
from typing import Any

from backlight.integrations.extras import load_extra


class WandbSink:
    """Logs into a run of Weights & Biases, beside what the user logs there.

    Steps have an axis of their own, ``gradient/step``, since the run counts its own steps.
    """

    def __init__(self, run: Any = None, **options: Any) -> None:
        """Take a run, or start one.

        Args:
            run: What ``wandb.init`` gave; None to start a run, which is finished at the end.
            options: Those of ``wandb.init``.
        """
        wandb = load_extra("wandb", for_what="WandbSink")
        self._own = run is None
        self._run = wandb.init(**options) if run is None else run
        self._run.define_metric("gradient/step")
        self._run.define_metric("*", step_metric="gradient/step")

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Log the numbers of one step."""
        self._run.log({**numbers, "gradient/step": step})

    def close(self) -> None:
        """Finish the run if it was started here."""
        if self._own:
            self._run.finish()
