"""The watch in a Transformers ``Trainer``."""

from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from backlight.training import Watch, watch


class TrainerWatch(TrainerCallback):
    """Watches the gradients while a ``Trainer`` trains: ``callbacks=[TrainerWatch(run_dir)]``.

    Raw gradients are those before the ``Trainer`` clips; its own callbacks only see them after.

    Attributes:
        monitor: The watch; None before training begins.
    """

    def __init__(self, run_dir: Path | str | None = None, **options: Any) -> None:
        """Remember how to watch.

        Args:
            run_dir: A directory for the log; None to keep everything in memory.
            options: Those of ``backlight.watch``.
        """
        self.monitor: Watch | None = None
        self._run_dir = run_dir
        self._options = options

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin to watch; where training goes on from a checkpoint, so does the log."""
        del args, control
        if self.monitor is not None:
            self.monitor.close()
        optimizer = kwargs["optimizer"]
        options: dict[str, Any] = {
            "scaler": getattr(optimizer, "scaler", None),
            "steps_done": state.global_step,
            **self._options,
        }
        self.monitor = watch(kwargs["model"], optimizer, self._run_dir, **options)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close the watch."""
        del args, state, control, kwargs
        if self.monitor is not None:
            self.monitor.close()
