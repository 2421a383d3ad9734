"""The heads of attention: queries, keys, values and what the heads give, proven by what attends.

What is handed to the attention function is shown by ``Subject.tap_attention``. The pattern is
computed from it, ``softmax(scale q k')``, and with it what each head must give, ``pattern v``. If a
module of the block is given just that, heads side by side, then q, k and v are what they are called
and z is that module's input.

Where a gate g stands between, z is ``g (pattern v)``. Then the model is run again with other
values, and with its own stream behind each mixer, so that all queries, keys and gates are as they
were: ``z' (pattern v) = z (pattern v')`` must hold, number by number.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.errors import UnsupportedSiteError
from backlight.models.discovery.observing import Instead, Observation, Passing, observe
from backlight.models.discovery.proving import Proven
from backlight.models.discovery.wiring import Discovery, Layer, Term
from backlight.models.proof import is_close
from backlight.models.sites import Tap
from backlight.models.subject import AttentionCall, Subject

_CHANGED = "the model gives other logits while what attends is looked at"
_SEVERAL = "several of its modules attend"
_NOWHERE = (
    "no module is given what the heads give, side by side, or that times a gate (a norm, or a "
    "difference of heads, may stand between)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """The heads of one attention module.

    Attributes:
        module: The path of the module that hands q, k and v to the attention function.
        num_heads: How many heads of queries there are.
        num_key_heads: How many heads of keys and values.
        key_width: How many numbers a head's query and key have.
        value_width: How many its value has.
        z: Where what the heads give passes, side by side.
        is_gated: A gate stands between the heads and ``z``.
        shared: The block whose keys and values these are; None if they are its own.
    """

    module: str
    num_heads: int
    num_key_heads: int
    key_width: int
    value_width: int
    z: Tap
    is_gated: bool = False
    shared: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attending:
    """One block in which one module attends, with what it must give."""

    block: str
    module: str
    call: AttentionCall
    expected: Float[Tensor, "batch positions width"]


def find_heads(subject: Subject, proven: Proven) -> dict[str, Heads | str]:
    """Find the heads of all blocks that attend; in one pass, or two if there are gates.

    Args:
        subject: A model whose sites are the paths of its modules, with its tap on attention.
        proven: How it is wired.

    Returns:
        By the path of each block that attends its heads, or a sentence that says why they are not
        known.
    """
    tokens = proven.tokens
    terms = dict(_attending_terms(proven.found))
    if not terms:
        return {}
    paths = [
        path
        for path, _ in subject.model.named_modules()
        if any(path == block or path.startswith(f"{block}.") for block in terms)
    ]
    widths = _widths(subject, paths)
    try:
        calls, seen = _calls(subject, tokens, paths, widths)
    except (UnsupportedSiteError, KeyError) as error:
        return dict.fromkeys(terms, _unreached(error))
    if not is_close(seen.output, proven.output):
        return dict.fromkeys(terms, _CHANGED)
    attending = {block: _attending(subject, block, calls) for block in terms}
    alone = [each for each in attending.values() if isinstance(each, _Attending)]
    exact = {each.block: _given(each, seen) for each in alone}
    rest = [each for each in alone if exact[each.block] is None]
    gated = _behind_gates(subject, tokens, rest, terms, seen) if rest else {}

    def heads(block: str) -> Heads | str:
        each = attending[block]
        if isinstance(each, str):
            return each
        passing = exact[block] or gated.get(block)
        if passing is None:
            return _NOWHERE
        return _described(each, passing, alone, is_gated=exact[block] is None)

    return {block: heads(block) for block in terms}


def _attending_terms(found: Discovery) -> Iterator[tuple[str, Term]]:
    """Go through the blocks in which one thing that is added is attention."""
    for layer in found.layers:
        if isinstance(layer, Layer):
            terms = [t for a in layer.additions for t in a.terms if t.mixes == "attention"]
            if len(terms) == 1:
                yield layer.block, terms[0]


def _widths(subject: Subject, paths: Sequence[str]) -> set[int]:
    """Collect how wide a row may be that a module with weights is given."""
    modules = (subject.model.get_submodule(path) for path in paths)
    return {
        size for module in modules for p in module.parameters(recurse=False) for size in p.shape
    }


def _unreached(error: UnsupportedSiteError | KeyError) -> str:
    if isinstance(error, UnsupportedSiteError):
        return "its attention does not go through an attention interface that can be tapped"
    return "its attention looks its kernel up in a place of its own, so it cannot be tapped"


def _calls(
    subject: Subject, tokens: Tensor, paths: Sequence[str], widths: Iterable[int]
) -> tuple[list[AttentionCall], Observation]:
    calls: list[AttentionCall] = []

    def keep(call: AttentionCall) -> tuple[Tensor, Tensor, Tensor]:
        calls.append(call)
        return call.query, call.key, call.value

    with subject.tap_attention(keep):
        seen = observe(subject, tokens, paths, set(widths))
    return calls, seen


def _attending(subject: Subject, block: str, calls: Sequence[AttentionCall]) -> _Attending | str:
    paths = {module: path for path, module in subject.model.named_modules()}
    own = [call for call in calls if paths.get(call.module, "").startswith(f"{block}.")]
    if len(own) != 1:
        return _SEVERAL if own else _unreached(UnsupportedSiteError())
    call = own[0]
    expected = heads_give(call, call.value)
    if expected is None:
        return "its attention has a mask of a kind that is not read"
    return _Attending(block=block, module=paths[call.module], call=call, expected=expected)


def heads_give(
    call: AttentionCall, value: Float[Tensor, "batch key_heads positions value_width"]
) -> Float[Tensor, "batch positions width"] | None:
    """Compute what heads give, side by side, from what attends: ``softmax(scale q k' + mask) v``.

    Args:
        call: What attends.
        value: The values.

    Returns:
        What they give, in float64; None if the mask is no tensor.
    """
    query, key = call.query.double(), call.key.double()
    key = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
    scores = query @ key.mT * call.scale
    if call.cap is not None:
        scores = call.cap * torch.tanh(scores / call.cap)
    masked = _masked(scores, call)
    if masked is None:
        return None
    if call.sinks is not None:
        sinks = call.sinks.double().reshape(1, -1, 1, 1).expand(*masked.shape[:3], 1)
        masked = torch.cat([masked, sinks], dim=-1)
    pattern = masked.softmax(dim=-1)[..., : key.shape[2]]
    value = value.double().repeat_interleave(query.shape[1] // value.shape[1], dim=1)
    return (pattern @ value).transpose(1, 2).flatten(2)


def _masked(scores: Tensor, call: AttentionCall) -> Tensor | None:
    num_queries, num_keys = scores.shape[-2:]
    if call.mask is None:
        queries = torch.arange(num_keys - num_queries, num_keys, device=scores.device)[:, None]
        distance = queries - torch.arange(num_keys, device=scores.device)
        seen = (distance >= 0) & (distance < (call.window or num_keys))
        return scores.masked_fill(~seen, float("-inf"))
    if not isinstance(call.mask, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
        return None
    mask = call.mask[..., :num_keys]
    if mask.dtype == torch.bool:
        return scores.masked_fill(~mask, float("-inf"))
    return scores + mask.double()


def _given(attending: _Attending, seen: Observation) -> Passing | None:
    """Find the first module that is given just what the heads give."""
    found = [
        passing
        for passing in _inside(attending.block, seen)
        if passing.rows.shape == attending.expected.shape
        and is_close(passing.rows, attending.expected.to(passing.rows.dtype))
    ]
    return min(found, key=lambda passing: passing.place, default=None)


def _inside(block: str, seen: Observation) -> Iterator[Passing]:
    return (passing for path, passing in seen.given.items() if path.startswith(f"{block}."))


def _behind_gates(
    subject: Subject,
    tokens: Tensor,
    attending: Sequence[_Attending],
    terms: Mapping[str, Term],
    seen: Observation,
) -> dict[str, Passing]:
    """Find the modules that are given what heads give times a gate, by other values."""
    generator = torch.Generator().manual_seed(0)
    values: dict[int, Tensor] = {}
    for each in attending:
        value = each.call.value
        factor = torch.rand(value.shape, generator=generator, dtype=torch.float64) + 0.5
        values[id(each.call.module)] = value * factor.to(value)
    again: dict[int, AttentionCall] = {}

    def change(call: AttentionCall) -> tuple[Tensor, Tensor, Tensor]:
        again[id(call.module)] = call
        return call.query, call.key, values.get(id(call.module), call.value)

    # Whatever the heads give now, the stream is what it was.
    held = [terms[each.block].added.module for each in attending]
    outputs = {path: Instead(first=0, rows=seen.gave[path].rows) for path in held}
    candidates = {
        each.block: [p for p in _inside(each.block, seen) if p.rows.shape == each.expected.shape]
        for each in attending
    }
    paths = [p.tap.module for passings in candidates.values() for p in passings]
    widths = {each.expected.shape[-1] for each in attending} | {
        instead.rows.shape[-1] for instead in outputs.values()
    }
    with subject.tap_attention(change):
        other = observe(subject, tokens, paths, widths, outputs=outputs)
    found: dict[str, Passing] = {}
    for each in attending:
        call = again[id(each.call.module)]
        expected = heads_give(call, values[id(each.call.module)])
        if expected is None or not is_close(call.query, each.call.query):
            continue
        for passing in sorted(candidates[each.block], key=lambda passing: passing.place):
            after = other.given.get(passing.tap.module)
            if after is not None and _is_gated(each.expected, passing, expected, after):
                found.setdefault(each.block, passing)
    return found


def _is_gated(expected: Tensor, passing: Passing, other: Tensor, after: Passing) -> bool:
    """Whether what passes is what the heads give times what does not depend on the values."""
    one, two = passing.rows.double(), after.rows.double()
    return not is_close(two, one) and is_close(two * expected, one * other)


def _described(
    attending: _Attending, passing: Passing, all_: Sequence[_Attending], *, is_gated: bool
) -> Heads:
    call = attending.call
    earlier = all_[: all_.index(attending)]
    shared = next(
        (
            each.block
            for each in earlier
            if each.call.key.shape == call.key.shape and each.call.key.equal(call.key)
        ),
        None,
    )
    return Heads(
        module=attending.module,
        num_heads=call.query.shape[1],
        num_key_heads=call.key.shape[1],
        key_width=call.query.shape[-1],
        value_width=call.value.shape[-1],
        z=passing.tap,
        is_gated=is_gated,
        shared=shared,
    )
