"""Whether the gradient is the slope of the loss: small steps at a site, up and down.

Along a direction v, ``(L(x + h v) - L(x - h v)) / 2h`` is ``g . v`` up to an error of the second
order in h, so a tenth of the step leaves a hundredth of the error, until rounding takes over. That
shows in float64; in float32 rounding is larger than what is looked for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import log10

import torch

from backlight.capture.checking.check import Check, Tolerance, failed, judged, not_made
from backlight.capture.checking.difference import Difference
from backlight.capture.checking.measured import Measured
from backlight.capture.checking.precision import does_not_run, why_not
from backlight.capture.checking.sample import Sample
from backlight.capture.effects import value_with
from backlight.capture.record import record
from backlight.errors import ModelError, NonFiniteError
from backlight.models.formats import in_format
from backlight.models.sites import Site
from backlight.models.subject import Subject

_WHAT, _AGAINST = "slope in a direction", "small steps, float64"
_NUM_SITES = 3
_SIZES = (1e-3, 1e-4, 1e-5)  # of a step at a token, as shares of the root mean square there
_MILLIONTH = 1e-6  # of the objective
_SMALL = Tolerance(gradient=1e-6, loss=0.0)
_REMEDY = (
    "The gradient is not the slope of the loss at this site: a backward pass of its own (a custom "
    "autograd function, a straight-through estimator, a detached part) or a wrong kernel."
)


def steps(sample: Sample, reference: Measured) -> Iterator[Check]:
    """Compare gradients with central differences of the objective, in float64."""
    del reference
    chosen = sample.some(sample.replaceable, _NUM_SITES)
    reason = sample.other_rule or why_not(sample.subject, torch.float64)
    if not chosen:
        reason = "no site of this model can be replaced"
    if reason is not None:
        yield not_made(_WHAT, _AGAINST, reason)
        return
    try:
        with in_format(sample.subject, torch.float64) as subject:
            yield _judged(list(_slopes(subject, sample, chosen)))
    except NonFiniteError as error:
        yield failed(_WHAT, _AGAINST, str(error))
    except (RuntimeError, TypeError, ModelError) as error:
        yield not_made(_WHAT, _AGAINST, does_not_run(torch.float64, error))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slope:
    """How far a gradient is from the slopes that steps show.

    Attributes:
        site: Where.
        errors: For each size of step, largest first, the error, as a share of the root mean square
            of the slope along random directions.
    """

    site: str
    errors: Sequence[float]


def _judged(slopes: Sequence[_Slope]) -> Check:
    worst = max(slopes, key=lambda each: min(each.errors))
    difference = Difference(num_sites=len(slopes), gradient=min(worst.errors), site=worst.site)
    told = ", ".join(
        f"{error:.0e} at {size:g}" for size, error in zip(_SIZES, worst.errors, strict=True)
    )
    found = judged(_WHAT, _AGAINST, difference, _SMALL, remedy=_REMEDY)
    return replace(
        found, words=" ".join(filter(None, [found.words, f"Errors: {told}{_order(worst)}."]))
    )


def _order(slope: _Slope) -> str:
    first, second = slope.errors[:2]
    if not 0 < second < first:
        return ""
    return f" (order {log10(first / second) / log10(_SIZES[0] / _SIZES[1]):.1f})"


def _slopes(subject: Subject, sample: Sample, sites: Sequence[Site]) -> Iterator[_Slope]:
    batch, objective = sample.short_batch, sample.objective
    tape = record(subject, batch, sites, objective=objective, keep_activations=True)
    assert tape.value is not None, "an objective has a value"
    least = _MILLIONTH * float(tape.value.abs().sum())  # a slope below it is rounding
    generator = torch.Generator().manual_seed(sample.seed)
    for site in sites:
        x, gradient = tape.activations[site.name], tape.gradients[site.name]
        size = x.square().mean(dim=-1, keepdim=True).sqrt() * batch.valid[..., None]
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
        # Of all passages together: whether each depends on itself alone is another question.
        slope = float((gradient * size * noise).sum())
        scale = float((gradient * size).square().sum().sqrt())
        errors: list[float] = []
        for step in _SIZES:
            change = step * size * noise
            up, down = (
                float(value_with(subject, batch, objective, {site.name: moved}).sum())
                for moved in (x + change, x - change)
            )
            errors.append(abs((up - down) / (2 * step) - slope) / max(scale, least))
        yield _Slope(site=site.name, errors=errors)
