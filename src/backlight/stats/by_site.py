"""One statistic for each of several sites, which have their places from their first batches on."""

from abc import abstractmethod
from typing import Any, Generic, TypeVar

from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from backlight.stats.base import State, Statistic, Sums, prefixed, under

_Part = TypeVar("_Part", bound=Sums)


class BySite(Statistic, Generic[_Part]):
    """A statistic of each site: what is left to say is ``update``, and what a site has at first."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._sites: dict[str, _Part] = {}

    def merge(self, other: "BySite[_Part]") -> None:
        """See ``Statistic.merge``."""
        for site, theirs in other._sites.items():
            self._site(site, self._size_of(theirs)).merge(theirs)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that was seen as arrays, named ``site/array``."""
        return prefixed(self._sites)

    def restore(self, state: State) -> None:
        """Forget what was seen and take over a state, of which it knows no more than its sites."""
        self._sites = {}
        for site in dict.fromkeys(key.partition("/")[0] for key in state):
            parts = under(site, state)
            self._site(site, self._size_in(parts)).restore(parts)

    def _site(self, site: str, size: int) -> _Part:
        """Find the statistic of a site; one that is new has seen nothing."""
        if site not in self._sites:
            self._sites[site] = self._nothing(size)
        return self._sites[site]

    @abstractmethod
    def _nothing(self, size: int) -> _Part:
        """Make the statistic of a site of so many units, which has seen nothing."""

    @abstractmethod
    def _size_of(self, part: _Part) -> int:
        """Count the units of a site."""

    @abstractmethod
    def _size_in(self, state: State) -> int:
        """Count the units of a site whose state this is; 0 if it does not say."""


def without_pads(
    values: Float[Tensor, "batch positions width"], valid: Bool[Tensor, "batch positions"]
) -> Float[Tensor, "batch positions width"]:
    """Set what stands at pads to zero, whatever it is."""
    return values if valid.all() else values.masked_fill(~valid[..., None], 0.0)
