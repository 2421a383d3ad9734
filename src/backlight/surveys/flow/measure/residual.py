"""The two paths around and through each half of a block, and the gradient along depth."""

from collections.abc import Mapping, Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.capture.tape import Tape
from backlight.decompose.distance import NUM_BINS, distance_bins
from backlight.decompose.precision import at_least_single, wide
from backlight.decompose.residual import PathSums, sum_paths
from backlight.models.sites import Site
from backlight.models.subject import AttentionCall, Subject
from backlight.stats.base import Sums
from backlight.stats.bootstrap import PoissonBootstrap
from backlight.stats.first_order import FirstOrder
from backlight.stats.groups import RatioGroups
from backlight.stats.ratio import NamedRatios
from backlight.surveys.driver.relative import needed_norms, ways_of
from backlight.surveys.flow.measure.halves import halves_of
from backlight.surveys.flow.measure.view import View

_NAMES = (
    *("direct_norm", "transform_norm", "input_norm", "growth"),
    *("cosine", "transform_share", "transform_contribution"),
)
_OF_TOKENS = ("direct_norm", "transform_norm", "input_norm")


@final
class ResidualView(View):
    """The paths through every residual addition of some layers, and the profile of all depths.

    Attributes:
        halves: The additions; the inputs of norms that two branches share must be kept.
        ratios: What was measured of each addition.
        passage_groups: The same over groups of passages.
        depth: The gradient along depth.
        warnings: How far first-order predictions of leaving a branch out can be believed.
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
        self.passage_groups = RatioGroups(_NAMES, len(self.halves), shared=_OF_TOKENS)
        self.depth = DepthProfile(subject)
        self.warnings = FirstOrder(len(self.halves))
        sums = {"ratios": self.ratios, "passage_groups": self.passage_groups}
        super().__init__(parts={**sums, "depth": self.depth, "warnings": self.warnings})
        terms = [site for half in self.halves for site in half.terms]
        self._ways, self.no_warning = ways_of(subject, terms)
        assert not self.no_warning, "the wiring is known"
        sites = [site for half in self.halves for site in half.sites]
        self.sites = [*sites, *terms, *self.depth.sites]
        self.norms = needed_norms(self._ways.values())
        self.kept = {half.norm.entry.name for half in self.halves if half.norm is not None}
        self.kept |= set(self._ways)

    def update(self, tape: Tape, calls: Mapping[int, AttentionCall]) -> None:
        """Take in a batch.

        Args:
            tape: With gradients at the sites, and activations at those that are kept.
            calls: Not looked at.
        """
        del calls
        found = [sum_paths(half.paths(tape), tape.batch.valid) for half in self.halves]
        fractions = _fractions(found)
        self.ratios.update(fractions)
        self.passage_groups.update(fractions, tape.batch.passages)
        self.depth.update(tape)
        removed = [half.removed(tape, self._ways[half.terms[0].name]) for half in self.halves]
        sizes, products = (torch.stack(sums) for sums in zip(*removed, strict=True))
        self.warnings.update(
            sizes,
            products,
            num_tokens=tape.batch.num_tokens,
            num_passages=len(tape.batch.passages),
            num_predicted=tape.batch.num_predicted,
        )


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


@final
class DepthProfile(Sums):
    """Squares of the gradient where the stream enters each layer and where it leaves the last.

    Positions are grouped by powers of two: 0, 1, 2-3, 4-7, ...

    Attributes:
        sites: The depths: the embedding, and the stream behind each layer.
        whole: Mean squares at each depth.
        passage_groups: The same over groups of passages.
        groups: The same of each group of positions at each depth; ``live`` counts the sequences
            that have a gradient there.
        replicates: Sums of squares of other samples of the sequences.
    """

    def __init__(self, subject: Subject) -> None:
        """Start with nothing seen.

        Args:
            subject: The model; all of its layers count.
        """
        names = [f"layers.{layer}.resid.pre" for layer in range(subject.num_layers)]
        names += [f"layers.{subject.num_layers - 1}.resid.post"]
        self.sites: Sequence[Site] = [subject.sites[name] for name in names]
        self.whole = NamedRatios(["square"], len(names))
        self.passage_groups = RatioGroups(["square"], len(names), shared=["square"])
        self.groups = NamedRatios(["square", "live"], NUM_BINS * len(names))
        self.replicates = PoissonBootstrap(NUM_BINS * len(names))
        sums = {"whole": self.whole, "passage_groups": self.passage_groups}
        super().__init__(parts={**sums, "groups": self.groups, "replicates": self.replicates})

    def update(self, tape: Tape) -> None:
        """Take in a batch.

        Args:
            tape: With gradients at the sites.
        """
        valid = wide(tape.batch.valid.float())
        group = _groups(valid.shape[1], valid)
        gradients = [at_least_single(tape.gradients[site.name]) for site in self.sites]
        squares = torch.stack([wide(torch.linalg.vecdot(each, each)) for each in gradients], dim=-1)
        by_group = torch.einsum("spd,sp,pg->sgd", squares, valid, group)
        tokens = (valid @ group).unsqueeze(-1)
        flat = by_group.flatten(1)
        whole = {"square": (by_group.sum(dim=1), valid.sum(dim=1))}
        self.whole.update(whole)
        self.passage_groups.update(whole, tape.batch.passages)
        every = tokens.expand_as(by_group).flatten(1)
        self.groups.update({"square": (flat, every), "live": (flat, flat)})
        self.replicates.update(flat, tape.batch.passages)


def _groups(num_positions: int, like: Tensor) -> Float[Tensor, "positions groups"]:
    """Return a one for the group of each position."""
    starts = torch.tensor(distance_bins(), device=like.device)
    places = torch.arange(num_positions, device=like.device)
    group = torch.bucketize(places, starts, right=True) - 1
    return torch.nn.functional.one_hot(group, NUM_BINS).to(like.dtype)
