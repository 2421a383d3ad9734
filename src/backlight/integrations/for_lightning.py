"""The watch in a Lightning ``Trainer``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from backlight.integrations.extras import load_extra
from backlight.training import Watch, watch

if TYPE_CHECKING:
    _Callback = object
else:
    _Callback = load_extra("lightning.pytorch", for_what="LightningWatch").Callback


class LightningWatch(_Callback):
    """Watches while Lightning trains: ``Trainer(callbacks=[LightningWatch(run_dir)])``.

    Attributes:
        monitor: The watch; None before training begins.
    """

    def __init__(self, run_dir: Path | str | None = None, **options: Any) -> None:
        """Remember how to watch.

        Args:
            run_dir: A directory for the log; None to keep everything in memory.
            options: Those of ``backlight.watch``.
        """
        super().__init__()
        self.monitor: Watch | None = None
        self._run_dir = run_dir
        self._options = options

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin to watch; several optimizers are watched together."""
        precision = trainer.strategy.precision_plugin
        options: dict[str, Any] = {
            "scaler": getattr(precision, "scaler", None),
            # It counts the steps of each optimizer.
            "steps_done": trainer.global_step // max(1, len(trainer.optimizers)),
            **self._options,
        }
        self.monitor = watch(pl_module, trainer.optimizers, self._run_dir, **options)

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        """Take the loss of a micro-batch, which Lightning has divided by their number."""
        del pl_module
        if self.monitor is not None and loss.numel() == 1:
            self.monitor.loss(loss.detach() * trainer.accumulate_grad_batches)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Close the watch."""
        del trainer, pl_module
        if self.monitor is not None:
            self.monitor.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Close the watch where training fails."""
        del exception
        self.on_train_end(trainer, pl_module)
