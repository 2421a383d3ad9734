"""Proof of what was found: with other tokens, other shapes, and with the gradient.

Numbers that agree once may do so by chance, and a tensor may hold the stream's numbers without
being the stream: a copy, of which other readers know nothing. So the sums are computed again from
other tokens, tapped as a measurement taps them, and gradients are taken of all places at once. They
must obey the rules of a sum: what is added receives the gradient of the sum, and the stream before
it that gradient and what returns through the modules that read it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from backlight.models.backward import explaining, random_start, rooted
from backlight.models.discovery.norms import holds
from backlight.models.discovery.sums import adds_up, fit_channels
from backlight.models.discovery.wiring import Addition, Discovery, Layer, Term
from backlight.models.proof import is_close
from backlight.models.sites import Site, Tap
from backlight.models.subject import Subject
from backlight.models.taps import per_token, tapping
from backlight.models.wiring.norm_form import NormForm

Rows = Mapping[Tap, Tensor]
"""By place, a row of numbers for each token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Passed:
    """What passed in one pass at all places: numbers, gradients, and the output."""

    values: dict[Tap, Tensor]
    gradients: dict[Tap, Tensor]
    output: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """What holds of what was found.

    Attributes:
        found: What was found, with a sentence in the place of each layer for which it does not
            hold.
        tokens: The last tokens that it was tried with.
        output: What the model gave for them.
    """

    found: Discovery
    tokens: Int[Tensor, "batch positions"]
    output: Float[Tensor, "batch positions classes"]


def prove(subject: Subject, found: Discovery, trials: Sequence[Int[Tensor, "_ _"]]) -> Proven:
    """Hold what was found against other tokens.

    Args:
        subject: The model.
        found: What was found.
        trials: Other tokens, in other shapes than those it was found with.

    Returns:
        What holds of it.
    """
    layers = [layer for layer in found.layers if isinstance(layer, Layer)]
    last = found.final_norm
    taps = [tap for layer in layers for tap in _taps(layer)]
    taps = list(dict.fromkeys(taps if last is None else [*taps, *_ends(last)]))
    seen = [_pass(subject, tokens, taps) for tokens in trials]
    entries = [found.entry(block) for block in found.blocks[1:]]
    following = dict(zip(found.blocks, entries, strict=False))

    def proven(layer: Layer | str) -> Layer | str:
        if isinstance(layer, str):
            return layer
        for passed in seen:
            faults = chain(
                _faults(layer, passed, following.get(layer.block)),
                _broken_norms(subject, layer.norms, passed.values),
            )
            fault = next(faults, None)
            if fault is not None:
                return f"{layer.block}: {fault}"
        return _with_readers(layer, seen)

    if last is not None and any(any(_broken_norms(subject, [last], p.values)) for p in seen):
        last = None
    proved = replace(found, layers=tuple(map(proven, found.layers)), final_norm=last)
    return Proven(found=proved, tokens=trials[-1], output=seen[-1].output)


def _broken_norms(subject: Subject, norms: Sequence[NormForm], values: Rows) -> Iterator[str]:
    for norm in norms:
        given, gave = (values.get(tap) for tap in _ends(norm))
        if given is None or gave is None or not holds(norm, subject.model, given, gave):
            yield f"{norm.module} is not the norm that it was, for other tokens"


def _ends(norm: NormForm) -> tuple[Tap, Tap]:
    return norm.entry, norm.out


def _taps(layer: Layer) -> Iterator[Tap]:
    yield layer.pre
    for stream, addition in _sums(layer):
        yield from (stream, addition.sum, addition.stream)
        for term in addition.terms:
            yield from (term.out, term.added)
            yield from _reads(term)
    for norm in layer.norms:
        yield from _ends(norm)


def _reads(term: Term) -> Iterator[Tap]:
    """Yield where a term reads the stream, and where it begins behind its norm, if these differ."""
    if term.norm is not None:
        yield term.norm.entry
    if term.entry is not None:
        yield term.entry


