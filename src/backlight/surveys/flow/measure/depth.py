"""The gradient's norm along depth, of all tokens and by their position."""

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.capture.tape import Tape
from backlight.decompose.distance import NUM_BINS, distance_bins
from backlight.decompose.precision import at_least_single, wide
from backlight.models.sites import Site
from backlight.models.subject import Subject
from backlight.stats.base import Sums
from backlight.stats.bootstrap import PoissonBootstrap
from backlight.stats.ratio import NamedRatios


@final
class DepthProfile(Sums):
    """Squares of the gradient where the stream enters each layer and where it leaves the last.

    Positions are grouped by powers of two: 0, 1, 2-3, 4-7, ...

    Attributes:
        sites: The depths: the embedding, and the stream behind each layer.
        whole: Mean squares at each depth.
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
        self.groups = NamedRatios(["square", "live"], NUM_BINS * len(names))
        self.replicates = PoissonBootstrap(NUM_BINS * len(names))
        parts = {"whole": self.whole, "groups": self.groups, "replicates": self.replicates}
        super().__init__(parts=parts)

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
        self.whole.update({"square": (by_group.sum(dim=1), valid.sum(dim=1))})
        every = tokens.expand_as(by_group).flatten(1)
        self.groups.update({"square": (flat, every), "live": (flat, flat)})
        self.replicates.update(flat, tape.batch.passages)


def _groups(num_positions: int, like: Tensor) -> Float[Tensor, "positions groups"]:
    """Return a one for the group of each position."""
    starts = torch.tensor(distance_bins(), device=like.device)
    places = torch.arange(num_positions, device=like.device)
    group = torch.bucketize(places, starts, right=True) - 1
    return torch.nn.functional.one_hot(group, NUM_BINS).to(like.dtype)
