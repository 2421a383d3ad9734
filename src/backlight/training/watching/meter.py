"""The numbers of the step that is under way, and of what may belong to the one behind it."""

from collections.abc import Collection, Iterable, Sequence

from torch.optim import Optimizer

from backlight.models.distributed_weights import DTensor
from backlight.training.measuring.measurement import Measurement
from backlight.training.watching.roster import Roster
from backlight.training.watching.scaling import ScalerListener, left_to_optimizer


class StepMeter:
    """Measures one step after the other.

    With several optimizers, a backward pass between their steps is of this step if another one
    steps next, and else of the step behind it: until that is known, it is measured apart.

    Attributes:
        measured: The numbers of the step that is under way.
        learning_rates: Those of all groups of the optimizers.
        scale: What the gradients were multiplied by.
        scaler: The gradient scaler, if there is one.
        writes: This process writes the log.
    """

    def __init__(self, roster: Roster, optimizers: Sequence[Optimizer], *, writes: bool) -> None:
        """Begin with nothing.

        Args:
            roster: The parameters.
            optimizers: Those that are watched.
            writes: This process writes the log. Others measure only if parameters are distributed,
                whose norms are a joint work of all.
        """
        self._roster = roster
        self._optimizers = optimizers
        self.writes = writes
        self._measures = writes or any(isinstance(weight, DTensor) for weight in roster.weights)
        self.scaler: ScalerListener | None = None
        self.learning_rates: list[float] = []
        self.scale = 1.0
        self.reset()

    def detach(self) -> None:
        """Remove the listener from the scaler, whose factor can still be asked for."""
        if self.scaler is not None:
            self.scaler.remove()

    def reset(self) -> None:
        """Forget what was measured."""
        self.measured = self._later = Measurement(self._roster.weights)

    def current_scale(self) -> float:
        """Return what gradients are multiplied by now; 1 without a scaler."""
        return 1.0 if self.scaler is None else self.scaler.scale()

    def see_gradients(self, *, later: bool) -> None:
        """Measure what a backward pass left.

        Args:
            later: Some optimizer has stepped already.
        """
        if self._measures:
            self._later = Measurement(self._roster.weights) if later else self.measured
            self._later.gradients(self.current_scale())

    def begin(self) -> None:
        """Take note of the learning rates and of the factor of the scaler, before an update."""
        if self._measures:
            groups = [group for each in self._optimizers for group in each.param_groups]
            self.learning_rates = [float(group["lr"]) for group in groups if "lr" in group]
            self.scale = self.current_scale()

    def join(self, optimizer: Optimizer) -> None:
        """Count the last backward pass as of this step, since another optimizer uses it now."""
        if self._later is not self.measured:
            self.measured.adopt(self._later, self._roster.owned_by(optimizer))

    def before_update(self, optimizer: Optimizer, done: Iterable[Optimizer]) -> None:
        """Measure what an optimizer is about to use; ``done`` had their turn in this step."""
        if self._measures:
            waiting = self._roster.owned_by_others(optimizer, done)
            places = set(range(len(self._roster.weights))) - waiting
            self.measured.before_update(places, left_to_optimizer(optimizer))

    def see_skipped(self) -> None:
        """Measure the gradients of a step that the scaler left out, if no backward pass did."""
        if self._measures and not self.measured.statistics:
            self.measured.gradients(1.0)

    def see_other(self, optimizer: Optimizer, places: Collection[int]) -> None:
        """Measure what an optimizer that is not watched is about to use."""
        if self._measures and self.measured.statistics:
            self.measured.clip(places, left_to_optimizer(optimizer))

    def after_update(self, done: Iterable[Optimizer]) -> None:
        """Measure the weights after the steps of some optimizers."""
        if self._measures:
            self.measured.after_update(self._roster.not_moved_by(done))

    def end(self, *, whole: bool) -> None:
        """Go on to the next step.

        Args:
            whole: All optimizers have stepped, so that nothing later was measured.
        """
        if whole or self._later is self.measured:
            self.reset()
        else:
            self.measured = self._later
