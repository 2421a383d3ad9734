"""``backlight.watch``: the gradient of a training run, while the loop stays the user's own."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import Unpack

from backlight.errors import ConfigError, RunDirectoryError
from backlight.foreign.files import expanded
from backlight.runs.places import refuse_url
from backlight.runs.provenance import provenance
from backlight.training.doctor.diagnosis import diagnose
from backlight.training.doctor.findings import Diagnosis
from backlight.training.guarding.guard import attempt
from backlight.training.guarding.unheard import unheard
from backlight.training.log.history import History
from backlight.training.log.writer import TrainingLog
from backlight.training.watching.given import WatchOptions, checked_model, unwrapped
from backlight.training.watching.observer import Observer
from backlight.training.watching.parameters import bare, describe_parameters, is_compiled
from backlight.training.watching.ranks import rank
from backlight.training.watching.schedules import StepCounter, make_schedule
from backlight.training.watching.writers import LogWriters


class Watch:
    """Watches the gradients of a training run through hooks, until it is closed.

    Use ``watch``, which says what the options mean. Whatever fails in a hook ends the watch with
    one warning, and never the training.

    >>> import torch
    >>> from backlight import Watch
    >>> model = torch.nn.Linear(2, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> with Watch(model, optimizer, schedule=1, status=False) as monitor:
    ...     for _ in range(3):
    ...         loss = model(torch.ones(4, 2)).square().mean()
    ...         monitor.loss(loss)
    ...         loss.backward()
    ...         optimizer.step()
    ...         optimizer.zero_grad()
    >>> monitor.steps, monitor.history().losses.shape
    (3, (3,))
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | Iterable[Optimizer],
        run_dir: Path | str | None = None,
        **options: Unpack[WatchOptions],
    ) -> None:
        for name in options.keys() - WatchOptions.__optional_keys__:
            raise TypeError(f"watch() got an unexpected keyword argument {name!r}")
        inner, optimizers = bare(checked_model(model)), unwrapped(optimizer)
        steps_done = options.get("steps_done", 0)
        activations = options.get("activations", False)
        schedule = make_schedule(options.get("schedule", 10))
        counter = StepCounter(schedule, steps_done)
        if activations and is_compiled(model):
            raise ConfigError(
                "The activations of a compiled model cannot be watched, since its blocks are not "
                "called one by one; leave out activations, or torch.compile."
            )
        if run_dir is not None:
            refuse_url(Path(run_dir))
        path = None if run_dir is None else expanded(run_dir, error=RunDirectoryError).absolute()
        writes = rank() == 0
        log = TrainingLog(
            path if writes else None,
            describe_parameters(inner),
            _facts(schedule.words),
            resume=steps_done > 0,
        )
        sinks, status = options.get("sinks", ()), options.get("status", True)
        self._closed = False
        self._observer = Observer(
            model,
            optimizers,
            LogWriters(log, sinks if writes else (), status=status and writes),
            counter,
            loss_of=options.get("loss_of"),
            snapshot=options.get("snapshot", True),
        )
        try:
            self._observer.attach(
                model, options.get("scaler"), activations=activations, directory=path
            )
        except BaseException:
            self._observer.detach()
            log.close()
            raise

    @property
    def steps(self) -> int:
        """How many optimizer steps there were, with those that a gradient scaler left out."""
        return self._observer.counter.steps

    def __enter__(self) -> "Watch":
        """Watch while the context lasts."""
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def loss(self, value: Tensor | float) -> None:
        """Take the loss of a micro-batch, before ``optimizer.step()``.

        Needed only where the model returns no loss. Losses of several micro-batches are averaged.

        Args:
            value: The loss; a tensor is not waited for.
        """
        self._observer.tell_loss(value)

    def history(self) -> History:
        """Return all that is known so far, as ``read_history`` does from the disk."""
        self._observer.see_parameters(closely=True)
        self._observer.write_losses()
        return self._observer.writers.log.history()

    def diagnose(self) -> Diagnosis:
        """Judge the training so far, as ``backlight doctor`` does from the disk."""
        return diagnose(self.history())

    def close(self) -> None:
        """Take all hooks away, write what is left, and close the log and the sinks."""
        if self._closed:
            return
        self._closed = True
        observer = self._observer
        whole = observer.hooks.working
        observer.detach()
        if not observer.hooks.at_home:  # the log is that of the process this one was forked from
            return
        if whole:
            error = attempt(observer.finish)
            if error is not None:
                observer.fail(error)
        attempt(observer.writers.close)


def watch(
    model: nn.Module,
    optimizer: Optimizer | Iterable[Optimizer],
    run_dir: Path | str | None = None,
    **options: Unpack[WatchOptions],
) -> Watch:
    """Watch the gradients of a training run; the loop stays as it is.

    >>> import torch
    >>> import backlight
    >>> model = torch.nn.Linear(2, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> monitor = backlight.watch(model, optimizer, schedule=1, status=False)
    >>> for _ in range(2):
    ...     model(torch.ones(4, 2)).mean().backward()
    ...     optimizer.step()
    ...     optimizer.zero_grad()
    >>> monitor.close()
    >>> monitor.history().steps
    array([1, 2])

    Args:
        model: What is called in the loop.
        optimizer: What takes the steps; several, if a step of the training is one of each.
        run_dir: A directory for the log; None to keep everything in memory.
        options: Any of these, by name.

            - ``schedule``: Which optimizer steps, counted from 1, are measured: a number n for the
              first and every n-th, ``every``, ``log_spaced``, or a function of the step; 10 by
              default.
            - ``scaler``: The gradient scaler, if there is one.
            - ``sinks``: Where numbers are also sent, such as
              ``backlight.integrations.TensorBoardSink``.
            - ``loss_of``: Finds the loss in the model's output; by default it is the output's
              ``loss``, or its only number with a graph. See also ``Watch.loss``.
            - ``activations``: Also measure the gradient at the output of each repeated block; False
              by default.
            - ``snapshot``: Save weights and batch at the first NaN or infinity; True by default.
            - ``status``: Show a line in the terminal, if there is one; True by default.
            - ``steps_done``: How many steps an earlier process did, 0 by default; its log, if there
              is one, is gone on with.

    Returns:
        The watch; close it at the end, or use it as a context.

    Raises:
        ModelError: If there is no model, no parameter is trainable, or one cannot be watched.
        RunDirectoryError: If the directory already holds a log.
        ConfigError: If the schedule or the optimizer is none, or activations of a compiled model
            are asked for.
    """
    return Watch(model, optimizer, run_dir, **options)


def _facts(schedule: str) -> dict[str, Any]:
    with unheard():  # git is asked
        versions = provenance()
    return {"started": versions.pop("started"), "versions": versions, "schedule": schedule}
