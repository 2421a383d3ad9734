"""Several kinds of ratios for each of many rows: the numbers behind a table."""

from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor

from backlight.stats.base import State
from backlight.stats.ratio import RatioResult, Ratios

Fraction = tuple[Tensor, Tensor]


@final
class NamedRatios:
    """Ratios by name and row, streamed over sequences; see ``Ratios`` for their errors."""

    def __init__(self, names: Sequence[str], num_rows: int) -> None:
        """Start with nothing seen.

        Args:
            names: What is measured of each row.
            num_rows: How many rows there are.
        """
        self._names, self._num_rows = tuple(names), num_rows
        self._ratios = Ratios(len(names) * num_rows)

    def update(self, fractions: Mapping[str, Fraction]) -> None:
        """Take in some whole sequences.

        Args:
            fractions: By name, each sequence's sums above and below for each row; one number for
                each sequence if it is the same for all rows.
        """
        above = [self._by_row(fractions[name][0]) for name in self._names]
        below = [self._by_row(fractions[name][1]) for name in self._names]
        self._ratios.update(torch.cat(above, dim=1), torch.cat(below, dim=1))

    def merge(self, other: "NamedRatios") -> None:
        """Take in what another, of the same names and rows, has seen of other sequences."""
        self._ratios.merge(other._ratios)

    def state(self) -> State:
        """Give all that was seen as arrays; ``restore`` takes them back."""
        return self._ratios.state()

    def restore(self, state: State) -> None:
        """Forget what was seen and take over a state."""
        self._ratios.restore(state)

    def result(self) -> dict[str, RatioResult]:
        """Compute each ratio of each row, by name."""
        whole, width = self._ratios.result(), self._num_rows
        own = {name: slice(n * width, (n + 1) * width) for n, name in enumerate(self._names)}
        return {
            name: RatioResult(
                ratio=whole.ratio[rows], se=whole.se[rows], num_sequences=whole.num_sequences[rows]
            )
            for name, rows in own.items()
        }

    def _by_row(self, sums: Tensor) -> Tensor:
        return sums.reshape(len(sums), -1).expand(-1, self._num_rows)
