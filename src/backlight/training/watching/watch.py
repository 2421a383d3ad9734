"""``backlight.watch``: the gradient of a training run, while the loop stays the user's own."""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from backlight.errors import ConfigError
from backlight.runs.provenance import provenance
from backlight.training.alarm.alarm import Alarm
from backlight.training.alarm.batches import remember
from backlight.training.history.history import History
from backlight.training.measuring.measurement import Measurement
from backlight.training.outlets.log import TrainingLog
from backlight.training.outlets.outlets import Outlets
from backlight.training.outlets.sinks import Sink
from backlight.training.symptoms import Diagnosis, diagnose
from backlight.training.watching.activations import ActivationGradients
from backlight.training.watching.backward import BackwardEnd
from backlight.training.watching.losses import LossMeter
from backlight.training.watching.parameters import (
    DepthOrder,
    bare,
    blocks,
    describe_parameters,
    is_compiled,
)
from backlight.training.watching.ranks import LocalNorms, rank
from backlight.training.watching.scaling import ScalerWatch
from backlight.training.watching.schedules import Schedule, make_schedule
from backlight.training.watching.trouble import Trouble

__all__ = ["Watch", "watch"]


class Watch:
    """Watches the gradients of a training run through hooks, until it is closed.

    Use ``watch``, which says what the options mean.

    Attributes:
        steps: How many optimizer steps there were, those that a gradient scaler left out included.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        run_dir: Path | str | None = None,
        *,
        schedule: int | Callable[[int], bool] = 10,
        scaler: torch.amp.GradScaler | None = None,
        sinks: Iterable[Sink] = (),
        loss_of: Callable[[Any], Tensor | None] | None = None,
        activations: bool = False,
        snapshot: bool = True,
        status: bool = True,
        steps_done: int = 0,
    ) -> None:
        self._model = bare(model)
        self._optimizer = _unwrapped(optimizer)
        self._schedule = make_schedule(schedule)
        self.steps = steps_done
        self._due = self._schedule(steps_done + 1)
        self._closed = self._unfinished = self._stepping = self._skipping = False
        self._learning_rates: list[float] = []
        self._scale = 1.0
        self._weights = list(self._model.parameters())
        parameters = describe_parameters(self._model)
        compiled = is_compiled(model)
        if compiled and activations:
            raise ConfigError(
                "The activations of a compiled model cannot be watched, since its blocks are not "
                "called one by one; leave out activations, or torch.compile."
            )
        path = None if run_dir is None else Path(run_dir)
        self._writes = rank() == 0
        # Norms of distributed parameters are a joint work of all processes.
        spread = any(isinstance(weight, DTensor) for weight in self._weights)
        self._measures = self._writes or spread
        log = TrainingLog(
            path if self._writes else None,
            parameters,
            _facts(self._schedule),
            resume=steps_done > 0,
        )
        self._outlets = Outlets(log, sinks if self._writes else (), status=status and self._writes)
        self._losses = LossMeter(loss_of)
        self._measured = Measurement(self._weights)
        self._alarm = Alarm(self._model, self._weights)
        self._trouble = Trouble(
            self._model, self._alarm, self._losses, self._outlets, snapshot=snapshot
        )
        self._depths = None if compiled else DepthOrder(self._model)
        self._activations = (
            ActivationGradients(blocks(self._model), lambda: self._due) if activations else None
        )
        parallel = isinstance(model, DistributedDataParallel)
        self._local = LocalNorms(path, self._weights, lambda: self._due) if parallel else None
        self._scaler = ScalerWatch(
            scaler, self._optimizer, num_steps=lambda: self.steps, skipped=self._skipped
        )
        self._backward = BackwardEnd(self._weights, self._after_backward, behind_reduction=parallel)
        # torch.compiler.disable loads the compiler, so it is left alone where nothing is compiled.
        untraced: Any = torch.compiler.disable if compiled else _as_it_is
        self._handles: list[RemovableHandle] = [
            model.register_forward_pre_hook(untraced(self._before_forward), with_kwargs=True),
            model.register_forward_hook(untraced(self._after_forward), with_kwargs=True),
            self._optimizer.register_step_pre_hook(self._before_step),
            self._optimizer.register_step_post_hook(self._after_step),
        ]

    def __enter__(self) -> "Watch":
        """Watch while the context lasts."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def loss(self, value: Tensor | float) -> None:
        """Tell the loss of a micro-batch, before ``optimizer.step()``.

        Needed only where the model returns no loss. Losses of several micro-batches are averaged.

        Args:
            value: The loss; a tensor is not waited for.
        """
        self._losses.tell(value)

    def history(self) -> History:
        """Give all that is known so far, as ``read_history`` gives it from the disk."""
        self._outlets.tell_losses(self._losses.take())
        return self._outlets.history()

    def diagnose(self) -> Diagnosis:
        """Judge the training so far, as ``backlight doctor`` does from the disk."""
        return diagnose(self.history())

    def close(self) -> None:
        """Take all hooks away, write what is left, and close the log and the sinks."""
        if self._closed:
            return
        self._closed = True
        for handle in self._handles:
            handle.remove()
        for part in (self._backward, self._scaler, self._activations, self._local):
            if part is not None:
                part.remove()
        self._stop_depths()
        step = self.steps + self._unfinished
        self._trouble.look(step, untouched=self._unfinished)
        if not self._alarm.told:
            self._trouble.look_at_loss(self.steps + 1)
        self._outlets.tell_losses(self._losses.take())
        self._outlets.close()

    def _before_forward(self, module: nn.Module, arguments: Any, keywords: Any) -> None:
        del module
        if torch.is_grad_enabled():
            self._backward.forget()
            self._alarm.last = remember(
                self._model, self._alarm.device, arguments, keywords, self.steps + 1
            )

    def _after_forward(self, module: nn.Module, arguments: Any, keywords: Any, output: Any) -> None:
        del module, arguments
        if torch.is_grad_enabled():
            self._losses.see(output, keywords)
            self._stop_depths()

    def _after_backward(self) -> None:
        self._unfinished = True
        self._stop_depths()  # also where the loop calls parts of the model, not the model
        self._losses.count()
        if self._stepping:  # a closure that is called more than once in a step
            return
        gradients = [weight.grad for weight in self._weights]
        self._alarm.see_gradients(gradients, self.steps + 1)
        if self._due and self._measures:
            self._measured.gradients(self._scaler.scale())

    def _before_step(self, optimizer: Optimizer, arguments: Any, keywords: Any) -> Any:
        del optimizer
        closure = keywords.get("closure", arguments[1] if len(arguments) > 1 else None)
        if closure is None:
            self._before_update()
            return None

        def observed() -> Any:
            result = closure()
            if not self._stepping:
                self._before_update()
            return result

        if "closure" in keywords:
            return arguments, {**keywords, "closure": observed}
        return (arguments[0], observed, *arguments[2:]), keywords

    def _before_update(self) -> None:
        """Measure what the optimizer is about to use: all gradients are there, and clipped."""
        self._stepping = True
        self.steps += 1
        self._alarm.see_weights(self.steps)
        if self._due or self._alarm.at_once:
            self._skipping = self._scaler.optimizer_skips()
            if not self._skipping:
                self._trouble.look(self.steps, untouched=True)
        if self._due and self._measures:
            self._learning_rates = _learning_rates(self._optimizer)
            self._scale = self._scaler.scale()
            self._measured.before_update(self._scaler.left_to_optimizer())

    def _after_step(self, optimizer: Optimizer, arguments: Any, keywords: Any) -> None:
        del optimizer, arguments, keywords
        if not self._stepping:  # a closure was not called
            return
        self._stepping = False
        if self._skipping:
            self._trouble.skipped(self.steps, self._scaler.scale())
        self._end_step()

    def _skipped(self) -> None:
        """Take note of a step that the gradient scaler left out, and never gave the optimizer."""
        self.steps += 1
        if self._due and self._measures:
            self._learning_rates = _learning_rates(self._optimizer)
            self._scale = self._scaler.scale()
            if not self._measured.statistics:
                self._measured.gradients(1.0)
        self._trouble.skipped(self.steps, self._scaler.scale())
        self._end_step()

    def _end_step(self) -> None:
        self._unfinished = self._skipping = False
        self._losses.end_step(self.steps)
        if self._due:
            self._tell()
        self._measured.reset()
        self._due = not self._closed and self._schedule(self.steps + 1)

    def _tell(self) -> None:
        """Tell the numbers of a measured step."""
        scale = self._scale if self._scaler.is_on else None
        if self._local is not None:
            self._local.write(self.steps, self._scale)
        activations = None if self._activations is None else self._activations.take(self._scale)
        if self._measures:
            self._measured.after_update()
        if not self._writes:
            self._losses.take()
            return
        if math.isfinite(self._measured.norm):
            self._trouble.over()
        self._outlets.tell_step(
            self.steps,
            self._measured,
            losses=self._losses.take(),
            learning_rates=self._learning_rates,
            scale=scale,
            activations=activations,
        )

    def _stop_depths(self) -> None:
        """End the first forward pass: the order of the modules is known."""
        if self._depths is not None:
            self._depths.stop()
            self._outlets.log.describe(self._depths.apply(self._outlets.log.parameters))
            self._depths = None


