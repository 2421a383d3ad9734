"""Gradients of some passages, laid out by passage, so that it does not matter how they were run."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from jaxtyping import Float
from torch import Tensor

from backlight.capture.record import record
from backlight.capture.tape import Tape
from backlight.data.batches import Batch
from backlight.models.sites import Site
from backlight.models.subject import Subject
from backlight.objectives.objective import Objective


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured of some passages.

    Attributes:
        value: The objective of each passage.
        gradients: At each site, the gradient of each passage, without pads, on the CPU.
        steep: At each site, how large a gradient of each passage would have to be for its largest
            activation to account for the whole objective: the objective divided by it. A gradient
            that is far smaller is zero, but for rounding.
    """

    value: Mapping[int, float]
    gradients: Mapping[str, Mapping[int, Float[Tensor, "tokens width"]]]
    steep: Mapping[str, Mapping[int, float]]

    def at(self, sites: Iterable[Site]) -> "Measured":
        """Keep what belongs to some sites."""
        names = [site.name for site in sites]
        return Measured(
            value=self.value,
            gradients={name: self.gradients[name] for name in names},
            steep={name: self.steep[name] for name in names},
        )


def measure(
    subject: Subject, batch: Batch, sites: Sequence[Site], objective: Objective
) -> Measured:
    """Run a batch forward and backward.

    Args:
        subject: The model.
        batch: The passages, on the model's device.
        sites: Where to look.
        objective: What is differentiated.

    Returns:
        What was measured.

    Raises:
        NonFiniteError: If the loss is no number.
    """
    return measured(record(subject, batch, sites, objective=objective, keep_activations=True))


def measured(tape: Tape) -> Measured:
    """Lay a tape, with its activations, out by passage."""
    assert tape.value is not None, "a tape without an objective"
    batch = tape.batch
    value = dict(zip(batch.passages, tape.value.tolist(), strict=True))
    return Measured(
        value=value,
        gradients={
            site: dict(_rows(values.cpu(), batch)) for site, values in tape.gradients.items()
        },
        steep={
            site: {
                passage: abs(value[passage]) / (float(own.abs().max()) or inf)
                for passage, own in _rows(values, batch)
            }
            for site, values in tape.activations.items()
        },
    )


def _rows(values: Tensor, batch: Batch) -> Iterator[tuple[int, Tensor]]:
    for row, (passage, length) in enumerate(
        zip(batch.passages, batch.lengths.tolist(), strict=True)
    ):
        yield passage, values[row, :length]


def together(parts: Sequence[Measured]) -> Measured:
    """Put measurements of different passages, at the same sites, together."""
    return Measured(
        value={passage: value for part in parts for passage, value in part.value.items()},
        gradients={
            site: {key: own for part in parts for key, own in part.gradients[site].items()}
            for site in parts[0].gradients
        },
        steep={
            site: {key: own for part in parts for key, own in part.steep[site].items()}
            for site in parts[0].steep
        },
    )
