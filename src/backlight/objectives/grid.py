"""The columns that prompts of one task share: a name and a span of tokens for every position."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from itertools import groupby, pairwise
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

from backlight.errors import PromptError, nearest, quoted
from backlight.objectives.prompts import Piece, Prompt
from backlight.objectives.spans import OffsetTokenizer, PromptTokens

ANSWER = "answer"
"""The piece that the tokens of the answer make."""

Part = Literal["token", "first", "middle", "last"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """One column of the grid.

    Attributes:
        name: What it is called, such as ``comma``, ``city1_digit4`` or ``country_last``.
        piece: The piece it is of.
        label: What stands there, for an axis: the token where all prompts have the same, ``X`` for
            a digit that differs, else the name of the field.
        part: ``token`` is one token; of pieces that differ in length, ``first``, ``last`` and
            ``middle``: all tokens between these two, over which values are averaged.
        is_field: Whether the text differs from prompt to prompt.
        other_names: What it may also be called.
    """

    name: str
    piece: str
    label: str
    part: Part
    is_field: bool
    other_names: tuple[str, ...] = ()


@final
@dataclass(frozen=True, kw_only=True)
class Grid:
    """Where each position is in each prompt.

    Attributes:
        positions: The columns, in the order of the text; those of the answer come last.
        starts: The first token of each position, ``[prompts, positions]``.
        stops: One past its last token; the same as its first where a prompt has no such position.
    """

    positions: tuple[Position, ...]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """How many tokens of each prompt are in each position, ``[prompts, positions]``."""
        return self.stops - self.starts

    @cached_property
    def _by_name(self) -> Mapping[str, int]:
        names = {
            name: index for index, each in enumerate(self.positions) for name in each.other_names
        }
        return names | {each.name: index for index, each in enumerate(self.positions)}

    def called(self, name: str) -> "Grid":
        """Call a position by another of its names.

        Args:
            name: One of its names, by which it is called from now on.

        Returns:
            The same grid, where the position's former name is one of its other names.

        Raises:
            PromptError: If there is no such position.
        """
        column = self.find(name)
        former = self.positions[column]
        if name == former.name:
            return self
        others = (former.name, *(other for other in former.other_names if other != name))
        renamed = replace(former, name=name, other_names=others)
        return replace(
            self, positions=(*self.positions[:column], renamed, *self.positions[column + 1 :])
        )

    def find(self, name: str) -> int:
        """Find a position by one of its names.

        Args:
            name: The name.

        Returns:
            Its column.

        Raises:
            PromptError: If there is no such position.
        """
        if name not in self._by_name:
            names = list(self._by_name)
            hint = nearest(name, names, otherwise=f"There are {', '.join(names)}.")
            raise PromptError(
                f"There is no position {quoted(name)} in these prompts. {hint} "
                "`backlight tokens CONFIG --list_positions` lists all."
            )
        return self._by_name[name]


def align(
    prompts: Sequence[Prompt], located: Sequence[PromptTokens], tokenizer: OffsetTokenizer
) -> Grid:
    """Find the positions that prompts have in common.

    A piece that has the same number of tokens in all prompts gives one column for each; any other
    gives ``first``, ``middle`` (if any has more than two) and ``last``. A piece that some prompts
    do not have gives columns that these prompts are not counted in.

    Args:
        prompts: The prompts.
        located: Their tokens.
        tokenizer: What turns tokens back into text, for labels.

    Returns:
        The grid.

    Raises:
        PromptError: If two positions would have the same name.
    """
    pieces = {piece.name: piece for prompt in prompts for piece in prompt.pieces}
    spans = [_spans(tokens) for tokens in located]
    columns: list[tuple[Position, NDArray[np.int64]]] = []
    for name in _order(spans):
        # The answer, and what a tokenizer puts in front, are no pieces of the prompt's text.
        piece = pieces.get(name, Piece(name=name, text="", is_field=name == ANSWER))
        own = [span.get(name) for span in spans]
        columns += _columns(piece, own, located, tokenizer)
    _refuse_one_name_for_two([position.name for position, _ in columns])
    places = np.stack([place for _, place in columns], axis=1)
    return Grid(
        positions=tuple(position for position, _ in columns),
        starts=places[:, :, 0],
        stops=places[:, :, 1],
    )


def _spans(tokens: PromptTokens) -> dict[str, tuple[int, int]]:
    """Find the tokens of each piece, in the order of the text, and those of the answer."""
    spans: dict[str, tuple[int, int]] = {}
    place = 0
    for name, members in groupby(tokens.owners):
        size = len(list(members))
        spans[name] = (place, place + size)
        place += size
    return {**spans, ANSWER: (tokens.start, tokens.stop)}


def _refuse_one_name_for_two(names: Sequence[str]) -> None:
    twice = [name for name, number in Counter(names).items() if number > 1]
    if twice:
        raise PromptError(
            f"Two positions of these prompts would be called {quoted(twice[0])}; rename the field "
            "or change the word that is called so."
        )


def _order(spans: Sequence[Mapping[str, object]]) -> list[str]:
    """Sort all pieces into one order that agrees with that of each prompt, if there is one."""
    # Each prompt says of its neighbouring pieces which comes first; a topological sort finds an
    # order in which all of them are right. Of the pieces that may come next, it takes the one that
    # a plain merge, the longest prompt first, would put first: so pieces that no prompt compares
    # stand where a reader expects them. Prompts that contradict each other have only that merge.
    runs = sorted(dict.fromkeys(map(tuple, spans)), key=len, reverse=True)
    wished = _merged(runs)
    graph: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(wished, ()))
    for run in runs:
        for before, after in pairwise(run):
            graph.add(after, before)
    try:
        graph.prepare()
    except CycleError:
        return wished
    order: list[str] = []
    ready: set[str] = set()
    while graph.is_active():
        ready.update(graph.get_ready())
        order.append(min(ready, key=wished.index))
        ready.remove(order[-1])
        graph.done(order[-1])
    return order


def _merged(runs: Sequence[Sequence[str]]) -> list[str]:
    """Insert each piece that earlier runs lack behind the piece that it follows in its own run."""
    order: list[str] = []
    for run in runs:
        place = 0
        for name in run:
            if name in order:
                place = order.index(name) + 1
            else:
                order.insert(place, name)
                place += 1
    return order


def _columns(
    piece: Piece,
    spans: Sequence[tuple[int, int] | None],
    located: Sequence[PromptTokens],
    tokenizer: OffsetTokenizer,
) -> Iterator[tuple[Position, NDArray[np.int64]]]:
    there = np.array([span is not None for span in spans])
    bounds = np.array([span or (0, 0) for span in spans], dtype=np.int64)
    sizes = set((bounds[:, 1] - bounds[:, 0])[there].tolist())
    if len(sizes) > 1:
        yield from _ends(piece, there, bounds)
        return
    for number in range(size := sizes.pop()):
        first = bounds[:, 0] + number
        tokens = {int(located[row].ids[first[row]]) for row in np.flatnonzero(there).tolist()}
        name, others = _names(piece, number, size)
        position = Position(
            name=name,
            piece=piece.name,
            label=_label(name, {tokenizer.decode([token]) for token in tokens}),
            part="token",
            is_field=piece.is_field,
            other_names=others,
        )
        yield position, np.stack([first, first + there], axis=1)


def _ends(
    piece: Piece, there: NDArray[np.bool_], bounds: NDArray[np.int64]
) -> Iterator[tuple[Position, NDArray[np.int64]]]:
    """Build the columns of a piece that has not the same number of tokens everywhere."""
    first, last = bounds[:, 0], bounds[:, 1]
    edges: dict[Part, tuple[NDArray[np.int64], NDArray[np.int64]]] = {
        "first": (first, first + there),
        "middle": (first + there, np.maximum(last - 1, first + there)),
        "last": (last - there, last),
    }
    for part, (starts, stops) in edges.items():
        if not (stops > starts).any():
            continue
        position = Position(
            name=f"{piece.name}_{part}",
            piece=piece.name,
            label=f"{piece.name} {part}",
            part=part,
            is_field=piece.is_field,
        )
        yield position, np.stack([starts, stops], axis=1)


def _names(piece: Piece, number: int, size: int) -> tuple[str, tuple[str, ...]]:
    """Name one of a piece's tokens, and what else it may be called; one alone is the piece."""
    if size == 1:
        ends = (f"{piece.name}_first", f"{piece.name}_last") if piece.is_field else ()
        return piece.name, piece.other_names or ends
    ends = {0: (f"{piece.name}_first",), size - 1: (f"{piece.name}_last",)}
    return f"{piece.name}_{number + 1}", ends.get(number, ())


def _label(name: str, texts: set[str]) -> str:
    if len(texts) == 1:
        return texts.pop()
    return "X" if all(text.strip().isdigit() for text in texts) else name
