"""One forward pass with modules observed: the rows of numbers that pass into and out of each."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from backlight.models.inputs import given_to, with_given
from backlight.models.lending import borrowed
from backlight.models.outputs import member_of, with_member
from backlight.models.sites import Site, Tap
from backlight.models.subject import Subject
from backlight.models.unknown.trying import hookable


@dataclass(frozen=True, slots=True, kw_only=True)
class Instead:
    """Rows that take the place of what passes, in some of the sequences.

    Attributes:
        first: The first of these sequences; the others are those behind it.
        rows: The rows.
    """

    first: int
    rows: Float[Tensor, "batch positions width"]


_NOTHING: Mapping[str, Instead] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Passing:
    """A tensor on its way into or out of a module, with a row of numbers for each token.

    Attributes:
        tap: Where it passes.
        place: When it passed, among all that was observed.
        rows: A copy of the numbers, as they were when they passed.
    """

    tap: Tap
    place: int
    rows: Float[Tensor, "batch positions width"]

    @property
    def depth(self) -> int:
        """How deep its module lies in the model."""
        return self.tap.module.count(".")


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What passed in one forward pass.

    Attributes:
        output: What the model gave for each token.
        given: By the path of each module, what it was given.
        gave: By the path of each module, what it gave.
        attended: When attention was computed: scores of all positions for each.
    """

    output: Float[Tensor, "batch positions classes"]
    given: Mapping[str, Passing]
    gave: Mapping[str, Passing]
    attended: Sequence[int]

    def of(self, first: int, last: int) -> "Observation":
        """Keep some of the sequences, ``last`` not among them."""

        def kept(passed: Mapping[str, Passing]) -> dict[str, Passing]:
            return {path: replace(p, rows=p.rows[first:last]) for path, p in passed.items()}

        return replace(
            self, output=self.output[first:last], given=kept(self.given), gave=kept(self.gave)
        )


@torch.no_grad()
def observe(
    subject: Subject,
    tokens: Int[Tensor, "batch positions"],
    paths: Collection[str],
    widths: Collection[int],
    *,
    inputs: Mapping[str, Instead] = _NOTHING,
    outputs: Mapping[str, Instead] = _NOTHING,
) -> Observation:
    """Run some tokens, and keep what passes into and out of some modules.

    Args:
        subject: A model whose sites are the paths of its modules.
        tokens: The tokens.
        paths: The modules that are observed.
        widths: Only rows of so many numbers are kept.
        inputs: By path, rows that modules are given in the place of what they would be given.
        outputs: By path, rows that modules give in the place of what they would give.

    Returns:
        What passed. A module that passes more than once, or has no row for each token, is missing.
    """
    seen = _Seen((tokens.shape[0], tokens.shape[1]), frozenset(widths))
    with borrowed(subject.model), ExitStack() as stack, _Attending(seen):
        for path in {*paths, *inputs, *outputs}:
            module, site = subject.model.get_submodule(path), subject.sites.get(path)
            if not hookable(module):
                continue
            before = partial(seen.see_input, path, inputs.get(path))
            stack.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
            if site is not None and site.problem is None:
                after = partial(seen.see_output, site, outputs.get(path))
                stack.callback(module.register_forward_hook(after).remove)
        output = subject.forward(tokens)
    given, gave = _single(seen.given), _single(seen.gave)
    return Observation(output=output, given=given, gave=gave, attended=tuple(seen.attended))


@final
class _Seen:
    """Notes of what passes, in the order in which it does."""

    def __init__(self, shape: tuple[int, int], widths: Collection[int]) -> None:
        self.shape = shape
        self.widths = widths
        self.place = 0
        self.attended: list[int] = []
        self.given: dict[str, list[Passing | None]] = {}
        self.gave: dict[str, list[Passing | None]] = {}

    def see_input(
        self,
        path: str,
        instead: Instead | None,
        _: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        tensor = given_to(args, kwargs)
        self._note(self.given, Tap(module=path, side="input"), tensor)
        if instead is None or not isinstance(tensor, Tensor):
            return None
        return with_given(args, kwargs, self._replaced(tensor, instead))

    def see_output(
        self,
        site: Site,
        instead: Instead | None,
        _: nn.Module,
        __: tuple[Any, ...],
        output: Any,
    ) -> Any:
        member = site.tap.member
        if member is None and isinstance(output, tuple):
            member = 0
        tensor = member_of(output, member)
        self._note(self.gave, site.tap, tensor)
        if instead is None or not isinstance(tensor, Tensor):
            return None
        return with_member(output, member, self._replaced(tensor, instead))

    def _replaced(self, tensor: Tensor, instead: Instead) -> Tensor:
        rows = _rows_of(tensor, self.shape)
        if rows is None or rows.shape[-1] != instead.rows.shape[-1]:
            return tensor  # an expert, which is given other tokens this time
        rows = rows.clone()
        rows[instead.first : instead.first + len(instead.rows)] = instead.rows.to(rows.dtype)
        turned = rows.transpose(0, 1) if _is_turned(tensor, self.shape) else rows
        return turned.reshape(tensor.shape).clone()

    def _note(self, notes: dict[str, list[Passing | None]], tap: Tap, tensor: object) -> None:
        self.place += 1
        rows = _rows_of(tensor, self.shape)
        found = None
        if rows is not None and rows.shape[-1] in self.widths:
            # A copy, because some blocks add in place into what has passed.
            if tap.side == "input" and isinstance(tensor, Tensor):
                tap = replace(tap, axes=(1, 0) if _is_turned(tensor, self.shape) else (0, 1))
            found = Passing(tap=tap, place=self.place, rows=rows.detach().clone())
        notes.setdefault(tap.module, []).append(found)


@final
class _Attending(TorchDispatchMode):
    """Notes when attention is computed, by whatever module and kernel.

    That is the fused operation, or a softmax over as many numbers as there are positions (or one
    more, a sink) for each position.
    """

    def __init__(self, seen: _Seen) -> None:
        super().__init__()
        self.seen = seen

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        del types
        name, positions = str(func), self.seen.shape[1]
        is_softmax = "_softmax" in name and "log" not in name and args[0].dim() > 2
        if is_softmax:
            queries, keys = args[0].shape[-2:]
            is_softmax = queries == positions and keys in (positions, positions + 1)
        if is_softmax or "dot_product" in name or "attention" in name:
            self.seen.attended.append(self.seen.place)
        return func(*args, **(kwargs or {}))


def _single(notes: Mapping[str, Sequence[Passing | None]]) -> dict[str, Passing]:
    return {path: each[0] for path, each in notes.items() if len(each) == 1 and each[0]}


def _rows_of(
    tensor: object, shape: tuple[int, int]
) -> Float[Tensor, "batch positions width"] | None:
    """Lay a tensor out as one row for each token, whichever way round its axes are."""
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
        return None
    if tensor.dim() == 2 and tensor.shape[0] == shape[0] * shape[1]:
        return tensor.reshape(*shape, -1)
    if tensor.dim() != 3:
        return None
    if tuple(tensor.shape[:2]) == shape:
        return tensor
    return tensor.transpose(0, 1) if _is_turned(tensor, shape) else None


def _is_turned(tensor: Tensor, shape: tuple[int, int]) -> bool:
    return tensor.dim() == 3 and tuple(tensor.shape[:2]) == shape[::-1]
