"""The gradient's norm along depth, of all tokens and by their position."""

from collections.abc import Mapping, Sequence
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from backlight.capture.tape import Tape
from backlight.decompose.depth import DepthSlope, depth_slope
from backlight.decompose.distance import NUM_BINS, distance_bins
from backlight.decompose.precision import at_least_single, wide
from backlight.models.sites import Site
from backlight.models.subject import Subject
from backlight.stats.bootstrap import PoissonBootstrap
from backlight.stats.ratio import NamedRatios, RatioResult
from backlight.surveys.flow.measure.view import Part
from backlight.tables import Column, Table

_UNITS: Mapping[str, str] = dict.fromkeys(("gradient_norm", "gradient_norm_se"), "nats/unit")


@final
class DepthProfile:
    """Squares of the gradient where the stream enters each layer and where it leaves the last.

    Positions are grouped by powers of two: 0, 1, 2-3, 4-7, ...
    """

    def __init__(self, subject: Subject) -> None:
        """Start with nothing seen.

        Args:
            subject: The model; all of its layers count.
        """
        names = [f"layers.{layer}.resid.pre" for layer in range(subject.num_layers)]
        names += [f"layers.{subject.num_layers - 1}.resid.post"]
        self.sites: Sequence[Site] = [subject.sites[name] for name in names]
        self._all = NamedRatios(["square"], len(names))
        self._groups = NamedRatios(["square", "live"], NUM_BINS * len(names))
        self._replicates = PoissonBootstrap(NUM_BINS * len(names))

    @property
    def parts(self) -> Mapping[str, Part]:
        """All that is summed, by name."""
        return {"all": self._all, "groups": self._groups, "replicates": self._replicates}

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
        self._all.update({"square": (by_group.sum(dim=1), valid.sum(dim=1))})
        every = tokens.expand_as(by_group).flatten(1)
        self._groups.update({"square": (flat, every), "live": (flat, flat)})
        self._replicates.update(flat, tape.batch.passages)

    def tables(self) -> tuple[Table, Table, Table]:
        """Tabulate norms by depth, norms by position and depth, and slopes.

        Norms are root mean squares over tokens. A slope is that of the logarithm of the norm per
        layer walked backward, from the last layer to the embedding: below zero the gradient
        vanishes, above it explodes; its interval holds 95 % of the slopes of a bootstrap over
        sequences, and is blank where only one of them has a gradient (a last token has none).

        Returns:
            ``depth``: one row for each depth; depth 0 is the embedding. ``depth_by_position``: the
            same for each group of positions. ``depth_slope``: one row for all positions (blank
            ones), then one for each group.
        """
        return self._depth_table(), self._position_table(), self._slope_table()

    def _depth_table(self) -> Table:
        result = self._all.result()["square"]
        return Table(name="depth", columns={**self._depths(), **_norms(result)}, units=_UNITS)

    def _position_table(self) -> Table:
        result = self._groups.result()["square"]
        seen = self._seen(result)
        depths = self._depths()
        columns: dict[str, Column] = {
            name: np.repeat(column[seen], len(self.sites)) for name, column in _ranges().items()
        }
        columns |= {name: np.tile(column, int(seen.sum())) for name, column in depths.items()}
        rows = np.repeat(seen, len(self.sites))
        columns |= {name: column[rows] for name, column in _norms(result).items()}
        return Table(name="depth_by_position", columns=columns, units=_UNITS)

    def _slope_table(self) -> Table:
        whole, found = self._all.result()["square"], self._groups.result()
        seen, num_depths = self._seen(found["square"]), len(self.sites)
        by_group = found["square"].ratio.reshape(NUM_BINS, num_depths)[seen]
        replicates = self._replicates.replicates().reshape(-1, NUM_BINS, num_depths)
        drawn = np.concatenate([replicates.sum(axis=1, keepdims=True), replicates[:, seen]], axis=1)
        slopes = depth_slope(
            torch.from_numpy(np.concatenate([whole.ratio[None], by_group])).mT,
            torch.from_numpy(drawn).mT,
        )
        live = found["live"].num_sequences[::num_depths][seen]
        num_sequences = np.concatenate([whole.num_sequences[:1], live])
        ranges = {name: column[seen] for name, column in _ranges().items()}
        return Table(
            name="depth_slope",
            columns={
                **{name: np.concatenate([[np.nan], column]) for name, column in ranges.items()},
                "num_sequences": num_sequences,
                **_intervals(slopes, num_sequences),
            },
            units=dict.fromkeys(("slope", "slope_low", "slope_high"), "nats/layer"),
        )

    def _depths(self) -> dict[str, Column]:
        names = [site.name for site in self.sites]
        return {"depth": np.arange(len(names)), "site": np.array(names)}

    def _seen(self, groups: RatioResult) -> NDArray[np.bool_]:
        """Tell which groups of positions any token is in."""
        return groups.num_sequences[:: len(self.sites)] > 0


def _groups(num_positions: int, like: Tensor) -> Float[Tensor, "positions groups"]:
    """Mark the group of each position."""
    starts = torch.tensor(distance_bins(), device=like.device)
    places = torch.arange(num_positions, device=like.device)
    group = torch.bucketize(places, starts, right=True) - 1
    return torch.nn.functional.one_hot(group, NUM_BINS).to(like.dtype)


def _ranges() -> dict[str, NDArray[np.float64]]:
    """Give the first and the last position of each group; the last group is open."""
    starts = np.array(distance_bins(), dtype=np.float64)
    return {"position_first": starts, "position_last": np.append(starts[1:] - 1, np.nan)}


def _norms(result: RatioResult) -> dict[str, Column]:
    root = result.root()
    return {
        "num_sequences": root.num_sequences,
        "gradient_norm": root.ratio,
        "gradient_norm_se": root.se,
    }


def _intervals(found: DepthSlope, num_sequences: NDArray[np.int64]) -> dict[str, Column]:
    known = num_sequences >= 2
    return {
        "slope": found.slope.numpy(),
        "slope_low": np.where(known, found.low.numpy(), np.nan),
        "slope_high": np.where(known, found.high.numpy(), np.nan),
    }
