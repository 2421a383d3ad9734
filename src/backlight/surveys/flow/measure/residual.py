"""The two paths around and through each half of a block, and the gradient along depth."""

from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor

from backlight.capture.tape import Tape
from backlight.decompose.residual import PathSums, sum_paths
from backlight.models.subject import AttentionCall, Subject
from backlight.stats.ratio import NamedRatios
from backlight.surveys.flow.measure.depth import DepthProfile
from backlight.surveys.flow.measure.halves import halves_of
from backlight.surveys.flow.measure.view import View

_NAMES = (
    *("direct_norm", "transform_norm", "input_norm", "growth"),
    *("cosine", "transform_share", "transform_contribution"),
)


@final
class ResidualView(View):
    """The paths through every residual addition of some layers, and the profile of all depths.

    Attributes:
        halves: The additions; the inputs of norms that two branches share must be kept.
        ratios: What was measured of each addition.
        depth: The gradient along depth.
    """

    def __init__(self, subject: Subject, layers: Sequence[int]) -> None:
        """Find the additions.

        Args:
            subject: The model.
            layers: Its layers to look at; the profile along depth is always of all.

        Raises:
            UnsupportedSiteError: If it is not known how the blocks are wired.
        """
        self.halves = halves_of(subject, layers)
        self.ratios = NamedRatios(_NAMES, len(self.halves))
        self.depth = DepthProfile(subject)
        super().__init__(parts={"ratios": self.ratios, "depth": self.depth})
        self.sites = [*(site for half in self.halves for site in half.sites), *self.depth.sites]
        self.kept = {half.norm.entry.name for half in self.halves if half.norm is not None}

    def update(self, tape: Tape, calls: Mapping[int, AttentionCall]) -> None:
        """Take in a batch.

        Args:
            tape: With gradients at the sites, and activations at those that are kept.
            calls: Not looked at.
        """
        del calls
        found = [sum_paths(half.paths(tape), tape.batch.valid) for half in self.halves]
        self.ratios.update(_fractions(found))
        self.depth.update(tape)


def _fractions(found: Sequence[PathSums]) -> dict[str, tuple[Tensor, Tensor]]:
    """Return what is divided by what; norms and growth before their root is taken."""

    def rows(name: str) -> Tensor:
        return torch.stack([getattr(sums, name) for sums in found], dim=1)

    direct, transform, total = (rows(f"{name}_square") for name in ("direct", "transform", "total"))
    num_tokens = rows("num_tokens")
    return {
        "direct_norm": (direct, num_tokens),
        "transform_norm": (transform, num_tokens),
        "input_norm": (total, num_tokens),
        "growth": (total, direct),
        "cosine": (rows("cosine"), rows("num_live")),
        "transform_share": (transform, direct + transform),
        "transform_contribution": (rows("inner") + transform, total),
    }
