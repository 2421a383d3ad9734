"""From rows of text to tokens: what is asked, and what should follow."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from backlight.world.questions.spelling import loss_mask, spell_row


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedRows:
    """Rows as tokens, padded on the right.

    Attributes:
        tokens: Question, answer and ``<eos>``.
        is_answer: Which tokens belong to the answer or are its ``<eos>``: those to be learned.
    """

    tokens: Int[Tensor, "rows length"]
    is_answer: Bool[Tensor, "rows length"]

    @property
    def shortest_question(self) -> int:
        """How many tokens at the start belong to questions alone, in every row."""
        return int(self.is_answer.int().argmax(dim=1).min())


def encode(rows: Sequence[str], tokenizer: Any) -> EncodedRows:
    """Spell rows and read them with a tokenizer.

    Args:
        rows: Compact rows such as ``dist(c_0865,c_1234)=769``; at least one.
        tokenizer: The tokenizer of the city world.

    Returns:
        Their tokens.
    """
    texts = [spell_row(row) for row in rows]
    ids: list[list[int]] = tokenizer(texts)["input_ids"]
    length = max(map(len, ids))
    tokens = [row + [tokenizer.pad_token_id] * (length - len(row)) for row in ids]
    masks = [[mark == "1" for mark in loss_mask(text).ljust(length, "0")] for text in texts]
    return EncodedRows(tokens=torch.tensor(tokens), is_answer=torch.tensor(masks))
