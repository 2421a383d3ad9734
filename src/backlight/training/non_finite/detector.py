"""The first NaN or infinity of a training run: noticed at its step, explained when possible."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from backlight.training.log.history import ParameterInfo
from backlight.training.measuring.statistics import has_norm, norms
from backlight.training.non_finite.batches import Batch, remember, scalars
from backlight.training.non_finite.cause import Cause, find_cause
from backlight.training.non_finite.flag import FirstNonFinite


class Detector:
    """Looks at all gradients of all steps, and finds where the first bad one came from.

    On the CPU a bad gradient is noticed at once, before the optimizer spoils the weights with it.
    Elsewhere a device would have to be waited for, so a flag is kept there and read at the steps
    that are measured; if the weights were spoiled since, the forward pass cannot be repeated.

    Attributes:
        model: The model, without wrappers.
        last: The last batch that was trained on.
        told: A cause was given, and gradients were not fine since.
        at_once: Flags are read at every step.
    """

    def __init__(self, model: nn.Module, weights: Sequence[Tensor]) -> None:
        """Begin with clean flags.

        Args:
            model: The model, without wrappers.
            weights: Its parameters; a list that may grow.
        """
        self.model = model
        self._weights = weights
        self._bad_gradients = FirstNonFinite()
        self._bad_weights = FirstNonFinite()
        self.told = False
        self._bad_batch: Batch | None = None
        self.last: Batch | None = None
        self.at_once = all(weight.device.type == "cpu" for weight in weights)  # nothing to wait for

    def see_inputs(self, arguments: Any, keywords: Any, step: int) -> None:
        """Keep what the model is called with, to run it again if need be."""
        device = self._weights[0].device
        self.last = remember(self.model, device, arguments, keywords, step)

    def see_output(self, output: Any) -> None:
        """Keep the single numbers among what the model returned."""
        if self.last is not None:
            self.last.results.extend(scalars(output))

    def see_gradients(self, gradients: Sequence[Tensor | None], step: int) -> None:
        """Look at the gradients that a backward pass left."""
        self._bad_gradients.see(gradients, step)
        waits = not self.at_once or self._bad_batch is not None
        if not waits and self._bad_gradients.read(len(self._weights)).any():
            self._bad_batch = self.last

    def see_weights(self, step: int) -> None:
        """Look at the weights that a step's gradients were computed with, before they change."""
        if not self.at_once:
            self._bad_weights.see(self._weights, step)

    def began(self) -> int | None:
        """Return the first step with a bad gradient that was not told yet, if there is one."""
        steps = self._bad_gradients.read(len(self._weights))
        return None if self.told or not steps.any() else int(steps[steps > 0].min())

    def explain(
        self,
        parameters: Sequence[ParameterInfo],
        *,
        began: int,
        step: int,
        untouched: bool,
        loss_is_finite: bool,
    ) -> Cause:
        """Look for the cause, and do not tell of it again until gradients were fine once.

        Args:
            parameters: What is known of each.
            began: The first bad step.
            step: The step that is under way.
            untouched: The weights were not changed since the gradients of ``step``.
            loss_is_finite: Whether the loss of ``began`` is, as far as that is known.

        Returns:
            The cause.
        """
        self.told = True
        at_hand = untouched and began == step
        if at_hand:
            bad_weights = np.array([has_norm(weight) for weight in self._weights])
            measured = norms([weight for weight in self._weights if has_norm(weight)])
            bad_weights[bad_weights] = ~np.isfinite(measured)
        else:
            seen = self._bad_weights.read(len(self._weights))
            bad_weights = (seen > 0) & (seen <= began)
        return find_cause(
            self.model,
            parameters,
            bad_weights=bad_weights,
            bad_gradients=self._bad_gradients.read(len(self._weights)) == began,
            batch=self.bad_batch if at_hand else None,
            loss_is_finite=loss_is_finite,
        )

    @property
    def bad_batch(self) -> Batch | None:
        """The first batch whose gradient was not finite; the last one if that is not known."""
        return self._bad_batch or self.last

    def move(self, step: int, other: int) -> None:
        """Count gradients that were seen at one step as those of another."""
        self._bad_gradients.move(step, other)

    def forget(self) -> None:
        """Forget everything, the last batch too."""
        self.last = None
        self.clear()

    def clear(self) -> None:
        """Begin anew: gradients are fine, or their overflow is the gradient scaler's business."""
        self.told = False
        self._bad_batch = None
        self._bad_gradients.reset()
        self._bad_weights.reset()
