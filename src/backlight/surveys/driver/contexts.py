"""Tokens of a corpus as text, with what stands around them."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from backlight.data.batches import Passages
from backlight.tables import Column

_BEFORE, _AFTER = 12, 4

Decode = Callable[[Sequence[int]], str]
"""From token ids to text."""


def write_contexts(
    places: Iterable[tuple[int, int]], passages: Passages, decode: Decode
) -> tuple[Column, Column]:
    """Write tokens and their surroundings as text; few places are new.

    Args:
        places: Passage and position of each token.
        passages: The corpus.
        decode: From token ids to text.

    Returns:
        The tokens, and the tokens in guillemets with what stands around them, on one line each.
    """
    written: dict[tuple[int, int], tuple[str, str]] = {}
    tokens, contexts = [], []
    for place in places:
        if place not in written:
            written[place] = _context(passages.tokens[place[0]], place[1], decode)
        tokens.append(written[place][0])
        contexts.append(written[place][1])
    return np.array(tokens, dtype=object), np.array(contexts, dtype=object)


def _context(tokens: NDArray[np.int64], position: int, decode: Decode) -> tuple[str, str]:
    before = decode(tokens[max(0, position - _BEFORE) : position].tolist())
    token = decode([int(tokens[position])])
    after = decode(tokens[position + 1 : position + 1 + _AFTER].tolist())
    return _one_line(token), _one_line(f"{before}«{token}»{after}")


def _one_line(text: str) -> str:
    return text.replace("\n", "\\n").replace("\r", "\\r")
