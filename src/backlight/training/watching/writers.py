"""Where the numbers of a measured step go: the log, other people's dashboards, and the terminal."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np

from backlight.training.guarding.guard import attempt, in_words, warn_once
from backlight.training.log.history import Event, ParameterInfo, block_of, group_norms
from backlight.training.log.writer import TrainingLog
from backlight.training.measuring.measurement import Measurement
from backlight.training.watching.status import StatusLine, describe_step


@runtime_checkable
class Sink(Protocol):
    """Takes numbers by name, at each recorded step."""

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Take the numbers of one step; NaN and infinity are handed over as they are."""
        ...

    def close(self) -> None:
        """Finish writing."""
        ...


class LogWriters:
    """Writes to the log, to all sinks, and to the terminal; a sink that fails gets no more.

    Attributes:
        log: The log of the training.
    """

    def __init__(self, log: TrainingLog, sinks: Iterable[Sink], *, status: bool) -> None:
        self.log = log
        self._sinks = list(sinks)
        self._status = StatusLine(shown=status)
        self._events: list[Event] = []

    def write_step(
        self,
        step: int,
        measured: Measurement,
        *,
        losses: tuple[Sequence[int], Sequence[float]],
        learning_rates: Sequence[float],
        scale: float | None,
        activations: Mapping[str, float | None] | None,
    ) -> None:
        """Write the numbers of a measured step.

        Args:
            step: The step.
            measured: Its numbers.
            losses: Steps since the last measured one, and their losses.
            learning_rates: One for each group of the optimizer.
            scale: The factor of the gradient scaler; None without one.
            activations: The gradient at the blocks' outputs; None if it is not watched.
        """
        record = {"step": step, "learning_rates": list(learning_rates), "scale": scale}
        self.log.append({"kind": "step", **record, **measured.record()})
        if activations is not None:
            self.log.append({"kind": "activations", "step": step, "layers": dict(activations)})
        self.write_losses(losses)
        loss = dict(zip(*losses, strict=True)).get(step)
        if self._sinks:
            numbers = {
                "loss": loss,
                "gradient/norm": measured.norm,
                "gradient/clipped_norm": measured.clipped_norm,
                "update_to_weight/median": measured.median_update_ratio,
                "scale": scale,
                **{f"learning_rate/{place}": rate for place, rate in enumerate(learning_rates)},
                **_layers(self.log.parameters, measured),
            }
            known = {name: number for name, number in numbers.items() if number is not None}
            self._each_sink(lambda sink: partial(sink.write, step, dict(known)))
        self._status.show(describe_step(step, loss, measured, self._events))

    def write_losses(self, losses: tuple[Sequence[int], Sequence[float]]) -> None:
        """Write the losses of some steps."""
        steps, values = losses
        if steps:
            self.log.append({"kind": "loss", "steps": list(steps), "losses": list(values)})

    def write_event(self, event: Event) -> None:
        """Write what happened."""
        self._events.append(event)
        self.log.append({"kind": "event", **asdict(event)})

    def close(self) -> None:
        """Close all; the log can still be read."""
        self._each_sink(lambda sink: sink.close)
        self._sinks.clear()
        self._status.close()
        self.log.close()

    def _each_sink(self, work_of: Callable[[Sink], Callable[[], object]]) -> None:
        for sink in list(self._sinks):
            error = attempt(work_of(sink))
            if error is not None:
                self._sinks.remove(sink)
                warn_once(
                    f"{type(sink).__name__} failed ({in_words(error)}); it gets no more numbers, "
                    "and the training goes on."
                )


def _layers(parameters: Sequence[ParameterInfo], measured: Measurement) -> dict[str, float]:
    """Return the norm of the gradient of each block."""
    keys = [block_of(parameters[place]) for place in measured.present]
    seen = np.ones((1, len(keys)), dtype=np.bool_)
    groups = group_norms(keys, measured.statistics["norm"][measured.present][None], seen)
    names = [f"gradient/layers/{name}" for name in groups.names]
    return dict(zip(names, groups.norms[0].tolist(), strict=True))
