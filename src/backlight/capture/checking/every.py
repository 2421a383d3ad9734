"""All checks of a model, one after another."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from backlight.capture.checking.alone import alone
from backlight.capture.checking.batching import batching
from backlight.capture.checking.check import Check, failed, passed
from backlight.capture.checking.heads import heads
from backlight.capture.checking.kernels import kernels
from backlight.capture.checking.measured import Measured
from backlight.capture.checking.precision import HALVES, in_finer, precision
from backlight.capture.checking.replacing import replacing
from backlight.capture.checking.sample import Sample
from backlight.capture.checking.states import (
    condition_of,
    given_back,
    looked_at,
    training_mode,
    twice,
)
from backlight.capture.checking.steps import steps
from backlight.capture.checking.within import within
from backlight.errors import NonFiniteError

_CHECKS: Mapping[str, Callable[[Sample, Measured], Iterable[Check]]] = {
    "the same again": twice,
    "training mode": training_mode,
    "looking": looked_at,
    "pads and batches": batching,
    "attention kernels": kernels,
    "head and loss": heads,
    "single sites": alone,
    "finer numbers": precision,
    "small steps": steps,
    "replacing": replacing,
    "changes": within,
}
"""The checks, by what a progress bar says."""

NUM_STEPS = len(_CHECKS) + 2
"""How many times ``check_all`` yields."""

_NUMBERS = "loss and all gradients"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A step of ``check_all``.

    Attributes:
        following: What comes next.
        checks: What was found.
    """

    following: str
    checks: Sequence[Check]


def check_all(sample: Sample) -> Iterator[Checked]:
    """Check a model's numbers in every way.

    Args:
        sample: The model and some passages.

    Yields:
        What each check found, as it is made. If the numbers are not finite, only what still makes
        sense.
    """
    before = condition_of(sample.subject.model)
    first, reference = _finite(sample)
    chosen = _CHECKS if reference is not None else {}
    names = [*chosen, ""]
    yield Checked(following=names[0], checks=[first])
    if reference is not None:
        for following, making in zip(names[1:], chosen.values(), strict=True):
            yield Checked(following=following, checks=list(making(sample, reference)))
    after = condition_of(sample.subject.model)
    yield Checked(following="", checks=[given_back(before, after)])


def _finite(sample: Sample) -> tuple[Check, Measured | None]:
    """Measure once as ever, and see whether all of it are numbers."""
    try:
        reference = sample.measure()
    except NonFiniteError as error:
        return failed(_NUMBERS, "numbers", f"{error}{_in_float32(sample)}"), None
    bad = [
        site
        for site, passages in reference.gradients.items()
        if not all(bool(own.isfinite().all()) for own in passages.values())
    ]
    if bad:
        words = f"The loss is finite and gradients are not.{_in_float32(sample)}"
        return failed(_NUMBERS, "numbers", words, site=bad[-1]), None
    return passed(_NUMBERS, "numbers"), reference


def _in_float32(sample: Sample) -> str:
    """Say whether the numbers would be finite in float32, if they are in half precision."""
    if sample.dtype not in HALVES:
        return ""
    is_finite = isinstance(in_finer(sample, torch.float32), Measured)
    return f" In float32 the loss is {'' if is_finite else 'not '}finite, with the same weights."
