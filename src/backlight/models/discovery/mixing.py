"""Which of the things that a block adds let a token see those before it, and which stand alone.

Every block, and every module that reads the stream between two sums, is given what it was given
before but for one token. What is added at later tokens then moves if it mixes tokens, and does not
move by a bit if it does not. All blocks are tried in one pass, since each has its input replaced.
"""

from collections.abc import Mapping, Sequence

from jaxtyping import Float, Int
from torch import Tensor

from backlight.models.discovery.inside import Same
from backlight.models.discovery.observing import Observation, observe
from backlight.models.discovery.solving import Chain
from backlight.models.discovery.wiring import Mixing
from backlight.models.subject import Subject

_CHANGED = 2  # the token that is another
_NEAR = 5  # how many tokens a convolution looks back at most; most are of four
_MOVED = 1e-5  # relative to the largest number


def find_mixing(
    subject: Subject,
    tokens: Int[Tensor, "batch positions"],
    seen: Observation,
    chains: Mapping[str, Chain],
) -> dict[str, Mixing]:
    """Find out what each added thing lets a token see.

    Args:
        subject: The model.
        tokens: The tokens that were seen.
        seen: What passed.
        chains: By the paths of blocks, how each adds up.

    Returns:
        By the paths of the modules whose outputs are added.
    """
    inputs = {block: _changed(seen.given[block].rows) for block in chains}
    for chain in chains.values():
        for stage in (step.before for step in chain[1:]):
            inputs |= {p.tap.module: _changed(p.rows) for p in stage.stream.given}
    added = [_path(term) for chain in chains.values() for step in chain for term in step.terms]
    width = {seen.gave[path].rows.shape[-1] for path in added}
    changed = observe(subject, tokens, added, width, inputs=inputs)
    found: dict[str, Mixing] = {}
    for block, chain in chains.items():
        terms = sorted((t for step in chain for t in step.terms), key=lambda t: t.outermost.place)
        start = seen.given[block].place
        for term in terms:
            path, end = _path(term), term.outermost.place
            reach = _reach(term.outermost.rows, changed.gave[path].rows)
            attends = any(start <= place < end for place in seen.attended)
            found[path] = _kind(reach, tokens.shape[1], attends=attends)
            start = end
    return found


def prove_apart(
    subject: Subject,
    tokens: Int[Tensor, "batch positions"],
    seen: Observation,
    chains: Mapping[str, Chain],
) -> set[str]:
    """Check that what is added together does not depend on each other.

    Args:
        subject: The model.
        tokens: The tokens that were seen.
        seen: What passed.
        chains: By the paths of blocks, how each adds up.

    Returns:
        The blocks in which it does not.
    """
    together = {
        block: [sorted(step.terms, key=lambda t: t.outermost.place) for step in chain]
        for block, chain in chains.items()
        if any(len(step.terms) > 1 for step in chain)
    }
    if not together:
        return set(chains)
    firsts = [terms[0] for steps in together.values() for terms in steps if len(terms) > 1]
    outputs = {p.tap.module: p.rows.roll(1, -1) for term in firsts for p in term.gave}
    inputs = {block: seen.given[block].rows for block in chains}
    for block in together:
        for stage in (step.before for step in chains[block][1:]):
            inputs |= {p.tap.module: p.rows for p in stage.stream.given}
    rest = [term for steps in together.values() for terms in steps for term in terms[1:]]
    paths = [_path(term) for term in rest]
    width = {term.outermost.rows.shape[-1] for term in rest}
    again = observe(subject, tokens, paths, width, inputs=inputs, outputs=outputs)

    def is_apart(steps: Sequence[Sequence[Same]]) -> bool:
        later = [term for terms in steps for term in terms[1:]]
        return not any(_moved(t.outermost.rows, again.gave[_path(t)].rows).any() for t in later)

    return {block for block in chains if block not in together or is_apart(together[block])}


def _path(term: Same) -> str:
    return term.outermost.tap.module


def _changed(
    rows: Float[Tensor, "batch positions width"],
) -> Float[Tensor, "batch positions width"]:
    changed = rows.clone()
    changed[:, _CHANGED] = rows[:, _CHANGED].roll(1, -1)
    return changed


def _moved(rows: Tensor, again: Tensor) -> Tensor:
    return (rows.double() - again.double()).abs().amax(-1) > _MOVED * rows.double().abs().max()


def _reach(rows: Tensor, again: Tensor) -> int:
    """Return how many tokens behind the changed one moved last; 0 if none did."""
    if not _moved(rows, again)[:, _CHANGED + 1 :].any():
        return 0
    # Behind the end of a convolution nothing moves by a bit; what decays still does.
    where = (rows != again).any(dim=(0, 2)).nonzero().flatten().tolist()
    return max([place - _CHANGED for place in where if place > _CHANGED], default=0)


def _kind(reach: int, num_positions: int, *, attends: bool) -> Mixing:
    if reach == 0:
        return "none"
    if attends:
        return "attention"
    return "convolution" if reach <= _NEAR < num_positions - _CHANGED - 1 else "recurrence"
