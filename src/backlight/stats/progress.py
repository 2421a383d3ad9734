"""How far a survey has come."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Some work that a survey has done.

    Attributes:
        num_tokens: How many tokens it was (of a survey that sees them layer by layer, tokens times
            layers).
        resumable: The state is now one that can be kept and gone on from.
    """

    num_tokens: int
    resumable: bool = True
