"""``backlight.watch``: the gradient of a training run, while the loop stays the user's own."""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from backlight.errors import BacklightError, ConfigError, RunDirectoryError, UsageError
from backlight.foreign.files import expanded
from backlight.runs.provenance import provenance
from backlight.training.doctor import Diagnosis, diagnose
from backlight.training.guarding.guard import attempt
from backlight.training.guarding.hooks import Hooks
from backlight.training.guarding.unheard import unheard
from backlight.training.guarding.warn_once import complain, in_words, message_of
from backlight.training.log.history import Event, History
from backlight.training.log.sinks import Sink
from backlight.training.log.writer import TrainingLog
from backlight.training.log.writers import Outlets
from backlight.training.measuring.measurement import Measurement
from backlight.training.non_finite.batches import remember, scalars
from backlight.training.non_finite.detector import Alarm
from backlight.training.watching.activations import ActivationGradients
from backlight.training.watching.backward import BackwardEnd, under_way
from backlight.training.watching.event import Trouble
from backlight.training.watching.given import checked_model, unwrapped
from backlight.training.watching.losses import LossMeter
from backlight.training.watching.parameters import (
    DepthOrder,
    bare,
    blocks,
    describe_parameters,
    is_compiled,
)
from backlight.training.watching.ranks import LocalNorms, rank
from backlight.training.watching.roster import Roster
from backlight.training.watching.scaling import ScalerWatch, left_to_optimizer, optimizer_skips
from backlight.training.watching.schedules import Schedule, make_schedule


