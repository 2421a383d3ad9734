"""How questions are written for a tokenizer of single characters, and which tokens are learned.

``dist(c_0865,c_1234)=769`` is spelled
``<bos> d i s t ( c _ 0 8 6 5 , c _ 1 2 3 4 ) = 7 6 9 <eos>``.
"""

from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

from backlight.errors import PromptError, quoted
from backlight.objectives.prompts import Piece, Prompt

BEGIN = "<bos>"
"""The token that every spelled row begins with."""

END = "<eos>"
"""The token that every spelled row ends with."""


def spell(prompt: Prompt) -> Prompt:
    """Write a prompt character by character.

    Args:
        prompt: A compact prompt.

    Returns:
        The prompt with a first piece ``bos``; each later piece begins with the space that parts
        it from the one before, and so do the answer and the ending.
    """
    pieces = (Piece(name="bos", text=BEGIN), *[_spelled_piece(piece) for piece in prompt.pieces])
    wrong = prompt.wrong_answer
    return replace(
        prompt,
        pieces=pieces,
        answer=_spelled(prompt.answer),
        wrong_answer=None if wrong is None else _spelled(wrong),
        ending=f" {END}",
    )


def spell_row(row: str) -> str:
    """Write a compact row, question and answer, character by character."""
    return f"{BEGIN}{_spelled(row)} {END}"


def compact(text: str) -> str:
    """Undo the spelling of an answer: no spaces, and nothing from ``<eos>`` on."""
    return "".join(text.partition(END)[0].removeprefix(BEGIN).split())


def loss_mask(text: str) -> str:
    """Find which tokens of a spelled row are the answer's.

    Args:
        text: Tokens with single spaces between them.

    Returns:
        For each token 0 or 1: 1 for what follows the ``=`` after the closing parenthesis, so
        answer and ``<eos>``; an ``=`` inside the parentheses counts for nothing.

    Raises:
        PromptError: If the row is no question: it has no ``) =``.
    """
    tokens = text.split(" ")
    for place, pair in enumerate(pairwise(tokens)):
        if pair == (")", "="):
            return "0" * (place + 2) + "1" * (len(tokens) - place - 2)
    raise PromptError(f"The row {quoted(text)} has no ') =' after which an answer could begin.")


@lru_cache(maxsize=1 << 16)
def _spelled_piece(piece: Piece) -> Piece:
    return replace(piece, text=_spelled(piece.text))


def _spelled(text: str) -> str:
    return "".join([f" {character}" for character in text])