def _pass(subject: Subject, tokens: Tensor, taps: Sequence[Tap]) -> _Passed:
    """Run some tokens forward and backward, from a random gradient of all that comes out."""
    values: dict[Tap, Tensor] = {}
    edges: dict[Tap, GradientEdge] = {}
    twice: set[Tap] = set()
    found: list[Tensor | None] = []
    shape = tokens.shape

    def visit(site: Site, tensor: Tensor) -> Tensor:
        if tensor.requires_grad and site.tap.written:
            tensor = tensor.clone()
        tensor = rooted(tensor)
        if site.tap in edges:
            twice.add(site.tap)
        edges[site.tap] = get_gradient_edge(tensor)
        # The product is a copy: some blocks add in place into what a tap has shown.
        values[site.tap] = per_token(site, tensor.detach() * 1, shape)
        return tensor

    sites = {tap: Site(name=tap.module, tap=tap, width=None) for tap in taps}
    with tapping(subject, sites.values(), visit), torch.enable_grad():
        output = subject.forward(tokens)
        with explaining(subject.name):
            ends = list(edges.values())
            if ends:
                found[:] = torch.autograd.grad(
                    output, ends, random_start(output), allow_unused=True
                )
    gradients = {
        tap: per_token(sites[tap], gradient, shape)
        for tap, gradient in zip(edges, found, strict=True)
        if gradient is not None and tap not in twice
    }
    return _Passed(values=values, gradients=gradients, output=output.detach())


def _faults(layer: Layer, passed: _Passed, following: Tap | None) -> Iterator[str]:
    """Say what of a layer does not hold."""
    values, gradients = passed.values, passed.gradients
    silent = [tap.module for tap in _core(layer) if tap not in gradients]
    if silent:
        yield f"the logits do not depend on {silent[0]}, or it passes more than once"
        return
    for stream, addition in _sums(layer):
        if not _holds(values, stream, addition):
            yield f"{addition.sum.module} is not the sum that it was, for other tokens"
        for term in addition.terms:
            scaled = gradients[addition.sum] * (term.multiplier or 1.0)
            if term.multiplier is not None and not is_close(gradients[term.added], scaled):
                yield f"{term.added.module} is read by more than the sum that it is a part of"
    if following in gradients and not is_close(
        gradients[layer.additions[-1].stream], gradients[following]
    ):
        yield "what it gives is read by more than the block behind it"


def _core(layer: Layer) -> Iterator[Tap]:
    yield layer.pre
    for addition in layer.additions:
        yield from (addition.sum, addition.stream, *(term.added for term in addition.terms))


def _sums(layer: Layer) -> Iterator[tuple[Tap, Addition]]:
    """Go through the sums of a layer, each with the stream before it."""
    stream = layer.pre
    if layer.start is not None:
        stream = layer.start.out
    for addition in layer.additions:
        yield stream, addition
        stream = addition.stream


def _holds(values: Rows, stream: Tap, addition: Addition) -> bool:
    taps = (addition.sum, stream, *(term.added for term in addition.terms))
    numbers = [values[tap].double().flatten(0, 1) for tap in taps]
    eps = max(torch.finfo(values[tap].dtype).eps for tap in taps)
    coefficients = [addition.kept, *(term.multiplier for term in addition.terms)]
    if any(each is None for each in coefficients):
        found = fit_channels(numbers[0], numbers[1], numbers[2:], eps)
        return found is not None and all(
            known is None or known == each for known, each in zip(coefficients, found, strict=True)
        )
    parts = [c * each for c, each in zip(coefficients, numbers[1:], strict=True) if c is not None]
    return adds_up(numbers[0], parts, eps=eps)


def _with_readers(layer: Layer, seen: Sequence[_Passed]) -> Layer:
    """Note of a layer whether all that reads the stream is known."""
    streams = dict(zip(layer.additions, (stream for stream, _ in _sums(layer)), strict=True))
    is_closed = all(
        _is_closed(streams[addition], addition, passed.gradients)
        for addition in layer.additions
        for passed in seen
    )
    return replace(layer, is_closed=is_closed and layer.start is None)


def _is_closed(stream: Tap, addition: Addition, gradients: Rows) -> bool:
    """Whether all that a sum's terms read of the stream passes their norms, or entries without."""
    if addition.kept is None:
        return False
    reads: set[Tap] = set()
    for term in addition.terms:
        norm = None if term.norm is None else term.norm.entry
        read = norm or term.entry
        if read is None or read not in gradients:
            return False
        reads.add(read)
    returned = torch.stack([gradients[read] for read in reads]).sum(0)
    around = gradients[addition.sum] * addition.kept
    return is_close(gradients[stream], around + returned) and _are_entered(addition, gradients)


def _are_entered(addition: Addition, gradients: Rows) -> bool:
    """Whether all that reads a norm is the terms that it belongs to, where they begin."""
    by_norm: dict[Tap, list[Tap | None]] = {}
    for term in addition.terms:
        if term.norm is not None:
            by_norm.setdefault(term.norm.out, []).append(term.entry)
    for norm, entries in by_norm.items():
        known = [gradients[entry] for entry in entries if entry is not None and entry in gradients]
        if norm not in gradients:
            return False
        out = gradients[norm]
        if len(known) < len(entries) or not is_close(out, torch.stack(known).sum(0)):
            return False
    return True