class Watch:
    """Watches the gradients of a training run through hooks, until it is closed.

    Use ``watch``, which says what the options mean. Whatever fails in a hook ends the watch with
    one warning, and never the training.

    With several optimizers a step is one of each; it ends when all have stepped, or when one is
    about to step for the second time.

    Attributes:
        steps: How many optimizer steps there were, those that a gradient scaler left out included.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | Iterable[Optimizer],
        run_dir: Path | str | None = None,
        *,
        schedule: int | Callable[[int], bool] = 10,
        scaler: torch.amp.GradScaler | None = None,
        sinks: Iterable[Sink] = (),
        loss_of: Callable[[Any], Tensor | float | None] | None = None,
        activations: bool = False,
        snapshot: bool = True,
        status: bool = True,
        steps_done: int = 0,
    ) -> None:
        self._model = bare(checked_model(model))
        self._optimizers = unwrapped(optimizer)
        self._schedule = make_schedule(schedule)
        self.steps = steps_done
        self._due = self._due_next = self._schedule(steps_done + 1)
        self._closed = self._unfinished = self._skipping = self._in_closure = False
        self._stepping: Optimizer | None = None
        self._stepped: list[Optimizer] = []  # of the step that is under way
        self._moved = False  # since the last backward pass
        self._learning_rates: list[float] = []
        self._scale = 1.0
        compiled = is_compiled(model)
        if compiled and activations:
            raise ConfigError(
                "The activations of a compiled model cannot be watched, since its blocks are not "
                "called one by one; leave out activations, or torch.compile."
            )
        path = None if run_dir is None else expanded(run_dir, error=RunDirectoryError).absolute()
        self._writes = rank() == 0
        log = TrainingLog(
            path if self._writes else None,
            describe_parameters(self._model),
            _facts(self._schedule),
            resume=steps_done > 0,
        )
        self._roster = Roster(self._model, log.parameters, self._optimizers)
        weights = self._roster.weights
        # Norms of distributed parameters are a joint work of all processes.
        self._measures = self._writes or any(isinstance(weight, DTensor) for weight in weights)
        self._losses = LossMeter(loss_of)
        self._measured = self._later = Measurement(weights)
        self._alarm = Alarm(self._model, weights)
        self._hooks = Hooks(self._model, self._failed, compiled=compiled)
        self._outlets = Outlets(log, sinks if self._writes else (), status=status and self._writes)
        self._trouble = Trouble(
            self._model, self._alarm, self._losses, self._outlets, snapshot=snapshot
        )
        parallel = isinstance(model, DistributedDataParallel)
        self._local = LocalNorms(path, self._hooks, self._is_due) if parallel else None
        self._backward = BackwardEnd(self._hooks, self._after_backward, behind_reduction=parallel)
        self._depths: DepthOrder | None = None
        self._activations: ActivationGradients | None = None
        self._scaler = ScalerWatch(None, num_steps=self._num_steps, skipped=self._skipped)
        try:
            self._attach(model, scaler, activations=activations, compiled=compiled)
        except BaseException:
            self._detach()
            log.close()
            raise

    def _attach(
        self,
        model: nn.Module,
        scaler: torch.amp.GradScaler | None,
        *,
        activations: bool,
        compiled: bool,
    ) -> None:
        """Register the hooks."""
        add = self._hooks.add
        if not compiled:
            self._depths = DepthOrder(self._model, self._hooks)
        if activations:
            self._activations = ActivationGradients(blocks(self._model), self._hooks, self._is_due)
        if self._local is not None:
            self._local.follow(self._roster.weights)
        self._scaler = ScalerWatch(
            scaler,
            num_steps=self._num_steps,
            skipped=lambda optimizer: self._hooks.run(self._skipped, optimizer),
        )
        self._backward.follow(self._roster.weights)
        add(model.register_forward_pre_hook, self._before_forward, with_kwargs=True)
        add(model.register_forward_hook, self._after_forward, with_kwargs=True)
        for optimizer in self._optimizers:
            add(optimizer.register_step_pre_hook, self._before_step)
            add(optimizer.register_step_post_hook, self._after_step)
        # All optimizers call this one, which must not keep the watch alive.
        self._hooks.add_for_all(register_optimizer_step_pre_hook, self._other_step)

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
        if self._hooks.working and self._hooks.at_home:
            self._losses.tell(value, later=bool(self._stepped))

    def history(self) -> History:
        """Give all that is known so far, as ``read_history`` gives it from the disk."""
        self._see_parameters(closely=True)
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
        whole = self._hooks.working
        self._detach()
        if not self._hooks.at_home:  # the log belongs to the process that this one was forked from
            return
        if whole:
            error = attempt(self._finish)
            if error is not None:
                self._failed(error)
        attempt(self._outlets.close)

    def _finish(self) -> None:
        """Tell what is left."""
        if self._stepped:
            self._end_step()
        self._stop_depths()
        self._see_parameters(closely=True)
        step = self.steps + self._unfinished
        self._trouble.look(step, untouched=self._unfinished and not self._moved)
        if not self._alarm.told:
            self._trouble.look_at_loss(self.steps + 1)
        self._outlets.tell_losses(self._losses.take())

    def _detach(self) -> None:
        self._hooks.remove()
        self._scaler.remove()

    def _failed(self, error: Exception) -> None:
        """Say once that the watch has ended, and let go of everything."""
        self._scaler.remove()
        step = self.steps + (self._stepping is None)
        reason = message_of(error) if isinstance(error, BacklightError) else in_words(error)
        text = (
            f"The watch has ended at step {step}, and the training goes on without it: "
            f"{reason.rstrip('.')}."
        )
        complain(text)
        attempt(lambda: self._outlets.tell_losses(self._losses.take()))
        attempt(lambda: self._outlets.tell_event(Event(step=step, what="unwatched", text=text)))
        self._losses = LossMeter(None)
        self._measured = self._later = Measurement(self._roster.weights)
        self._alarm.last = None
        self._alarm.clear()

    def _is_due(self) -> bool:
        """Tell whether gradients that come now are measured."""
        return self._due or (bool(self._stepped) and self._due_next)

    def _num_steps(self, optimizer: Optimizer) -> int | None:
        """Count the steps of an optimizer, for the gradient scaler; None if it is not watched."""
        chosen = unwrapped(optimizer)[0]
        if not any(chosen is each for each in self._optimizers):
            return None
        return self.steps * 2 + any(chosen is each for each in self._stepped)

    def _before_forward(self, module: nn.Module, arguments: Any, keywords: Any) -> None:
        del module
        if torch.is_grad_enabled():
            self._backward.forget()
            self._see_parameters()
            if self._depths is not None:
                self._depths.begin()
            self._alarm.last = remember(
                self._model, self._alarm.device, arguments, keywords, self.steps + 1
            )

    def _after_forward(self, module: nn.Module, arguments: Any, keywords: Any, output: Any) -> None:
        del module, arguments
        if torch.is_grad_enabled():
            if self._alarm.last is not None:
                self._alarm.last.results.extend(scalars(output))
            self._losses.see(output, keywords)
            self._stop_depths()

    def _after_backward(self) -> None:
        if self._in_closure and self._stepping is not None:  # not its first call in this step
            return
        if self._stepping is not None:  # the optimizer's step has failed, and is done once more
            self._stepping = None
            self.steps -= not self._stepped
        self._unfinished, self._moved = True, False
        self._stop_depths()  # also where the loop calls parts of the model, not the model
        self._see_parameters()
        later = bool(self._stepped)
        self._losses.count(later=later)
        self._alarm.see_gradients(self._roster.gradients(), self.steps + (not later))
        if self._is_due() and self._measures:
            self._later = Measurement(self._roster.weights) if later else self._measured
            self._later.gradients(self._scaler.scale())

    def _before_step(self, optimizer: Optimizer, arguments: Any, keywords: Any) -> Any:
        closure = keywords.get("closure", arguments[1] if len(arguments) > 1 else None)
        if closure is None:
            self._before_update(optimizer)
            return None
        self._stepping = None  # of a step that has failed

        def observed() -> Any:
            self._in_closure = True
            try:
                result = closure()
            finally:
                self._in_closure = False
            if self._stepping is None:
                self._hooks.run(self._before_update, optimizer)
            return result

        if "closure" in keywords:
            return arguments, {**keywords, "closure": observed}
        return (arguments[0], observed, *arguments[2:]), keywords

    def _before_update(self, optimizer: Optimizer) -> None:
        """Measure what the optimizer is about to use: all gradients are there, and clipped."""
        if under_way():
            raise UsageError(
                "an optimizer stepped inside of the backward pass, so that gradients are gone "
                "before all are there; such a training cannot be watched"
            )
        self._begin(optimizer)
        self._stepping = optimizer
        if self._due or self._alarm.at_once:
            self._skipping = optimizer_skips(optimizer)
            if not self._skipping:
                self._trouble.look(self.steps, untouched=not self._moved)
        if self._due and self._measures:
            waiting = self._roster.owned_by_others(optimizer, self._stepped)
            places = set(range(len(self._roster.weights))) - waiting
            self._measured.before_update(places, left_to_optimizer(optimizer))

    def _begin(self, optimizer: Optimizer) -> None:
        """Decide whether an optimizer's step is a part of the step under way, or the next one."""
        if any(optimizer is each for each in self._stepped):
            if not self._alarm.told:
                self._alarm.move(self.steps, self.steps + 1)
            self._end_step()
        elif self._stepped:
            self._losses.join()
            if self._later is not self._measured:
                self._measured.adopt(self._later, self._roster.owned_by(optimizer))
        if not self._stepped:
            self.steps += 1
            self._alarm.see_weights(self.steps)
            self._due_next = self._schedule(self.steps + 1)
        if self._due and self._measures:
            self._learning_rates = _learning_rates(self._optimizers)
            self._scale = self._scaler.scale()

    def _after_step(self, optimizer: Optimizer, arguments: Any, keywords: Any) -> None:
        del arguments, keywords
        if self._stepping is None:  # a closure was not called
            return
        self._stepping, self._moved = None, True
        if self._skipping:
            self._trouble.skipped(self.steps, self._scaler.scale())
        self._stepped_with(optimizer)

    def _skipped(self, optimizer: Optimizer) -> None:
        """Take note of a step that the gradient scaler left out, and never gave the optimizer."""
        chosen = unwrapped(optimizer)[0]
        self._begin(chosen)
        if self._due and self._measures and not self._measured.statistics:
            self._measured.gradients(1.0)
        self._trouble.skipped(self.steps, self._scaler.scale())
        self._stepped_with(chosen)

    def _stepped_with(self, optimizer: Optimizer) -> None:
        self._stepped.append(optimizer)
        self._unfinished = self._skipping = False
        if self._activations is not None and self._is_due():
            self._activations.set_aside(self._scale)
        if len(self._stepped) == len(self._optimizers):
            self._later = self._measured
            self._losses.join()
            self._end_step()

    def _other_step(self, optimizer: Optimizer, arguments: Any, keywords: Any) -> None:
        """Take note of what another optimizer changes."""
        del arguments, keywords
        if any(optimizer is each for each in self._optimizers):
            return
        places, news = self._roster.see_other(optimizer)
        if news:
            self._outlets.log.describe(self._roster.infos)
        if places and self._due and self._measures and self._measured.statistics:
            self._measured.clip(places, left_to_optimizer(optimizer))

    def _end_step(self) -> None:
        self._losses.end_step(self.steps)
        due, stepped, self._stepped = self._due, self._stepped, []
        if due:
            self._tell(stepped)
        elif self._activations is not None:
            self._activations.take()
        following = self._later
        self._later = self._measured = (
            Measurement(self._roster.weights) if following is self._measured else following
        )
        self._due = not self._closed and self._due_next
        if due:
            self._see_parameters(closely=True)

    def _tell(self, stepped: Sequence[Optimizer]) -> None:
        """Tell the numbers of a measured step."""
        scale = self._scale if self._scaler.is_on else None
        if self._local is not None:
            self._local.write(self.steps, self._scale)
        activations = None if self._activations is None else self._activations.take()
        if self._measures:
            self._measured.after_update(self._roster.not_moved_by(stepped))
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

    def _see_parameters(self, *, closely: bool = False) -> None:
        """See which parameters came, went, were frozen or unfrozen."""
        if self._roster.look(self.steps + 1, closely=closely):
            self._outlets.log.describe(self._roster.infos)
            if self._hooks.working:
                self._backward.follow(self._roster.weights)
                if self._local is not None:
                    self._local.follow(self._roster.weights)

    def _stop_depths(self) -> None:
        """End the first forward pass: the order of the modules is known."""
        if self._depths is not None:
            self._depths.stop()
            self._roster.infos = self._depths.apply(self._roster.infos)
            self._outlets.log.describe(self._roster.infos)
            self._depths = None


