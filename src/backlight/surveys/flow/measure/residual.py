"""The two paths around and through each half of a block, and the gradient along depth."""

from collections.abc import Collection, Mapping, Sequence
from typing import final

import numpy as np
import torch
from torch import Tensor

from backlight.capture.tape import Tape
from backlight.decompose.residual import PathSums, sum_paths
from backlight.models.sites import Site
from backlight.models.subject import AttentionCall, Subject
from backlight.stats.ratio import NamedRatios, RatioResult
from backlight.surveys.flow.measure.depth import DepthProfile
from backlight.surveys.flow.measure.halves import Half, halves_of
from backlight.surveys.flow.measure.view import Part, View
from backlight.tables import Table

_ROOTS = ("direct_norm", "transform_norm", "input_norm", "growth")
_PLAIN = ("cosine", "transform_share", "transform_contribution")


@final
class ResidualView(View):
    """The paths through every residual addition of some layers, and the profile of all depths."""

    def __init__(self, subject: Subject, layers: Sequence[int]) -> None:
        """Find the additions.

        Args:
            subject: The model.
            layers: Its layers to look at; the profile along depth is always of all.

        Raises:
            UnsupportedSiteError: If it is not known how the blocks are wired.
        """
        self._halves = halves_of(subject, layers)
        self._ratios = NamedRatios((*_ROOTS, *_PLAIN), len(self._halves))
        self._depth = DepthProfile(subject)

    @property
    def sites(self) -> Sequence[Site]:
        """The streams behind the additions, where branches begin, and the stream of all layers."""
        return [*(site for half in self._halves for site in half.sites), *self._depth.sites]

    @property
    def kept(self) -> Collection[str]:
        """The inputs of norms that two branches share."""
        return {half.norm.entry.name for half in self._halves if half.norm is not None}

    @property
    def attention_layers(self) -> Sequence[int]:
        """No layer's attention is needed."""
        return ()

    def update(self, tape: Tape, calls: Mapping[int, AttentionCall]) -> None:
        """Take in a batch.

        Args:
            tape: With gradients at the sites, and activations at those that are kept.
            calls: Not looked at.
        """
        del calls
        found = [sum_paths(half.paths(tape), tape.batch.valid) for half in self._halves]
        self._ratios.update(_fractions(found))
        self._depth.update(tape)

    def tables(self) -> tuple[Table, ...]:
        """Tabulate the paths, and the profile along depth: of all tokens, and by position."""
        return (_table(self._halves, self._ratios.result()), *self._depth.tables())

    @property
    def _parts(self) -> Mapping[str, Part]:
        return {"ratios": self._ratios, **self._depth.parts}


def _fractions(found: Sequence[PathSums]) -> dict[str, tuple[Tensor, Tensor]]:
    """Say what is divided by what."""

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


def _table(halves: Sequence[Half], found: Mapping[str, RatioResult]) -> Table:
    """Tabulate the paths of each residual addition.

    Norms are root mean squares over tokens: of the direct path (the gradient behind the addition),
    of the transform path (what returns through the branch), and of the gradient at the input, their
    sum. ``growth`` is the norm at the input over that of the direct path, ``cosine`` the mean over
    tokens of the cosine between the paths, ``transform_share`` the transform path's part of the
    energies of both, ``transform_contribution`` its part of the sum: negative where it works
    against it. In a parallel block, attention and MLP apart have the block's direct path, and their
    sum with it.

    Args:
        halves: The additions.
        found: What was measured, by name.

    Returns:
        The table, one row for each addition.
    """
    numbers = {name: result.root() if name in _ROOTS else result for name, result in found.items()}
    columns = {
        "layer": np.array([half.layer for half in halves]),
        "half": np.array([half.name for half in halves]),
        "num_sequences": numbers["direct_norm"].num_sequences,
    }
    for name, result in numbers.items():
        columns |= {name: result.ratio, f"{name}_se": result.se}
    units = [name for name in columns if name.partition("_se")[0].endswith("_norm")]
    return Table(name="residual", columns=columns, units=dict.fromkeys(units, "nats/unit"))
