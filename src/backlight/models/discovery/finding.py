"""How a model is wired, from the list of its blocks to the norm behind the last."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from backlight.models.discovery.describing import Describing
from backlight.models.discovery.head import find_head
from backlight.models.discovery.inside import inside
from backlight.models.discovery.mixing import find_mixing, prove_apart
from backlight.models.discovery.norms import find_norms
from backlight.models.discovery.observing import Observation, observe
from backlight.models.discovery.proving import prove
from backlight.models.discovery.solving import Chain, chains_of
from backlight.models.discovery.stream import candidates, find_chain
from backlight.models.discovery.wiring import Discovery, Layer, NormForm
from backlight.models.lending import borrowed
from backlight.models.subject import Subject

_SEQUENCES, _POSITIONS = 3, 11  # a prime, so that it is not taken for a number of heads
_APART = "what it adds together depends on each other, and the stream between is not to be seen"


def some_tokens(subject: Subject, vocabulary: int, *, first: int = 3) -> Tensor:
    """Make a few sequences of tokens; none comes twice in a vocabulary of any size in use."""
    tokens = torch.arange(_SEQUENCES * _POSITIONS).reshape(_SEQUENCES, _POSITIONS) * 7 + first
    return (tokens % vocabulary).to(subject.device)


def discover(subject: Subject, vocabulary: int) -> Discovery | str:
    """Find out by arithmetic how a model is wired.

    Args:
        subject: A model whose sites are the paths of its modules (``subject_from_module``).
        vocabulary: How many tokens it has.

    Returns:
        How it is wired, each block by itself; a sentence if no list of blocks was found.
    """
    tokens, others = (some_tokens(subject, vocabulary, first=first) for first in (3, 5))
    chains = candidates(subject)
    if not chains:
        return "none of its lists of modules gives rows of numbers for each token"
    paths = [path for path, _ in subject.model.named_modules() if path]
    with borrowed(subject.model):  # once for all
        seen = observe(subject, tokens, paths, {chain.width for chain in chains})
        chain = find_chain(chains, seen)
        if isinstance(chain, str):
            return chain
        norms = find_norms(subject, tokens, seen, chain.width)
        insides = {path: inside(path, seen) for path in chain.blocks}
        found = {path: chains_of(block, norms) for path, block in insides.items()}
        if any(len(each) > 1 for each in found.values()):
            again = observe(subject, others, paths, {chain.width})
            found = _told_apart(found, again, norms)
        alone = {path: each[0] for path, each in found.items() if len(each) == 1}
        mixing = find_mixing(subject, tokens, seen, alone) if alone else {}
        apart = prove_apart(subject, tokens, seen, alone)
        head = find_head(subject, tokens, seen, chain.blocks)

    def layer(path: str) -> Layer | str:
        if path not in alone:
            return _why_not(path, found[path])
        if path not in apart:
            return f"{path}: {_APART}"
        describing = Describing(block=insides[path], norms=norms, mixing=mixing)
        return describing.layer(path, alone[path])

    found_wiring = Discovery(
        width=chain.width,
        blocks=chain.blocks,
        layers=tuple(map(layer, chain.blocks)),
        final_norm=_final_norm(seen, norms, chain.blocks[-1]),
        head=head,
    )
    trials = (others[:2], others[2:, :7])
    return prove(subject, found_wiring, trials)


def _told_apart(
    found: Mapping[str, list[Chain]], again: Observation, norms: Mapping[str, NormForm]
) -> dict[str, list[Chain]]:
    """Keep of several explanations of a block those that hold for other tokens, too."""
    kept: dict[str, list[Chain]] = {}
    for path, chains in found.items():
        if len(chains) > 1:
            there = {_taps(chain) for chain in chains_of(inside(path, again), norms)}
            chains = [chain for chain in chains if _taps(chain) in there]
        kept[path] = chains
    return kept


def _taps(chain: Chain) -> object:
    return tuple(
        (
            frozenset(p.tap.module for p in step.after.total.given),
            *(t.outermost.tap for t in step.terms),
        )
        for step in chain
    )


def _why_not(path: str, chains: Sequence[Chain]) -> str:
    if chains:
        return f"{path}: {len(chains)} explanations fit what it adds to the stream"
    return (
        f"{path}: no outputs of its modules add up to what becomes of the stream in it (scaled by "
        "one number or one per channel, one after the other or together)"
    )


def _final_norm(seen: Observation, norms: Mapping[str, NormForm], last: str) -> NormForm | None:
    """Find the norm that is given what the last block gives, outside of the blocks."""
    post = seen.gave[last]
    found = [
        form
        for path, form in norms.items()
        if seen.given[path].place > post.place and seen.given[path].rows.equal(post.rows)
    ]
    return found[0] if len(found) == 1 else None