def watch(
    model: nn.Module,
    optimizer: Optimizer | Iterable[Optimizer],
    run_dir: Path | str | None = None,
    *,
    schedule: int | Callable[[int], bool] = 10,
    scaler: torch.amp.GradScaler | None = None,
    sinks: Iterable[Sink] = (),
    loss_of: Callable[[Any], Tensor | float | None] | None = None,
    activations: bool = False,
    snapshot: bool = True,
    status: bool = True,
    steps_done: int = 0,
) -> Watch:
    """Watch the gradients of a training run; the loop stays as it is.

    Args:
        model: What is called in the loop.
        optimizer: What takes the steps; several, if a step of the training is one of each.
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
        ModelError: If there is no model, no parameter is trainable, or one cannot be watched.
        RunDirectoryError: If the directory already holds a log.
        ConfigError: If the schedule or the optimizer is none, or activations of a compiled model
            are asked for.
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


def _learning_rates(optimizers: Sequence[Optimizer]) -> list[float]:
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    return [float(group["lr"]) for group in groups if "lr" in group]


def _facts(schedule: Schedule) -> dict[str, Any]:
    with unheard():  # git is asked
        versions = provenance()
    return {
        "started": versions.pop("started"),
        "versions": versions,
        "schedule": schedule.words,
    }
