"""Which of the things that a block adds let a token see those before it, and which stand alone.

All blocks are tried in one pass, since each has its input replaced, as has every module that reads
the stream between two sums. In the first sequence one token is another. What is added at later
tokens then moves if it mixes tokens, and does not move by a bit if it does not. In the last
sequence the first of several things that are added together gives other numbers; the others must
not move.
"""

from collections.abc import Mapping, Sequence

from jaxtyping import Float, Int
from torch import Tensor

from backlight.models.discovery.inside import Same
from backlight.models.discovery.observing import Instead, Observation, observe
from backlight.models.discovery.solving import Chain
from backlight.models.discovery.wiring import Mixing
from backlight.models.subject import Subject

_CHANGED = 2  # the token that is another
_NEAR = 5  # how many tokens a convolution looks back at most; most are of four
_MOVED = 1e-5  # relative to the largest number


def probe_blocks(
    subject: Subject,
    tokens: Int[Tensor, "batch positions"],
    seen: Observation,
    chains: Mapping[str, Chain],
) -> Observation:
    """Run blocks with another token in the first sequence, and another addend in the last.

    Args:
        subject: The model.
        tokens: The tokens that were seen, at least two sequences.
        seen: What passed.
        chains: By the paths of blocks, how each adds up.

    Returns:
        What passed now.
    """
    inputs = {block: _changed(seen.given[block].rows) for block in chains}
    for chain in chains.values():
        for stage in (step.before for step in chain[1:]):
            inputs |= {p.tap.module: _changed(p.rows) for p in stage.stream.given}
    together = [_in_order(step.terms) for chain in chains.values() for step in chain]
    firsts = [terms[0] for terms in together if len(terms) > 1]
    outputs = {p.tap.module: _other(p.rows) for term in firsts for p in term.gave}
    added = [_path(term) for terms in together for term in terms]
    width = {seen.gave[path].rows.shape[-1] for path in added}
    return observe(subject, tokens, added, width, inputs=inputs, outputs=outputs)


def find_mixing(
    seen: Observation, probed: Observation, chains: Mapping[str, Chain]
) -> dict[str, Mixing]:
    """Find out what each added thing lets a token see.

    Args:
        seen: What passed.
        probed: What passed with another token in the first sequence.
        chains: By the paths of blocks, how each adds up.

    Returns:
        By the paths of the modules whose outputs are added.
    """
    found: dict[str, Mixing] = {}
    for block, chain in chains.items():
        start = seen.given[block].place
        for term in _in_order([term for step in chain for term in step.terms]):
            path, end = _path(term), term.outermost.place
            reach = _reach(term.outermost.rows[0], probed.gave[path].rows[0])
            attends = any(start <= place < end for place in seen.attended)
            found[path] = _kind(reach, term.outermost.rows.shape[1], attends=attends)
            start = end
    return found


def blocks_apart(probed: Observation, chains: Mapping[str, Chain]) -> set[str]:
    """Find the blocks in which what is added together does not depend on each other.

    Args:
        probed: What passed with another addend in the last sequence.
        chains: By the paths of blocks, how each adds up.

    Returns:
        Their paths.
    """

    def is_apart(chain: Chain) -> bool:
        later = [term for step in chain for term in _in_order(step.terms)[1:]]
        return not any(
            _moved(term.outermost.rows[-1], probed.gave[_path(term)].rows[-1]).any()
            for term in later
        )

    return {block for block, chain in chains.items() if is_apart(chain)}


def _in_order(terms: Sequence[Same]) -> list[Same]:
    return sorted(terms, key=lambda term: term.outermost.place)


def _other(rows: Float[Tensor, "batch positions width"]) -> Instead:
    return Instead(first=len(rows) - 1, rows=rows[-1:].roll(1, -1))


def _path(term: Same) -> str:
    return term.outermost.tap.module


def _changed(rows: Float[Tensor, "batch positions width"]) -> Instead:
    changed = rows.clone()
    changed[0, _CHANGED] = rows[0, _CHANGED].roll(1, -1)
    return Instead(first=0, rows=changed)


def _moved(rows: Tensor, again: Tensor) -> Tensor:
    return (rows.double() - again.double()).abs().amax(-1) > _MOVED * rows.double().abs().max()


def _reach(rows: Float[Tensor, "positions width"], again: Float[Tensor, "positions width"]) -> int:
    """Return how many tokens behind the changed one moved last; 0 if none did."""
    if not _moved(rows, again)[_CHANGED + 1 :].any():
        return 0
    # Behind the end of a convolution nothing moves by a bit; what decays still does.
    where = (rows != again).any(dim=-1).nonzero().flatten().tolist()
    return max([place - _CHANGED for place in where if place > _CHANGED], default=0)


def _kind(reach: int, num_positions: int, *, attends: bool) -> Mixing:
    if reach == 0:
        return "none"
    if attends:
        return "attention"
    return "convolution" if reach <= _NEAR < num_positions - _CHANGED - 1 else "recurrence"
