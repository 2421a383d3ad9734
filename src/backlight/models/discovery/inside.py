"""What passed in one block, the same numbers once."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from backlight.models.discovery.observing import Observation, Passing


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Same:
    """All places in a block where the same numbers passed.

    Attributes:
        numbers: The numbers, in float64, ``[tokens, width]``.
        given: The modules that were given them, in the order in which it happened.
        gave: The modules that gave them.
    """

    numbers: Tensor
    given: list[Passing] = field(default_factory=list[Passing])
    gave: list[Passing] = field(default_factory=list[Passing])

    @property
    def first(self) -> int:
        """When these numbers passed first."""
        return min(passing.place for passing in (*self.given, *self.gave))

    @property
    def outermost(self) -> Passing:
        """The outermost module that gave them; of several, the first."""
        return min(self.gave, key=lambda passing: (passing.depth, passing.place))


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """What passed in one block.

    Attributes:
        pre: The stream that enters.
        post: The stream that leaves.
        all: Everything that passed inside, each once.
        eps: The rounding error of the coarsest number format in it.
    """

    pre: Same
    post: Same
    all: tuple[Same, ...]
    eps: float


def inside(block: str, seen: Observation) -> Inside:
    """Collect what passed in one block, the same numbers once.

    Args:
        block: Its path.
        seen: What passed.

    Returns:
        What passed.
    """
    pre, post = seen.given[block], seen.gave[block]
    known: dict[bytes, Same] = {}
    formats = {pre.rows.dtype, post.rows.dtype}

    def same(passing: Passing) -> Same:
        numbers = passing.rows.detach().double().flatten(0, 1).cpu()
        return known.setdefault(numbers.numpy().tobytes(), Same(numbers=numbers))

    start, end = same(pre), same(post)
    start.given.append(pre)
    end.gave.append(post)
    own = (
        p
        for p in (*seen.given.values(), *seen.gave.values())
        if p.tap.module.startswith(f"{block}.")
    )
    for passing in sorted(own, key=lambda passing: passing.place):
        if passing.rows.shape == pre.rows.shape:
            formats.add(passing.rows.dtype)
            group = same(passing)
            (group.given if passing.tap.side == "input" else group.gave).append(passing)
    eps = max(torch.finfo(dtype).eps for dtype in formats)
    return Inside(pre=start, post=end, all=tuple(known.values()), eps=eps)
