"""Whether a passage's gradient depends on pads, or on who else is in its batch."""

from collections.abc import Iterator

import numpy as np
import torch

from backlight.capture.checking.check import Check, not_made
from backlight.capture.checking.difference import difference_of
from backlight.capture.checking.measured import Measured, measure, together
from backlight.capture.checking.sample import NUM_PASSAGES, Sample
from backlight.data.batches import Batch
from backlight.errors import ConfigError
from backlight.models.reading import reach_of, refuse_too_long
from backlight.models.wiring.families import family_of

_PADS = (
    "Pads on the right change a passage's gradient: something reads positions from the end, or the "
    "attention kernel errs where there are pads. Use --batch_size 1, and try --attn_implementation "
    "eager."
)
_COMPANY = (
    "A passage's gradient depends on the others in its batch: batch statistics, experts with a "
    "capacity, or an attention kernel that errs. Use --batch_size 1, and try "
    "--attn_implementation eager."
)
_ALONE = "alone, no pads"


def batching(sample: Sample, reference: Measured) -> Iterator[Check]:
    """Compare passages by themselves with the same among pads, and among others."""
    lone = _in_batches(sample, 1)
    yield _padded(sample, lone)
    for found, size in ((_in_batches(sample, 2), 2), (reference, NUM_PASSAGES)):
        difference = difference_of(found, lone)
        yield sample.judged(f"in a ragged batch of {size}", _ALONE, difference, remedy=_COMPANY)


def _in_batches(sample: Sample, size: int) -> Measured:
    starts = range(0, NUM_PASSAGES, size)
    return together(
        [
            measure(
                sample.subject,
                sample.batch_of(range(start, start + size)),
                sample.sites,
                sample.objective,
            )
            for start in starts
        ]
    )


def _padded(sample: Sample, lone: Measured) -> Check:
    what = "with pads on the right"
    longest = 2 * max(len(tokens) for tokens in sample.passages.tokens)
    most = reach_of(sample.subject).positions
    width = longest if most is None else min(longest, most)
    members = [n for n, tokens in enumerate(sample.passages.tokens) if len(tokens) < width]
    if not members:
        return not_made(what, _ALONE, "the passages are as long as the model reads")
    if family_of(sample.subject.model) is None:
        try:
            ids = np.zeros(width, dtype=np.int64)
            refuse_too_long(sample.subject, ids, kind="passage", remedy="no pads were added")
        except ConfigError as error:
            return not_made(what, _ALONE, str(error))
    batches = [_with_pads(sample.batch_of([member]), width) for member in members]
    found = together(
        [measure(sample.subject, batch, sample.sites, sample.objective) for batch in batches]
    )
    return sample.judged(what, _ALONE, difference_of(found, lone), remedy=_PADS)


def _with_pads(batch: Batch, width: int) -> Batch:
    pads = width - batch.input_ids.shape[1]
    return Batch(
        passages=batch.passages,
        input_ids=torch.nn.functional.pad(batch.input_ids, (0, pads)),
        lengths=batch.lengths,
        counted=None
        if batch.counted is None
        else torch.nn.functional.pad(batch.counted, (0, pads)),
    )
