"""What the hooks of a watch do: follow its steps, measure those that are due, and write them."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from backlight.errors import BacklightError, UsageError
from backlight.training.guarding.guard import attempt, in_words, message_of, warn_once
from backlight.training.guarding.hooks import Hooks
from backlight.training.log.history import Event
from backlight.training.non_finite.detector import Detector
from backlight.training.watching.activations import ActivationGradients
from backlight.training.watching.backward import BackwardEnd, under_way
from backlight.training.watching.event import NonFiniteEvents
from backlight.training.watching.given import unwrapped
from backlight.training.watching.losses import LossMeter
from backlight.training.watching.meter import StepMeter
from backlight.training.watching.parameters import DepthOrder, bare, blocks, is_compiled
from backlight.training.watching.ranks import LocalNorms, rank
from backlight.training.watching.roster import Roster
from backlight.training.watching.scaling import ScalerListener, optimizer_skips
from backlight.training.watching.schedules import StepCounter
from backlight.training.watching.writers import LogWriters


class Observer:
    """Follows the steps of a training through hooks.

    With several optimizers a step is one of each; it ends when all have stepped, or when one is
    about to step for the second time.

    Attributes:
        counter: Which step is under way.
        hooks: All hooks but the listener of the gradient scaler.
        losses: The loss of every step.
        writers: Where numbers and events go.
        detector: Sees the first gradient that is not finite.
        events: Writes of it.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizers: Sequence[Optimizer],
        writers: LogWriters,
        counter: StepCounter,
        *,
        loss_of: Callable[[Any], Tensor | float | None] | None,
        snapshot: bool,
    ) -> None:
        """Begin without hooks.

        Args:
            model: What is called in the loop.
            optimizers: What takes the steps.
            writers: Where numbers and events go.
            counter: Which step is under way, and whether it is measured.
            loss_of: Finds the loss in the model's output; None for the usual places.
            snapshot: Save weights and batch at the first NaN or infinity.
        """
        self._model = bare(model)
        self._optimizers = optimizers
        self._unfinished = self._skipping = self._in_closure = False
        self._stepping: Optimizer | None = None
        self._stepped: list[Optimizer] = []  # of the step that is under way
        self._moved = False  # since the last backward pass
        self.counter = counter
        self.writers = writers
        self._roster = Roster(self._model, writers.log.parameters, optimizers)
        self._meter = StepMeter(self._roster, optimizers, writes=rank() == 0)
        self.losses = LossMeter(loss_of)
        self.detector = Detector(self._model, self._roster.weights)
        self.events = NonFiniteEvents(self.detector, self.losses, writers, snapshot=snapshot)
        self.hooks = Hooks(self._model, self.fail, compiled=is_compiled(model))
        self._depths: DepthOrder | None = None
        self._activations: ActivationGradients | None = None
        self._local: LocalNorms | None = None
        parallel = isinstance(model, DistributedDataParallel)
        self._backward = BackwardEnd(self.hooks, self._after_backward, behind_reduction=parallel)

    def attach(
        self,
        model: nn.Module,
        scaler: torch.amp.GradScaler | None,
        *,
        activations: bool,
        directory: Path | None,
    ) -> None:
        """Register the hooks.

        Args:
            model: What is called in the loop.
            scaler: The gradient scaler, if there is one.
            activations: Also measure the gradient at the output of each repeated block.
            directory: Where each of several processes writes its own norms.
        """
        add = self.hooks.add
        if not is_compiled(model):
            self._depths = DepthOrder(self._model, self.hooks)
        if activations:
            self._activations = ActivationGradients(blocks(self._model), self.hooks, self._is_due)
        if isinstance(model, DistributedDataParallel):
            self._local = LocalNorms(directory, self.hooks, self._is_due)
            self._local.follow(self._roster.weights)
        if scaler is not None and scaler.is_enabled():
            self._meter.scaler = ScalerListener(
                scaler,
                num_steps=self._num_steps,
                skipped=lambda optimizer: self.hooks.run(self._skipped, optimizer),
            )
        self._backward.follow(self._roster.weights)
        add(model.register_forward_pre_hook, self._before_forward, with_kwargs=True)
        add(model.register_forward_hook, self._after_forward, with_kwargs=True)
        for optimizer in self._optimizers:
            add(optimizer.register_step_pre_hook, self._before_step)
            add(optimizer.register_step_post_hook, self._after_step)
        # All optimizers call this one, which must not keep the watch alive.
        self.hooks.add_for_all(register_optimizer_step_pre_hook, self._other_step)

    def tell_loss(self, value: Tensor | float) -> None:
        """Take the loss of a micro-batch from the user."""
        if self.hooks.working and self.hooks.at_home:
            self.losses.tell(value, later=bool(self._stepped))

    def write_losses(self) -> None:
        """Write the losses that are known so far."""
        self.writers.write_losses(self.losses.take())

    def finish(self) -> None:
        """Write what is left."""
        if self._stepped:
            self._end_step()
        self._stop_depths()
        self.see_parameters(closely=True)
        steps = self.counter.steps
        untouched = self._unfinished and not self._moved
        self.events.look(steps + self._unfinished, untouched=untouched)
        if not self.detector.told:
            self.events.look_at_loss(steps + 1)
        self.write_losses()

    def detach(self) -> None:
        """Take all hooks away."""
        self.hooks.remove()
        self._meter.detach()

    def fail(self, error: Exception) -> None:
        """Warn once that the watch has ended, and let go of everything."""
        self._meter.detach()
        step = self.counter.steps + (self._stepping is None)
        reason = message_of(error) if isinstance(error, BacklightError) else in_words(error)
        reason = reason.rstrip(".")
        text = f"The watch has ended at step {step}, and the training goes on without it: {reason}."
        warn_once(text)
        attempt(self.write_losses)
        attempt(lambda: self.writers.write_event(Event(step=step, what="unwatched", text=text)))
        self.losses = LossMeter(None)
        self._meter.reset()
        self.detector.forget()

    def _is_due(self) -> bool:
        """Check whether gradients that come now are measured."""
        return self.counter.due or (bool(self._stepped) and self.counter.due_next)

    def _num_steps(self, optimizer: Optimizer) -> int | None:
        """Count the steps of an optimizer, for the gradient scaler; None if it is not watched."""
        chosen = unwrapped(optimizer)[0]  # only whether the number changes matters
        if not any(chosen is each for each in self._optimizers):
            return None
        return self.counter.steps * 2 + any(chosen is each for each in self._stepped)

    def _before_forward(self, module: nn.Module, arguments: Any, keywords: Any) -> None:
        del module
        if torch.is_grad_enabled():
            self._backward.forget()
            self.see_parameters()
            if self._depths is not None:
                self._depths.begin()
            self.detector.see_inputs(arguments, keywords, self.counter.steps + 1)

    def _after_forward(self, module: nn.Module, arguments: Any, keywords: Any, output: Any) -> None:
        del module, arguments
        if torch.is_grad_enabled():
            self.detector.see_output(output)
            self.losses.see(output, keywords)
            self._stop_depths()

    def _after_backward(self) -> None:
        if self._in_closure and self._stepping is not None:  # not its first call in this step
            return
        if self._stepping is not None:  # the optimizer's step has failed, and is done once more
            self._stepping = None
            self.counter.steps -= not self._stepped
        self._unfinished, self._moved = True, False
        self._stop_depths()  # also where the loop calls parts of the model, not the model
        self.see_parameters()
        later = bool(self._stepped)
        self.losses.count(later=later)
        self.detector.see_gradients(
            [weight.grad for weight in self._roster.weights], self.counter.steps + (not later)
        )
        if self._is_due():
            self._meter.see_gradients(later=later)

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
                self.hooks.run(self._before_update, optimizer)
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
        if self.counter.due or self.detector.at_once:
            self._skipping = optimizer_skips(optimizer)
            if not self._skipping:
                self.events.look(self.counter.steps, untouched=not self._moved)
        if self.counter.due:
            self._meter.before_update(optimizer, self._stepped)

    def _begin(self, optimizer: Optimizer) -> None:
        """Decide whether an optimizer's step is a part of the step under way, or the next one."""
        if any(optimizer is each for each in self._stepped):
            if not self.detector.told:
                self.detector.move(self.counter.steps, self.counter.steps + 1)
            self._end_step()
        elif self._stepped:
            self.losses.join()
            self._meter.join(optimizer)
        if not self._stepped:
            self.counter.begin()
            self.detector.see_weights(self.counter.steps)
        if self.counter.due:
            self._meter.begin()

    def _after_step(self, optimizer: Optimizer, arguments: Any, keywords: Any) -> None:
        del arguments, keywords
        if self._stepping is None:  # a closure was not called
            return
        self._stepping, self._moved = None, True
        if self._skipping:
            self.events.skipped(self.counter.steps, self._meter.current_scale())
        self._stepped_with(optimizer)

    def _skipped(self, optimizer: Optimizer) -> None:
        """Take note of a step that the gradient scaler left out, and never gave the optimizer."""
        chosen = unwrapped(optimizer)[0]
        self._begin(chosen)
        if self.counter.due:
            self._meter.see_skipped()
        self.events.skipped(self.counter.steps, self._meter.current_scale())
        self._stepped_with(chosen)

    def _stepped_with(self, optimizer: Optimizer) -> None:
        self._stepped.append(optimizer)
        self._unfinished = self._skipping = False
        if self._activations is not None and self._is_due():
            self._activations.set_aside(self._meter.scale)
        if len(self._stepped) == len(self._optimizers):
            self.losses.join()
            self._end_step(whole=True)

    def _other_step(self, optimizer: Optimizer, arguments: Any, keywords: Any) -> None:
        """Take note of what another optimizer changes."""
        del arguments, keywords
        if any(optimizer is each for each in self._optimizers):
            return
        places, news = self._roster.see_other(optimizer)
        if news:
            self.writers.log.describe(self._roster.infos)
        if places and self.counter.due:
            self._meter.see_other(optimizer, places)

    def _end_step(self, *, whole: bool = False) -> None:
        """End a step; ``whole`` if all optimizers have stepped, so that the next is not begun."""
        self.losses.end_step(self.counter.steps)
        due, stepped, self._stepped = self.counter.due, self._stepped, []
        activations = None if self._activations is None else self._activations.take()
        if due:
            self._write_step(stepped, activations)
        self._meter.end(whole=whole)
        self.counter.end()
        if due:
            self.see_parameters(closely=True)

    def _write_step(
        self, stepped: Sequence[Optimizer], activations: Mapping[str, float | None] | None
    ) -> None:
        """Write the numbers of a measured step."""
        if self._local is not None:
            self._local.write(self.counter.steps, self._meter.scale)
        self._meter.after_update(stepped)
        losses = self.losses.take()
        if self._meter.writes:
            if math.isfinite(self._meter.measured.norm):
                self.events.over()
            self.writers.write_step(
                self.counter.steps,
                self._meter.measured,
                losses=losses,
                learning_rates=self._meter.learning_rates,
                scale=None if self._meter.scaler is None else self._meter.scale,
                activations=activations,
            )

    def see_parameters(self, *, closely: bool = False) -> None:
        """Find which parameters came, went, were frozen or unfrozen."""
        if self._roster.look(self.counter.steps + 1, closely=closely):
            self.writers.log.describe(self._roster.infos)
            if self.hooks.working:
                self._backward.follow(self._roster.weights)
                if self._local is not None:
                    self._local.follow(self._roster.weights)

    def _stop_depths(self) -> None:
        """End the first forward pass: the order of the modules is known."""
        if self._depths is not None:
            self._depths.stop()
            self._roster.infos = self._depths.apply(self._roster.infos)
            self.writers.log.describe(self._roster.infos)
            self._depths = None
