"""Whether a site's gradient depends on which other sites are looked at in the same pass."""

from collections.abc import Iterator

from backlight.capture.checking.check import Check
from backlight.capture.checking.difference import Difference, difference_of
from backlight.capture.checking.measured import Measured
from backlight.capture.checking.sample import Sample

_NUM_SITES = 4
_REMEDY = "A site's gradient depends on the other sites that are looked at. Please report it."


def alone(sample: Sample, reference: Measured) -> Iterator[Check]:
    """Compare all sites in one pass with some sites, each in a pass of its own."""
    found = [
        difference_of(reference.at([site]), sample.measure(sites=[site]))
        for site in sample.some(sample.sites, _NUM_SITES)
    ]
    worst = max(found, key=lambda each: each.gradient)
    yield sample.judged(
        f"{len(sample.sites)} sites in one pass",
        "each in its own",
        Difference(
            num_sites=len(found),
            gradient=worst.gradient,
            site=worst.site,
            loss=max(each.loss for each in found),
        ),
        remedy=_REMEDY,
    )
