"""Which tokens of a prompt belong to which of its pieces, whatever the tokenizer does."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from backlight.errors import PromptError
from backlight.tasks.prompts import Piece, Prompt

__all__ = ["OffsetTokenizer", "PromptTokens", "locate"]


@runtime_checkable
class OffsetTokenizer(Protocol):
    """A tokenizer that tells where each token stands in the text: any fast one of Transformers."""

    @property
    def is_fast(self) -> bool:
        """Whether it does."""
        ...

    def __call__(
        self, text: str, *, return_offsets_mapping: bool, return_special_tokens_mask: bool
    ) -> Mapping[str, Any]:
        """Turn text into ``input_ids``, ``offset_mapping`` and ``special_tokens_mask``."""
        ...

    def decode(self, token_ids: Sequence[int]) -> str:
        """Turn tokens back into text."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTokens:
    """A prompt and its answer as tokens.

    Attributes:
        ids: All tokens: what the tokenizer puts in front, prompt, answer, ending.
        owners: The name of the piece that each token of the prompt belongs to, ``bos`` for those
            that the tokenizer puts in front.
        start: Where the answer begins; the prompt's tokens are those before.
        stop: Where the answer ends.
        wrong_ids: The tokens of the wrong answer, empty without one.
    """

    ids: NDArray[np.int64]
    owners: tuple[str, ...]
    start: int
    stop: int
    wrong_ids: tuple[int, ...] = ()


def locate(prompt: Prompt, tokenizer: OffsetTokenizer) -> PromptTokens:
    """Tokenize a prompt with its answer, and find the tokens of each piece.

    A token belongs to the field that any of its characters is of; so the token `` France`` of
    ``of {country}`` is the field's, although its space is not. A token without a character of a
    field belongs to the piece in which it begins.

    Args:
        prompt: The prompt.
        tokenizer: What turns text into tokens.

    Returns:
        The tokens.

    Raises:
        PromptError: If the tokenizer tells no offsets, if a token lies in two fields or in prompt
            and answer, or if the prompt is cut otherwise when no answer follows.
    """
    if not tokenizer.is_fast:
        raise PromptError(
            "This tokenizer does not tell where its tokens stand in the text (it is not a fast "
            "one), so the tokens of a field cannot be found."
        )
    ids, owners, start, stop = _answered(prompt, prompt.answer, tokenizer)
    alone = _encode(prompt.text, tokenizer)[0]
    if alone != ids[:start]:
        raise PromptError(
            f"The tokenizer cuts {prompt.text!r} otherwise when {prompt.answer!r} follows; choose "
            "an answer that leaves the prompt's tokens as they are, such as one that begins with a "
            "space."
        )
    wrong: list[int] = []
    if prompt.wrong_answer is not None:
        others, _, _, end = _answered(prompt, prompt.wrong_answer, tokenizer)
        wrong = others[start:end]
    return PromptTokens(
        ids=np.array(ids, dtype=np.int64),
        owners=tuple(owners),
        start=start,
        stop=stop,
        wrong_ids=tuple(wrong),
    )


def _answered(
    prompt: Prompt, answer: str, tokenizer: OffsetTokenizer
) -> tuple[list[int], list[str], int, int]:
    text = prompt.text
    begin, end = len(text), len(text) + len(answer)
    ids, offsets = _encode(text + answer + prompt.ending, tokenizer)
    for token, (first, last) in zip(ids, offsets, strict=True):
        for edge, what in ((begin, "prompt and answer"), (end, "answer and ending")):
            if first < edge < last:
                raise PromptError(
                    f"The tokenizer makes one token, {tokenizer.decode([token])!r}, of the end of "
                    f"{text!r} and the beginning of {answer!r} ({what}): end the prompt without a "
                    "space and begin the answer with one."
                )
    start = sum(last <= begin for _, last in offsets)
    stop = sum(last <= end for _, last in offsets)
    if stop == start:
        raise PromptError(f"The answer to {text!r} is empty, so there is nothing to predict.")
    ranges = list(_ranges(prompt.pieces))
    owners = [_owner(first, last, ranges, text) for first, last in offsets[:start]]
    for piece in prompt.pieces:
        if piece.is_field and piece.name not in owners:
            raise PromptError(f"The field {piece.name!r} has no token of its own in {text!r}.")
    return ids, owners, start, stop


def _encode(text: str, tokenizer: OffsetTokenizer) -> tuple[list[int], list[tuple[int, int]]]:
    """Tokenize, without what the tokenizer puts behind the text; what is in front has no width."""
    found = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True)
    ids, offsets = list(found["input_ids"]), [tuple(pair) for pair in found["offset_mapping"]]
    special = [
        bool(mask) and first == last
        for mask, (first, last) in zip(found["special_tokens_mask"], offsets, strict=True)
    ]
    while special and special[-1]:
        for kept in (ids, offsets, special):
            kept.pop()
    return ids, offsets


def _ranges(pieces: Sequence[Piece]) -> Iterator[tuple[Piece, int, int]]:
    place = 0
    for piece in pieces:
        yield piece, place, place + len(piece.text)
        place += len(piece.text)


def _owner(first: int, last: int, ranges: Sequence[tuple[Piece, int, int]], text: str) -> str:
    if first == last == 0:
        return "bos"
    touched = [
        piece for piece, begin, end in ranges if first < end and begin < max(last, first + 1)
    ]
    fields = [piece.name for piece in touched if piece.is_field]
    if len(fields) > 1:
        raise PromptError(
            f"The fields {' and '.join(fields)} share a token, {text[first:last]!r}, in {text!r}: "
            "put something between them."
        )
    return fields[0] if fields else touched[0].name
