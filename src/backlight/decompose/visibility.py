"""Which keys a query may look at, as a rule of positions."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from backlight.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Visibility:
    """A rule by which query i, at position p = i + offset among the keys, sees key j.

    Attributes:
        causal: Only keys up to its own position: j <= p.
        window: Only the nearest keys, its own among them: j > p - window, and without ``causal``
            j < p + window as well; None for all.
        offset: How many keys stand before the first query's (a cached prefix).

    Raises:
        ConfigError: A window without a key, or a negative offset.
    """

    causal: bool = True
    window: int | None = None
    offset: int = 0

    def __post_init__(self) -> None:
        """Refuse rules by which a query sees nothing."""
        if self.window is not None and self.window < 1:
            raise ConfigError(f"A window of {self.window} holds no key; take 1 at least.")
        if self.offset < 0:
            raise ConfigError(f"The offset is {self.offset}; no key stands before the first one.")

    def reach(self, start: int, stop: int, num_keys: int) -> tuple[int, int]:
        """Find the keys that any of some neighbouring queries can see.

        Args:
            start: The first query.
            stop: One behind the last query.
            num_keys: How many keys there are.

        Returns:
            The first such key, and one behind the last.
        """
        first, last = start + self.offset, stop - 1 + self.offset
        low, high = 0, num_keys
        if self.window is not None:
            low, high = max(0, first - self.window + 1), min(high, last + self.window)
        return low, min(high, last + 1) if self.causal else high

    def visible(
        self, start: int, stop: int, low: int, high: int, *, device: torch.device
    ) -> Bool[Tensor, "queries keys"]:
        """Return which of some neighbouring keys each of some neighbouring queries sees.

        Args:
            start: The first query.
            stop: One behind the last query.
            low: The first key.
            high: One behind the last key.
            device: Where the answer is needed.

        Returns:
            True where the query sees the key.
        """
        queries = torch.arange(start, stop, device=device).unsqueeze(1) + self.offset
        distance = queries - torch.arange(low, high, device=device)
        seen = distance >= 0 if self.causal else torch.ones_like(distance, dtype=torch.bool)
        return seen if self.window is None else seen & (distance.abs() < self.window)


CAUSAL = Visibility()
"""Every token sees itself and all before it."""
