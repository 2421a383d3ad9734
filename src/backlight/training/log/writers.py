"""Where the numbers of a measured step go: the log, the sinks, and the line in the terminal."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from backlight.training.log.history import Event, History, ParameterInfo, block_of, group_norms
from backlight.training.log.sinks import Sink, Sinks
from backlight.training.log.status import StatusLine, describe_step
from backlight.training.log.writer import TrainingLog
from backlight.training.measuring.measurement import Measurement


class Outlets:
    """Tells everybody who wants to know."""

    def __init__(self, log: TrainingLog, sinks: Iterable[Sink], *, status: bool) -> None:
        self.log = log
        self._sinks = Sinks(sinks)
        self._status = StatusLine(shown=status)
        self._events: list[Event] = []

    def tell_step(
        self,
        step: int,
        measured: Measurement,
        *,
        losses: tuple[Sequence[int], Sequence[float]],
        learning_rates: Sequence[float],
        scale: float | None,
        activations: Mapping[str, float | None] | None,
    ) -> None:
        """Tell the numbers of a measured step.

        Args:
            step: The step.
            measured: Its numbers.
            losses: Steps since the last measured one, and their losses.
            learning_rates: One for each group of the optimizer.
            scale: The factor of the gradient scaler; None without one.
            activations: The gradient at the blocks' outputs; None if it is not watched.
        """
        record = {
            "kind": "step",
            "step": step,
            "learning_rates": list(learning_rates),
            "scale": scale,
            **measured.record(),
        }
        self.log.append(record)
        if activations is not None:
            self.log.append({"kind": "activations", "step": step, "layers": dict(activations)})
        self.tell_losses(losses)
        loss = losses[1][-1] if losses[0] and losses[0][-1] == step else math.nan
        ratio = measured.median_update_ratio
        if len(self._sinks):
            numbers = {
                "loss": loss,
                "gradient/norm": measured.norm,
                "gradient/clipped_norm": measured.clipped_norm,
                "update_to_weight/median": ratio,
                "scale": math.nan if scale is None else scale,
                **{f"learning_rate/{place}": rate for place, rate in enumerate(learning_rates)},
                **_layers(self.log.parameters, measured),
            }
            unknown = {"loss"} if math.isnan(loss) and step not in losses[0] else set[str]()
            unknown |= {"scale"} if scale is None else set()
            self._sinks.write(step, {n: x for n, x in numbers.items() if n not in unknown})
        self._status.show(
            describe_step(
                step,
                loss=loss,
                norm=measured.norm,
                clipped_norm=measured.clipped_norm,
                update_ratio=ratio,
                events=self._events,
            )
        )

    def tell_losses(self, losses: tuple[Sequence[int], Sequence[float]]) -> None:
        """Tell the losses of some steps."""
        if losses[0]:
            steps, values = losses
            self.log.append({"kind": "loss", "steps": list(steps), "losses": list(values)})

    def tell_event(self, event: Event) -> None:
        """Tell what happened."""
        self._events.append(event)
        fields = {name: getattr(event, name) for name in event.__dataclass_fields__}
        self.log.append({"kind": "event", **fields})

    def history(self) -> History:
        """Put together all that was told."""
        return self.log.history()

    def close(self) -> None:
        """Close all outlets; the log can still be read."""
        self._sinks.close()
        self._status.close()
        self.log.close()


def _layers(parameters: Sequence[ParameterInfo], measured: Measurement) -> dict[str, float]:
    """Give the norm of the gradient of each block."""
    keys = [block_of(parameters[place]) for place in measured.present]
    seen = np.ones((1, len(keys)), dtype=np.bool_)
    groups = group_norms(keys, measured.statistics["norm"].reshape(1, -1), seen)
    return {
        f"gradient/layers/{name}": float(norm)
        for name, norm in zip(groups.names, groups.norms[0], strict=True)
    }
