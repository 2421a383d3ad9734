"""The list of blocks: modules of which each is given what the one before it gave."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from backlight.models.discovery.observing import Observation
from backlight.models.sites import Site
from backlight.models.subject import Subject

_LISTS = (nn.ModuleList, nn.ModuleDict, nn.Sequential)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockList:
    """Modules that could be blocks.

    Attributes:
        path: The path of the list that holds them.
        blocks: Their paths.
        width: How many numbers each gives for a token.
    """

    path: str
    blocks: tuple[str, ...]
    width: int


def candidates(subject: Subject) -> list[BlockList]:
    """List the lists of modules that all give a row of the same width for each token."""
    found: list[BlockList] = []
    for path, module in subject.model.named_modules():
        if isinstance(module, _LISTS) and len(module) > 0:
            blocks = tuple(
                f"{path}.{name}" if path else name for name, _ in module.named_children()
            )
            widths = {_width(subject.sites, block) for block in blocks}
            width = widths.pop()
            if not widths and width is not None:
                found.append(BlockList(path=path, blocks=blocks, width=width))
    return found


def why_none(subject: Subject) -> str:
    """Say why no list of modules comes into question: what is wrong with the first member of one.

    Args:
        subject: The model.

    Returns:
        A sentence.
    """
    for path, module in subject.model.named_modules():
        for name, _ in module.named_children() if isinstance(module, nn.ModuleList) else ():
            site = subject.sites.get(f"{path}.{name}" if path else name)
            if site is not None and site.problem is not None:
                return site.problem
    return "none of its lists of modules gives rows of one width for each token"


def _width(sites: Mapping[str, Site], path: str) -> int | None:
    site = sites.get(path)
    return None if site is None or site.problem is not None else site.width


def find_chain(chains: list[BlockList], seen: Observation) -> BlockList | str:
    """Find the list whose members are each given what the one before gave.

    Args:
        chains: The lists that come into question.
        seen: What passed.

    Returns:
        The longest such list, of these the outermost; a sentence if there is none, or two.
    """
    whole = [chain for chain in chains if not any(_breaks(chain, seen))]
    if not whole:
        broken = [
            broken for chain in chains if len(chain.blocks) > 1 for broken in _breaks(chain, seen)
        ]
        return broken[0] if broken else "no list of modules gives rows of one width for each token"
    ranked = sorted(whole, key=lambda chain: (-len(chain.blocks), chain.path.count(".")))
    best = ranked[0]
    rivals = [
        c
        for c in ranked[1:]
        if len(c.blocks) == len(best.blocks) and not c.path.startswith(f"{best.path}.")
    ]
    if rivals:
        return f"both {best.path} and {rivals[0].path} could be the list of blocks"
    return best


def _breaks(chain: BlockList, seen: Observation) -> Iterator[str]:
    """Say where a list is no chain."""
    for block in chain.blocks:
        if block not in seen.given or block not in seen.gave:
            yield f"{block} is not given one row of {chain.width} numbers for each token, once"
            return
        if seen.given[block].rows.shape[-1] != chain.width:
            given = seen.given[block].rows.shape[-1]
            yield f"{block} is given {given} numbers for each token and gives {chain.width}"
            return
    for first, second in pairwise(chain.blocks):
        if not seen.gave[first].rows.equal(seen.given[second].rows):
            yield f"what {first} gives is not what {second} is given"
            return
