"""Batches of prompts, run forward and backward, with whether the model is right about each."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import final

import numpy as np
from jaxtyping import Float
from torch import Tensor

from backlight.capture.path import record_path
from backlight.capture.record import record_each
from backlight.capture.tape import Tape
from backlight.data.batches import Batch
from backlight.models.sites import Site
from backlight.models.subject import Subject
from backlight.models.wiring.head import Head
from backlight.objectives.answers import AnswerObjective, answered
from backlight.objectives.objective import LossGradient
from backlight.surveys.driver.paths import Paths


@final
class Judged:
    """An objective that also remembers whether the model is right about each prompt.

    Attributes:
        objective: What is differentiated.
        right: Whether the model is right about each prompt that it was asked of.
    """

    def __init__(self, objective: AnswerObjective, num_prompts: int) -> None:
        self.objective = objective
        self.right = np.zeros(num_prompts, dtype=np.bool_)

    def __call__(
        self, output: Float[Tensor, "batch positions width"], batch: Batch, head: Head | None
    ) -> LossGradient:
        """See ``AnswerObjective``."""
        right = answered(output, batch, self.objective.predicts(batch), head)
        self.right[list(batch.passages)] = right.numpy()
        return self.objective(output, batch, head)


def recorded(
    subject: Subject,
    batches: Iterable[Batch],
    sites: Sequence[Site],
    judged: Judged,
    paths: Paths | None,
) -> Iterator[Tape]:
    """Run one batch after the other, as they are or along paths.

    Args:
        subject: The model.
        batches: Each some prompts, on the model's device.
        sites: Where to look.
        judged: What is differentiated.
        paths: The paths along which gradients are averaged; None to take them where the model is.

    Returns:
        A tape for each batch, made when it is asked for.

    Raises:
        BacklightError: See ``record`` and ``record_path``.
    """
    if paths is None:
        return record_each(subject, batches, sites, objective=judged, keep_activations=True)
    along = partial(
        record_path,
        subject,
        sites=sites,
        num_nodes=paths.num_nodes,
        objective=judged.objective,
        blocks=paths.blocks,
        first=judged,
    )
    return map(along, batches)
