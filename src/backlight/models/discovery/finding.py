"""How a model is wired, from the list of its blocks to the norm behind the last."""

from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor, nn

from backlight.models.discovery.describing import Describing
from backlight.models.discovery.head import fit_head, head_probe
from backlight.models.discovery.inside import Inside, inside
from backlight.models.discovery.mixing import blocks_apart, find_mixing, probe_blocks
from backlight.models.discovery.norms import fit_norms, norm_probes
from backlight.models.discovery.observing import Observation, observe
from backlight.models.discovery.proving import Proven, prove
from backlight.models.discovery.remembering import recall, remember
from backlight.models.discovery.solving import Chain, chains_of
from backlight.models.discovery.stream import BlockList, candidates, find_chain, why_none
from backlight.models.discovery.wiring import Discovery, HeadForm, Layer, Mixing
from backlight.models.lending import borrowed
from backlight.models.subject import Subject
from backlight.models.wiring.norm_form import NormForm

_SEQUENCES, _POSITIONS = 2, 13  # a prime, so that it is not taken for a number of heads
_APART = "what it adds together depends on each other, and the stream between is not to be seen"


def some_tokens(
    subject: Subject, vocabulary: int, *, first: int = 3, positions: int = _POSITIONS
) -> Tensor:
    """Make two sequences of tokens; none comes twice in a vocabulary of any size in use."""
    tokens = torch.arange(_SEQUENCES * positions).reshape(_SEQUENCES, positions) * 7 + first
    return (tokens % vocabulary).to(subject.device)


def discover(
    subject: Subject, vocabulary: int, *, key: str | None = None, most: int | None = None
) -> Proven | str:
    """Find out by arithmetic how a model is wired, and prove it; in five passes at most.

    Args:
        subject: A model whose sites are the paths of its modules (``subject_from_module``).
        vocabulary: How many tokens it has.
        key: Under what name to remember what was found, and to look whether it was found before
            (``key_of``); what was is proven anew, in two passes. None to remember nothing.
        most: How many tokens in a row it can read, if that is known and they are few.

    Returns:
        How it is wired, each block by itself; a sentence if no list of blocks was found.
    """
    positions = min(_POSITIONS, most or _POSITIONS)
    trial = some_tokens(subject, vocabulary, first=9, positions=positions)
    trials = (trial[:, : positions - 2], trial[1:, : positions - 3])
    with borrowed(subject.model):  # once for all
        known = None if key is None else recall(key)
        if known is not None:
            proven = prove(subject, known, trials)
            if proven.found == known:
                return proven
        found = _Finding(subject, vocabulary, positions).found()
        if isinstance(found, str):
            return found
        proven = prove(subject, found, trials)
    if key is not None and all(isinstance(layer, Layer) for layer in proven.found.layers):
        remember(key, proven.found)
    return proven


@final
class _Finding:
    """What a model shows of its wiring in three passes."""

    def __init__(self, subject: Subject, vocabulary: int, positions: int) -> None:
        self.subject = subject
        self.tokens = some_tokens(subject, vocabulary, positions=positions)
        self.others = some_tokens(subject, vocabulary, first=5, positions=positions)
        self.paths = [path for path, _ in subject.model.named_modules() if path]

    def found(self) -> Discovery | str:
        """Find the blocks, and how each is wired; a sentence if there are none."""
        lists = candidates(self.subject)
        if not lists:
            return why_none(self.subject)
        widths = {each.width for each in lists}
        seen = observe(self.subject, self.tokens, self.paths, widths)
        blocks = find_chain(lists, seen)
        return blocks if isinstance(blocks, str) else self._wired(seen, blocks)

    def _wired(self, seen: Observation, blocks: BlockList) -> Discovery:
        norms, head, again = self._parts(seen, blocks)
        insides = {path: inside(path, seen) for path in blocks.blocks}
        found = {path: chains_of(block, norms) for path, block in insides.items()}
        found = _told_apart(found, again, norms)
        alone = {
            path: each[0]
            for path, each in found.items()
            if len(each) == 1 and not _zeros(insides[path])
        }
        mixing, apart = self._mixing(seen, alone)
        matrices = _with_matrices(self.subject.model)

        def layer(path: str) -> Layer | str:
            if path not in alone:
                return _why_not(path, insides[path], found[path])
            if path not in apart:
                return f"{path}: {_APART}"
            describing = Describing(
                block=insides[path],
                norms=norms,
                mixing=mixing,
                attended=seen.attended,
                matrices=matrices,
            )
            return describing.layer(path, alone[path])

        return Discovery(
            width=blocks.width,
            blocks=blocks.blocks,
            layers=tuple(map(layer, blocks.blocks)),
            final_norm=_final_norm(seen, norms, blocks.blocks[-1]),
            head=head,
            axes=seen.given[blocks.blocks[0]].tap.axes,
        )

    def _parts(
        self, seen: Observation, blocks: BlockList
    ) -> tuple[dict[str, NormForm], HeadForm | None, Observation]:
        """Find norms and the head in one sequence, while the other is of other tokens."""
        model = self.subject.model
        probes = norm_probes(model, seen, blocks.width)
        of_head = head_probe(self.subject, seen, blocks.blocks)
        tokens = torch.stack([self.others[0], self.tokens[1]])
        inputs = probes if of_head is None else {**probes, of_head[0]: of_head[1]}
        probed = observe(self.subject, tokens, self.paths, (blocks.width,), inputs=inputs)
        norms = fit_norms(model, probes, seen, probed)
        head = None
        if of_head is not None:
            head = fit_head(self.subject, of_head, seen, probed, blocks.blocks)
        return norms, head, probed.of(0, 1)

    def _mixing(
        self, seen: Observation, chains: Mapping[str, Chain]
    ) -> tuple[dict[str, Mixing], set[str]]:
        if not chains:
            return {}, set()
        probed = probe_blocks(self.subject, self.tokens, seen, chains)
        return find_mixing(seen, probed, chains), blocks_apart(probed, chains)


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


def _with_matrices(model: nn.Module) -> set[str]:
    return {
        path
        for path, module in model.named_modules()
        if any(own.ndim > 1 for own in module.parameters(recurse=False))
    }


def _zeros(block: Inside) -> list[str]:
    """List the modules that give only zeros: what they are part of could be anything."""
    return [p.tap.module for same in block.all if not same.numbers.any() for p in same.gave]


def _why_not(path: str, block: Inside, chains: Sequence[Chain]) -> str:
    zeros = _zeros(block)
    if zeros:
        return f"{path}: {zeros[-1]} gives nothing but zeros, so it is not to be seen what it adds"
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
