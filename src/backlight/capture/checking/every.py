"""All checks of a model, one after another."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from backlight.capture.checking.alone import alone
from backlight.capture.checking.batching import batching
from backlight.capture.checking.check import Check, failed, not_made, passed
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
from backlight.errors import NonFiniteError, SilentSiteError, UnsupportedSiteError
from backlight.models.sites import Site
from backlight.models.wiring.families import family_of

_Making = Callable[[Sample, Measured], Iterable[Check]]

_CHECKS: Mapping[str, _Making] = {
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

    Raises:
        ModelError: If the model fails, or writes into its own weights.
    """
    before = condition_of(sample.subject.model)
    sample, left_out = _usable(sample)
    first, reference = _finite(sample)
    chosen = _CHECKS if reference is not None else {}
    names = [*chosen, ""]
    yield Checked(following=names[0], checks=[*left_out, first])
    if reference is not None:
        for following, (name, making) in zip(names[1:], chosen.items(), strict=True):
            yield Checked(following=following, checks=_made(name, making, sample, reference))
    after = condition_of(sample.subject.model)
    yield Checked(following="", checks=[given_back(before, after)])


def _made(name: str, making: _Making, sample: Sample, reference: Measured) -> list[Check]:
    try:
        return list(making(sample, reference))
    except NonFiniteError as error:
        return [failed(name, "as it is used", str(error))]
    except (UnsupportedSiteError, SilentSiteError) as error:
        return [not_made(name, "as it is used", str(error))]


def _usable(sample: Sample) -> tuple[Sample, list[Check]]:
    """Leave out sites of modules that nobody knows which turn out to hold nothing on this text."""
    if family_of(sample.subject.model) is not None or not _reasons(sample, sample.sites):
        return sample, []  # of a known family all sites were proven
    reasons = {site.name: why for site in sample.sites for why in _reasons(sample, [site])}
    kept = [site for site in sample.sites if site.name not in reasons]
    return replace(sample, sites=kept), [
        not_made(f"gradient at {name}", "the other sites", why) for name, why in reasons.items()
    ]


def _reasons(sample: Sample, sites: Sequence[Site]) -> list[str]:
    try:
        sample.measure(sites=sites)
    except (UnsupportedSiteError, SilentSiteError) as error:
        return [str(error)]
    except NonFiniteError:
        return []  # which is told of all sites together
    return []


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
