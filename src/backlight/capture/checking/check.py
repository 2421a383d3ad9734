"""One comparison of two ways to the same numbers, and what is fine."""

from dataclasses import dataclass
from math import nan
from typing import Literal

import torch

from backlight.capture.checking.difference import Difference

Verdict = Literal["fine", "not fine", "not made"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far two ways may be apart, as shares of what is compared.

    Attributes:
        gradient: Of gradients: of the largest of the site in the passage.
        loss: Of the loss of a passage.
    """

    gradient: float
    loss: float


EXACT = Tolerance(gradient=0.0, loss=0.0)
"""Of ways that do the same in the same order."""

ROUNDING = {
    torch.float64: Tolerance(gradient=1e-4, loss=1e-6),
    torch.float32: Tolerance(gradient=1e-3, loss=1e-5),
    torch.float16: Tolerance(gradient=0.1, loss=0.01),
    torch.bfloat16: Tolerance(gradient=0.5, loss=0.05),
}
"""Of ways that do the same in another order, by the number format: several times what was seen of
models whose numbers are right (docs/check.md). Models compute norms and softmax in float32 also if
their weights are float64."""

PRECISION = {
    torch.float64: Tolerance(gradient=1e-4, loss=1e-6),
    torch.float32: Tolerance(gradient=1e-3, loss=1e-5),
    torch.float16: Tolerance(gradient=0.05, loss=5e-3),
    torch.bfloat16: Tolerance(gradient=0.05, loss=5e-3),
}
"""Of a number format from finer ones: with more than 5 % of the largest gradient lost, a table of
gradients is no longer what it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What was compared, how far it is apart, and whether that is fine.

    Attributes:
        what: What was compared.
        against: What it was compared with, which is taken to be right.
        num_sites: At how many sites.
        gradient: The largest difference of a gradient, as a share of the largest gradient of its
            site in the passage (``Difference`` says it exactly); infinite where one is no number,
            NaN where none was compared.
        site: Where that was; empty if nowhere.
        loss: The largest difference of a passage's loss, as a share of it; NaN as above.
        tolerance: What is fine.
        verdict: ``not made`` if nothing could be compared.
        words: What to do if it is not fine, why it was not made, or what else was seen.
    """

    what: str
    against: str
    num_sites: int
    gradient: float
    site: str
    loss: float
    tolerance: Tolerance
    verdict: Verdict
    words: str = ""


def judged(
    what: str, against: str, difference: Difference, tolerance: Tolerance, *, remedy: str
) -> Check:
    """Judge a difference.

    Args:
        what: What was compared.
        against: With what.
        difference: How far it is apart.
        tolerance: What is fine.
        remedy: What to do if it is not.

    Returns:
        The check.
    """
    # A number that was not compared is NaN, and no NaN is larger than anything.
    is_over = difference.gradient > tolerance.gradient or difference.loss > tolerance.loss
    return Check(
        what=what,
        against=against,
        num_sites=difference.num_sites,
        gradient=difference.gradient,
        site=difference.site,
        loss=difference.loss,
        tolerance=tolerance,
        verdict="not fine" if is_over else "fine",
        words=remedy if is_over else "",
    )


def failed(what: str, against: str, words: str, *, site: str = "") -> Check:
    """Return a check that is not fine for another reason than a difference."""
    return _without_difference(what, against, "not fine", words, site)


def passed(what: str, against: str, words: str = "") -> Check:
    """Return a check that is fine, and compares no numbers."""
    return _without_difference(what, against, "fine", words, "")


def not_made(what: str, against: str, reason: str) -> Check:
    """Return a check that could not be made, with the reason."""
    return _without_difference(what, against, "not made", reason, "")


def _without_difference(what: str, against: str, verdict: Verdict, words: str, site: str) -> Check:
    return Check(
        what=what,
        against=against,
        num_sites=0,
        gradient=nan,
        site=site,
        loss=nan,
        tolerance=EXACT,
        verdict=verdict,
        words=words,
    )
