"""Sums over groups of passages: what a run keeps so that it can be compared with another."""

from collections.abc import Collection, Mapping, Sequence
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from numpy.typing import NDArray
from torch import Tensor

from backlight.stats.aggregate import Mode
from backlight.stats.base import State, Sums, as_array, wide
from backlight.stats.by_site import BySite, without_pads
from backlight.stats.contrast import Groups
from backlight.stats.ratio import Fraction

NUM_GROUPS = 64
"""How many groups there are; with fewer passages each is a group."""

_UNSIGNED = np.uint64
_STEPS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))


def group_of(passages: Sequence[int]) -> NDArray[np.int64]:
    """Tell which group each passage of a corpus belongs to.

    Of every 64 passages that follow one another, each is in another group, in an order of their
    own: groups are of one size, and the same in every run, on every machine.

    Args:
        passages: The numbers of passages in their corpus.

    Returns:
        The group of each, from 0 to 63.
    """
    numbers = np.asarray(passages, dtype=np.int64)
    blocks, places = np.divmod(numbers, NUM_GROUPS)
    members = blocks[:, None] * NUM_GROUPS + np.arange(NUM_GROUPS)
    orders = np.argsort(np.argsort(_scrambled(members), axis=1, kind="stable"), axis=1)
    return orders[np.arange(len(numbers)), places]


def _scrambled(numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Make numbers look random, always in the same way (splitmix64; Steele et al. 2014)."""
    mixed = (numbers.astype(_UNSIGNED) + _UNSIGNED(1)) * _UNSIGNED(0x9E3779B97F4A7C15)
    for shift, factor in _STEPS:
        mixed = (mixed ^ (mixed >> _UNSIGNED(shift))) * _UNSIGNED(factor)
    return mixed


@final
class SiteGroups(BySite["_Groups"]):
    """Sums of each dimension over 64 groups of passages, for several sites.

    Attributes:
        modes: Of what there are sums: of values, of their sizes, of their squares.
    """

    def __init__(self, modes: Sequence[Mode]) -> None:
        """Start with nothing seen.

        Args:
            modes: See the class.
        """
        super().__init__()
        self.modes = tuple(modes)

    def update(
        self,
        site: str,
        values: Float[Tensor, "batch positions width"],
        *,
        valid: Bool[Tensor, "batch positions"],
        passages: Sequence[int],
    ) -> None:
        """Take in a batch at one site; what stands at pads is ignored.

        Args:
            site: The site's name.
            values: Some numbers for each token.
            valid: Where there is a token.
            passages: Which passage of the corpus each sequence is.
        """
        self._site(site, values.shape[-1]).update(
            without_pads(values, valid), valid=valid, passages=passages
        )

    def result(self, site: str) -> dict[str, NDArray[np.float32]]:
        """Return the sums of one site.

        Args:
            site: The site's name.

        Returns:
            ``below``, ``[64, 1]``: the numbers of tokens; and by mode ``[64, width]``: the sums of
            the values, of their sizes or of their squares.
        """
        return {name: array.astype(np.float32) for name, array in self._sites[site].state().items()}

    def _nothing(self, size: int) -> "_Groups":
        return _Groups(size, self.modes)

    def _size_of(self, part: "_Groups") -> int:
        return part.width

    def _size_in(self, state: State) -> int:
        sums = (array for name, array in state.items() if name in self.modes and array.ndim > 1)
        return next((array.shape[-1] for array in sums), 0)


@final
class PassageSums(Sums):
    """Sums over 64 groups of passages, in single precision, of what is summed elsewhere."""

    def __init__(self, widths: Mapping[str, int]) -> None:
        """Start with nothing seen.

        Args:
            widths: How many sums there are of each name.
        """
        zeros = {
            name: np.zeros((NUM_GROUPS, width), dtype=np.float32) for name, width in widths.items()
        }
        super().__init__(zeros)

    def update(
        self, sums: Mapping[str, Shaped[Tensor, "sequences _"]], passages: Sequence[int]
    ) -> None:
        """Take in some whole sequences.

        Args:
            sums: By name, the sums of each sequence.
            passages: Which passage of the corpus each sequence is.
        """
        groups = group_of(passages)
        for name, values in sums.items():
            np.add.at(self._sums[name], groups, values.detach().to("cpu", torch.float32).numpy())

    def result(self) -> dict[str, NDArray[np.float32]]:
        """Return the sums by name, ``[64, width]``."""
        return dict(self._sums)


@final
class RatioGroups(Sums):
    """Sums over 64 groups of passages above and below the line, of several ratios of many rows."""

    def __init__(
        self, names: Sequence[str], num_rows: int, *, shared: Collection[str] = ()
    ) -> None:
        """Start with nothing seen.

        Args:
            names: What is measured of each row.
            num_rows: How many rows there are.
            shared: Of which of these all rows have the same denominators, so that one is kept.
        """
        self._num_rows = num_rows
        self._widths = {name: 1 if name in shared else num_rows for name in names}
        width = sum(num_rows + below for below in self._widths.values())
        super().__init__({"sums": np.zeros((NUM_GROUPS, width))})

    def update(self, fractions: Mapping[str, Fraction], passages: Sequence[int]) -> None:
        """Take in some whole sequences.

        Args:
            fractions: By name, each sequence's sums above and below, as of ``NamedRatios``; others
                are not looked at.
            passages: Which passage of the corpus each sequence is.
        """
        sides = list[Tensor]()
        for name, width in self._widths.items():
            above, below = (
                sums.reshape(len(passages), -1).expand(-1, self._num_rows)
                for sums in fractions[name]
            )
            above = wide(above)
            sides += [above, below[:, :width].to(above.dtype)]
        # Side by side, so that a batch leaves the device once.
        found = as_array(torch.cat(sides, dim=1))
        for group, sums in zip(group_of(passages), found, strict=True):
            self._sums["sums"][group] += sums

    def result(self) -> dict[str, Groups]:
        """Return the sums of each row by name, ``[64, rows]``; below shared ones ``[64, 1]``."""
        ends = np.cumsum(
            [each for width in self._widths.values() for each in (self._num_rows, width)]
        )
        sides = np.split(self._sums["sums"], ends[:-1], axis=1)
        return {
            name: Groups(above=above, below=below)
            for name, above, below in zip(self._widths, sides[::2], sides[1::2], strict=True)
        }


@final
class _Groups(Sums):
    def __init__(self, width: int, modes: Sequence[Mode]) -> None:
        self.width, self._modes = width, modes
        super().__init__(
            {
                "below": np.zeros((NUM_GROUPS, 1), dtype=np.int64),
                **{mode: np.zeros((NUM_GROUPS, width)) for mode in modes},
            }
        )

    def update(self, values: Tensor, *, valid: Tensor, passages: Sequence[int]) -> None:
        groups = group_of(passages)
        np.add.at(self._sums["below"], groups, valid.sum(dim=1, keepdim=True).cpu().numpy())
        for mode in self._modes:
            np.add.at(self._sums[mode], groups, as_array(_raised(values, mode).sum(dim=1)))


def _raised(values: Tensor, mode: Mode) -> Tensor:
    if mode == "mean_abs":
        return wide(values.abs())
    return wide(values).square() if mode == "rms" else wide(values)
