"""From the first bad gradient to an event that says where it came from, and a snapshot of it."""

from collections.abc import Mapping

import numpy as np

from backlight.training.guarding.guard import attempt, message_of, warn_once
from backlight.training.log.history import Event
from backlight.training.measuring.statistics import has_norm, norms
from backlight.training.non_finite.detector import Detector
from backlight.training.non_finite.snapshot import save_snapshot
from backlight.training.watching.losses import LossMeter
from backlight.training.watching.writers import LogWriters

_MOST_SNAPSHOTS = 3
"""A training that goes on through many bad steps must not fill the disk."""


class NonFiniteEvents:
    """Writes an event for gradients that are not finite, once, until they were finite again."""

    def __init__(
        self, detector: Detector, losses: LossMeter, writers: LogWriters, *, snapshot: bool
    ) -> None:
        self._detector = detector
        self._losses = losses
        self._writers = writers
        self._snapshots_left = _MOST_SNAPSHOTS if snapshot else 0

    def look(self, step: int, *, untouched: bool) -> None:
        """Look whether gradients were bad since the last look; this waits for the device.

        Args:
            step: The step that is under way, or the last.
            untouched: The weights were not changed since its gradients.
        """
        began = self._detector.began()
        if began is not None:
            self._write(began, step, untouched=untouched)

    def look_at_loss(self, step: int) -> None:
        """Write an event for a last loss that is not finite, and has no gradient any more."""
        if not self._losses.is_finite():
            self._write(step, step, untouched=True)

    def skipped(self, step: int, scale: float) -> None:
        """Write an event for a step that the gradient scaler left out.

        That is its way to find a factor, as long as the weights and the loss are finite.

        Args:
            step: The step.
            scale: The factor at that step.
        """
        weights = [weight for weight in self._detector.model.parameters() if has_norm(weight)]
        if self._losses.is_finite() and np.isfinite(norms(weights)).all():
            self._writers.write_event(
                Event(
                    step=step,
                    what="skipped",
                    where="backward",
                    text=f"Step {step} was left out by the gradient scaler: gradients multiplied "
                    f"by {scale:g} were not finite.",
                )
            )
        else:
            self._write(self._detector.began() or step, step, untouched=True)
        self._detector.clear()

    def over(self) -> None:
        """Take note that the gradients of a measured step were all finite."""
        if self._detector.told:
            self._detector.clear()

    def _write(self, began: int, step: int, *, untouched: bool) -> None:
        cause = self._detector.explain(
            self._writers.log.parameters,
            began=began,
            step=step,
            untouched=untouched,
            loss_is_finite=self._losses.is_finite(began),
        )
        late = "" if began == step else f" This was noticed at step {step}."
        text = f"At step {began} {cause.text}.{late}"
        facts = {
            "first_non_finite_step": began,
            "taken_at_step": step,
            "weights_are_those_of_the_first_step": untouched and began == step,
            "text": text,
        }
        self._writers.write_event(
            Event(
                step=began,
                what="non_finite",
                where=cause.where,
                module=cause.module,
                parameter=cause.parameter,
                snapshot=self._save(facts),
                text=text,
            )
        )

    def _save(self, facts: Mapping[str, object]) -> str | None:
        path = self._writers.log.path
        if path is None or not self._snapshots_left:
            return None
        self._snapshots_left -= 1
        model, batch = self._detector.model, self._detector.bad_batch
        found: list[str] = []
        error = attempt(lambda: found.append(save_snapshot(path, model, batch, facts)))
        if error is not None:
            told = message_of(error)
            warn_once(f"The snapshot of the first bad step cannot be written ({told}).")
        return found[0] if found else None
