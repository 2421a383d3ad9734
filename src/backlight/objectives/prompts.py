"""Structured prompts: text made of named pieces, with the answer that should follow."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One named stretch of a prompt.

    Attributes:
        name: Its name among the prompts of a task, such as ``comma`` or ``country``; prompts that
            have a piece of the same name have it in the same role.
        text: What is written there.
        is_field: Whether the text is filled in, and so differs from prompt to prompt.
        other_names: What its position may also be called, if it is one token.
    """

    name: str
    text: str
    is_field: bool = False
    other_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A question in named pieces, and its answer.

    Attributes:
        pieces: The text before the answer, in order, without gaps.
        answer: What should follow.
        wrong_answer: What might follow instead, for objectives that contrast two answers.
        ending: What closes the text after the answer, such as an end-of-sequence token.
        values: What prompts can be coloured or correlated by: numbers and names of this prompt.
    """

    pieces: tuple[Piece, ...]
    answer: str
    wrong_answer: str | None = None
    ending: str = ""
    values: Mapping[str, float | str] = field(default_factory=dict[str, "float | str"])

    @property
    def text(self) -> str:
        """Everything before the answer."""
        return "".join(piece.text for piece in self.pieces)
