"""Numbers of the watch in TensorBoard, Weights & Biases and trackio."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backlight.integrations.extras import load_extra


class TensorBoardSink:
    """Writes scalars into a directory that ``tensorboard --logdir`` shows."""

    def __init__(self, directory: Path | str) -> None:
        """Open a writer.

        Args:
            directory: Where event files go.
        """
        module = load_extra("torch.utils.tensorboard", for_what="TensorBoardSink")
        self._writer = module.SummaryWriter(str(directory))

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Write the numbers of one step."""
        for name, number in numbers.items():
            self._writer.add_scalar(name, number, step)

    def close(self) -> None:
        """Finish writing."""
        self._writer.close()


class WandbSink:
    """Logs into a run of Weights & Biases, beside what the user logs there.

    Steps have an axis of their own, ``gradient/step``, since the run counts its own steps.
    """

    def __init__(self, run: Any = None, **options: Any) -> None:
        """Take a run, or start one.

        Args:
            run: What ``wandb.init`` returned; None to start a run, which is finished at the end.
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


class TrackioSink:
    """Logs into a run of trackio."""

    def __init__(self, project: str, **options: Any) -> None:
        """Start a run.

        Args:
            project: The project.
            options: Those of ``trackio.init``.
        """
        trackio = load_extra("trackio", for_what="TrackioSink")
        self._run = trackio.init(project=project, **options)

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Log the numbers of one step."""
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()
