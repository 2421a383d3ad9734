"""How far the gradient's prediction of an ablation can be believed, for every dimension."""

from collections.abc import Mapping
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.capture.tape import Tape
from backlight.decompose.precision import at_least_single, wide
from backlight.decompose.relative import unit_lengths, whole_sizes
from backlight.models.streams import Way
from backlight.stats.base import State
from backlight.stats.by_site import BySite
from backlight.stats.first_order import FirstOrder, FirstOrderResult, Weighing
from backlight.surveys.driver.relative import weights_on


@final
class DimensionWarnings(BySite[FirstOrder]):
    """What each dimension of some sites, and each site as a whole, is beside its residual stream.

    Of each site the last unit is the whole site.
    """

    def __init__(self, ways: Mapping[str, Way]) -> None:
        """Start with nothing seen.

        Args:
            ways: How changes of each site reach its stream, by the sites' names.
        """
        super().__init__()
        self._ways = ways
        self._lengths: dict[str, Tensor] = {}

    def update(self, tape: Tape) -> None:
        """Take in a batch.

        Args:
            tape: With the activations at the sites, the norms of their streams, and gradients; of
                a tape without a gradient, sizes alone are taken.
        """
        for site, way in self._ways.items():
            sizes, products = _sums(tape, way, self._lengths_of(way, tape))
            self._site(site, len(sizes)).update(
                sizes,
                products,
                num_tokens=tape.batch.num_tokens,
                num_passages=len(tape.batch.passages),
                num_predicted=tape.batch.num_predicted,
            )

    def result(self, site: str, weighing: Weighing) -> FirstOrderResult | None:
        """Compute the numbers of one site's units; None where its stream is not known."""
        found = self._sites.get(site)
        return None if found is None else found.result(weighing)

    def _nothing(self, size: int) -> FirstOrder:
        return FirstOrder(size)

    def _size_of(self, part: FirstOrder) -> int:
        return part.num_units

    def _size_in(self, state: State) -> int:
        return FirstOrder.units_in(state)

    def _lengths_of(self, way: Way, tape: Tape) -> Tensor:
        name = way.site.name
        if name not in self._lengths:
            x = at_least_single(tape.activations[name])
            self._lengths[name] = unit_lengths(x.shape[-1], way.through, x)
        return self._lengths[name]


def _sums(
    tape: Tape, way: Way, lengths: Float[Tensor, " width"]
) -> tuple[Float[Tensor, " units"], Float[Tensor, " units"] | None]:
    """Add up a batch's relative sizes, and its gradients times activations."""
    x, weights = at_least_single(tape.activations[way.site.name]), weights_on(tape, way)
    sizes = weights.flatten() @ x.abs().flatten(0, 1) * lengths
    whole = (whole_sizes(x, way.through) * weights).sum()
    sizes = torch.cat([wide(sizes), wide(whole)[None]])
    gradient = tape.gradients.get(way.site.name)
    if gradient is None:
        return sizes, None
    products = wide((at_least_single(gradient) * x).sum(dim=1)).sum(dim=0)
    return sizes, torch.cat([products, products.sum()[None]])
