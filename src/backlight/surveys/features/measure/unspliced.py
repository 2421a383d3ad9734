"""Batches that go through the model as it is, with what dictionaries read and write kept."""

from collections.abc import Iterator, Sequence
from functools import partial

from backlight.capture.path import record_path
from backlight.capture.record import record_activations, record_each
from backlight.capture.tape import Tape
from backlight.data.batches import Batch
from backlight.models.blocks.rerun import Blocks
from backlight.models.sites import Site
from backlight.models.subject import Subject
from backlight.objectives.objective import NextToken
from backlight.surveys.features.measure.fidelity import unique_sites


def run_unspliced(
    subject: Subject,
    batches: Sequence[Batch],
    *,
    reads: Sequence[Site],
    writes: Sequence[Site],
    streams: Sequence[Site],
    objective: NextToken,
    num_nodes: int | None,
    blocks: Blocks | None,
) -> Iterator[Tape]:
    """Run batches forward only, or with gradients, perhaps along paths.

    Args:
        subject: The model.
        batches: Each some passages, on the model's device.
        reads: Where activations are needed.
        writes: Where gradients are needed; none to go forward only.
        streams: Where each token's norm is needed.
        objective: What is differentiated.
        num_nodes: At how many points of each site's path gradients are averaged; None to take them
            where the model is.
        blocks: The model's blocks, for paths.

    Returns:
        A tape for each batch, made when it is asked for.
    """
    if not writes:
        return map(partial(record_activations, subject, sites=reads, norms=streams), batches)
    if num_nodes is None:
        return record_each(
            subject,
            batches,
            unique_sites(*reads, *writes),
            objective=objective,
            keep_activations={site.name for site in reads},
            norms=streams,
        )
    along = partial(
        record_path,
        subject,
        sites=writes,
        num_nodes=num_nodes,
        objective=objective,
        blocks=blocks,
        keep=reads,
    )
    return map(along, batches)