def watch(
    model: nn.Module,
    optimizer: Optimizer,
    run_dir: Path | str | None = None,
    *,
    schedule: int | Callable[[int], bool] = 10,
    scaler: torch.amp.GradScaler | None = None,
    sinks: Iterable[Sink] = (),
    loss_of: Callable[[Any], Tensor | None] | None = None,
    activations: bool = False,
    snapshot: bool = True,
    status: bool = True,
    steps_done: int = 0,
) -> Watch:
    """Watch the gradients of a training run; the loop stays as it is.

    Args:
        model: What is called in the loop.
        optimizer: What takes the steps.
        run_dir: A directory for the log; None to keep everything in memory.
        schedule: Which optimizer steps, counted from 1, are measured: a number n for the first
            and every n-th, ``every``, ``log_spaced``, or a function of the step.
        scaler: The gradient scaler, if there is one.
        sinks: Where numbers are also sent, such as ``backlight.integrations.TensorBoardSink``.
        loss_of: Finds the loss in the model's output; by default it is the output's ``loss``, or
            its only number with a graph. See also ``Watch.loss``.
        activations: Also measure the gradient at the output of each repeated block.
        snapshot: Save weights and batch at the first NaN or infinity.
        status: Show a line in the terminal, if there is one.
        steps_done: How many steps an earlier process did; its log, if there is one, is gone on
            with.

    Returns:
        The watch; close it at the end, or use it as a context.

    Raises:
        ModelError: If no parameter is trainable, or one is complex.
        RunDirectoryError: If the directory already holds a log.
        ConfigError: If the schedule is none, or activations of a compiled model are asked for.
    """
    return Watch(
        model,
        optimizer,
        run_dir,
        schedule=schedule,
        scaler=scaler,
        sinks=sinks,
        loss_of=loss_of,
        activations=activations,
        snapshot=snapshot,
        status=status,
        steps_done=steps_done,
    )


def _as_it_is(hook: Callable[..., Any]) -> Callable[..., Any]:
    return hook


def _unwrapped(optimizer: Optimizer) -> Optimizer:
    """Take off what other libraries put around an optimizer: its own steps have the hooks."""
    inner = getattr(optimizer, "optimizer", None)
    return _unwrapped(inner) if isinstance(inner, Optimizer) else optimizer


def _learning_rates(optimizer: Optimizer) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups if "lr" in group]


def _facts(schedule: Schedule) -> dict[str, Any]:
    versions = provenance()
    return {
        "started": versions.pop("started"),
        "versions": versions,
        "schedule": schedule.words,
    }
