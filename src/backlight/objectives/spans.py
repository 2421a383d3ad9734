"""Which tokens of a prompt belong to which of its pieces, whatever the tokenizer does."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from backlight.errors import PromptError, quoted
from backlight.objectives.prompts import Piece, Prompt

_Span = tuple[int, int]

BOS = "bos"
"""The piece that the tokens make which a tokenizer puts in front."""


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
    field belongs to the piece in which it begins. White space that a tokenizer leaves out of a
    token's place in the text counts as the token's.

    Args:
        prompt: The prompt.
        tokenizer: What turns text into tokens.

    Returns:
        The tokens.

    Raises:
        PromptError: If the tokenizer tells no offsets, if a token lies in two fields or in prompt
            and answer, if the prompt is cut otherwise when no answer follows, or if it holds half
            a character.
    """
    if not tokenizer.is_fast:
        raise PromptError(
            "This tokenizer does not tell where its tokens stand in the text (it is not a fast "
            "one), so the tokens of a field cannot be found."
        )
    for text in (prompt.text, prompt.answer, prompt.wrong_answer or ""):
        _refuse_halves(text)
    alone = _encode(prompt.text, tokenizer)[0]
    found = _answered(prompt, prompt.answer, tokenizer, alone)
    if prompt.wrong_answer is None:
        return found
    wrong = _answered(prompt, prompt.wrong_answer, tokenizer, alone)
    return replace(found, wrong_ids=tuple(wrong.ids[wrong.start : wrong.stop].tolist()))


def _refuse_halves(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PromptError(
            f"{quoted(text)} holds half a character (the lone surrogate "
            f"U+{ord(text[error.start]):04X}), which is no text; repair it."
        ) from error


def _answered(
    prompt: Prompt, answer: str, tokenizer: OffsetTokenizer, alone: Sequence[int]
) -> PromptTokens:
    text = prompt.text
    begin, end = len(text), len(text) + len(answer)
    ids, offsets, num_front = _encode(text + answer + prompt.ending, tokenizer)
    offsets = list(_untrimmed(ids, offsets, num_front, tokenizer))
    # An edge strictly inside a token cannot be the border of what is measured: half of the token
    # would be the prompt's and half the answer's, and a gradient has no halves of tokens.
    for token, (first, last) in zip(ids, offsets, strict=True):
        for edge, what in ((begin, "prompt and answer"), (end, "answer and ending")):
            if first < edge < last:
                raise PromptError(
                    f"The tokenizer makes one token, {quoted(tokenizer.decode([token]))}, of the "
                    f"end of {quoted(text)} and the beginning of {quoted(answer)} ({what}): end "
                    "the prompt without a space and begin the answer with one."
                )
    start = sum(last <= begin for _, last in offsets)
    stop = sum(last <= end for _, last in offsets)
    if stop == start:
        raise PromptError(f"The answer to {quoted(text)} is empty, so there is nothing to predict.")
    # In a causal model the prompt's states must be those it has when the answer is not known. They
    # are only if its tokens are: a merge across the border would leak the answer into the prompt.
    if ids[:start] != alone:
        raise PromptError(
            f"The tokenizer cuts {quoted(text)} otherwise when {quoted(answer)} follows; choose an "
            "answer that leaves the prompt's tokens as they are, such as one that begins with a "
            "space."
        )
    ranges = list(_ranges(prompt.pieces))
    owners = [BOS] * num_front
    owners += [_owner(first, last, ranges, text) for first, last in offsets[num_front:start]]
    for piece in prompt.pieces:
        if piece.is_field and piece.name not in owners:
            raise PromptError(
                f"The field {quoted(piece.name)} has no token of its own in {quoted(text)}."
            )
    return PromptTokens(
        ids=np.array(ids, dtype=np.int64), owners=tuple(owners), start=start, stop=stop
    )


def _encode(text: str, tokenizer: OffsetTokenizer) -> tuple[list[int], list[_Span], int]:
    """Tokenize, without what the tokenizer puts behind the text; tell how many are in front."""
    found = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True)
    ids, offsets = list(found["input_ids"]), [tuple(pair) for pair in found["offset_mapping"]]
    added = [
        bool(mask) and first == last
        for mask, (first, last) in zip(found["special_tokens_mask"], offsets, strict=True)
    ]
    while added and added[-1]:
        for kept in (ids, offsets, added):
            kept.pop()
    return ids, offsets, added.index(False) if added else 0


def _untrimmed(
    ids: Sequence[int], offsets: Sequence[_Span], num_front: int, tokenizer: OffsetTokenizer
) -> Iterator[_Span]:
    """Return the places of tokens with the white space that some tokenizers trim from them."""
    # Two habits of fast tokenizers would lose characters. Byte-level ones trim leading spaces from
    # an offset: the token " is" claims only "is", and the space would belong to nobody. Others
    # claim nothing at all for a token that stands for white space. Both can be told by what a token
    # decodes to, and by where the token before it ended: a token never begins before that, so a
    # gap is filled with no more white space than the token itself writes.
    seen = 0
    for number, (token, (first, last)) in enumerate(zip(ids, offsets, strict=True)):
        if number >= num_front and (first == last or first > seen):
            written = tokenizer.decode([token])
            if first == last:
                first, last = seen, max(last, seen + len(written))
            else:
                first = max(seen, first - len(written) + len(written.lstrip()))
        seen = max(seen, last)
        yield first, last


def _ranges(pieces: Sequence[Piece]) -> Iterator[tuple[Piece, int, int]]:
    place = 0
    for piece in pieces:
        yield piece, place, place + len(piece.text)
        place += len(piece.text)


def _owner(first: int, last: int, ranges: Sequence[tuple[Piece, int, int]], text: str) -> str:
    # Half-open ranges [first, last) and [begin, end) overlap if each begins before the other ends.
    # A token may have no width, such as a mark of a word's beginning; it counts as one character.
    touched = [
        piece for piece, begin, end in ranges if first < end and begin < max(last, first + 1)
    ]
    if not touched:
        return ranges[-1][0].name
    fields = [piece.name for piece in touched if piece.is_field]
    if len(fields) > 1:
        raise PromptError(
            f"The fields {' and '.join(fields)} share a token, {quoted(text[first:last])}, in "
            f"{quoted(text)}: put something between them."
        )
    return fields[0] if fields else touched[0].name
