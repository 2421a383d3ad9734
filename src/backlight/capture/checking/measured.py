"""Gradients of some passages, laid out by passage, so that it does not matter how they were run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

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
    """

    value: Mapping[int, float]
    gradients: Mapping[str, Mapping[int, Float[Tensor, "tokens width"]]]

    def at(self, sites: Iterable[Site]) -> "Measured":
        """Keep the gradients of some sites."""
        kept = {site.name: self.gradients[site.name] for site in sites}
        return Measured(value=self.value, gradients=kept)


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
    return measured(record(subject, batch, sites, objective=objective))


def measured(tape: Tape) -> Measured:
    """Lay a tape out by passage."""
    assert tape.value is not None, "a tape without an objective"
    batch = tape.batch
    lengths = dict(zip(batch.passages, batch.lengths.tolist(), strict=True))
    return Measured(
        value=dict(zip(batch.passages, tape.value.tolist(), strict=True)),
        gradients={
            site: {
                passage: values[row, :length].cpu()
                for row, (passage, length) in enumerate(lengths.items())
            }
            for site, values in tape.gradients.items()
        },
    )


def together(parts: Sequence[Measured]) -> Measured:
    """Put measurements of different passages, at the same sites, together."""
    return Measured(
        value={passage: value for part in parts for passage, value in part.value.items()},
        gradients={
            site: {key: own for part in parts for key, own in part.gradients[site].items()}
            for site in parts[0].gradients
        },
    )
