"""Tokens of a corpus as text, with what stands around them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from backlight.data.batches import Passages
from backlight.stats.top import TopResult
from backlight.tables import Column, Table

_BEFORE, _AFTER = 12, 4

Decode = Callable[[Sequence[int]], str]
"""From token ids to text."""


def context_table(
    tops: Mapping[int, TopResult],
    passages: Passages,
    decode: Decode,
    *,
    of: str,
    unit: str,
    numbers: Mapping[int, NDArray[np.int64]] | None = None,
) -> Table:
    """Tabulate the tokens with the largest absolute values, in context.

    Args:
        tops: For each layer, the tokens of each of its dimensions or features.
        passages: The corpus.
        decode: From token ids to text.
        of: What the tokens are listed for, such as ``dimension``: the name of its column.
        unit: The unit of the values.
        numbers: The number of each row of a layer's ``TopResult``; by default its place.

    Returns:
        The table: ``rank`` 1 is the largest; ``context`` has the token in guillemets.
    """
    held = {layer: np.nonzero(top.passages >= 0) for layer, top in tops.items()}

    def gathered(name: str) -> Column:
        return np.concatenate([getattr(top, name)[held[layer]] for layer, top in tops.items()])

    passage, position = gathered("passages"), gathered("positions")
    places = zip(passage.tolist(), position.tolist(), strict=True)
    tokens, contexts = write_contexts(places, passages, decode)
    named = [rows if numbers is None else numbers[layer][rows] for layer, (rows, _) in held.items()]
    return Table(
        name="top_tokens",
        columns={
            "layer": np.repeat(list(tops), [len(rows) for rows in named]),
            of: np.concatenate(named),
            "rank": np.concatenate([ranks + 1 for _, ranks in held.values()]),
            "value": gathered("values"),
            "passage": passage,
            "position": position,
            "token": tokens,
            "context": contexts,
        },
        units={"value": unit},
    )


def write_contexts(
    places: Iterable[tuple[int, int]], passages: Passages, decode: Decode
) -> tuple[Column, Column]:
    """Write tokens and their surroundings as text; few places are new.

    Args:
        places: Passage and position of each token.
        passages: The corpus.
        decode: From token ids to text.

    Returns:
        The tokens, and the tokens in guillemets with what stands around them, on one line each;
        where the loss counts some tokens only, these stand in ``⟦ ⟧``.
    """
    written: dict[tuple[int, int], tuple[str, str]] = {}
    tokens, contexts = [], []
    for place in places:
        if place not in written:
            written[place] = _context(passages, *place, decode)
        tokens.append(written[place][0])
        contexts.append(written[place][1])
    return np.array(tokens, dtype=object), np.array(contexts, dtype=object)


def _context(passages: Passages, passage: int, position: int, decode: Decode) -> tuple[str, str]:
    tokens = passages.tokens[passage]
    if passages.counted is not None:
        return _marked(tokens, passages.counted[passage], position, decode)
    before = decode(tokens[max(0, position - _BEFORE) : position].tolist())
    token = decode([int(tokens[position])])
    after = decode(tokens[position + 1 : position + 1 + _AFTER].tolist())
    return _one_line(token), _one_line(f"{before}«{token}»{after}")


def _marked(
    tokens: NDArray[np.int64], counted: NDArray[np.bool_], position: int, decode: Decode
) -> tuple[str, str]:
    """Write a token and its surroundings, with marks around the tokens that the loss counts."""
    first, behind = max(0, position - _BEFORE), min(len(tokens), position + 1 + _AFTER)
    turns = 1 + np.flatnonzero(np.diff(counted[first:behind])) + first
    cuts = sorted({first, behind, position, position + 1, *turns.tolist()})
    text, is_inside = "", False
    for start, stop in pairwise(cuts):
        if bool(counted[start]) != is_inside:
            is_inside = not is_inside
            text += "⟦" if is_inside else "⟧"
        part = decode(tokens[start:stop].tolist())
        text += f"«{part}»" if start == position else part
    token = decode([int(tokens[position])])
    return _one_line(token), _one_line(text + "⟧" * is_inside)


def _one_line(text: str) -> str:
    return text.replace("\n", "\\n").replace("\r", "\\r")
