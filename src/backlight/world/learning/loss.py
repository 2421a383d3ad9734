"""From rows of text to a loss: the cross-entropy of answers, not of questions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from backlight.world.learning.prefixes import share_prefixes
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
        """How many tokens from the first on belong to the question, in every row."""
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


def answer_loss(model: Any, rows: EncodedRows) -> Float[Tensor, ""]:
    """Compute the mean cross-entropy over the tokens of the answers, ``<eos>`` included.

    Args:
        model: A causal language model of Transformers whose cache can be differentiated.
        rows: What should be known; its beginnings are computed once for all rows.

    Returns:
        The loss in nats per token, with its graph.
    """
    inputs = rows.tokens[:, :-1]
    question = rows.shortest_question
    shared = share_prefixes(inputs, question - 1)
    cache = model.model(input_ids=shared.prefixes, use_cache=True).past_key_values
    cache.batch_select_indices(shared.which)
    first = question - 1  # the "=" of the shortest question predicts the first token of an answer
    logits: Tensor = model(
        input_ids=shared.rest,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=inputs.shape[1] - first,
    ).logits
    predicts = rows.is_answer[:, question:]
    targets: Tensor = rows.tokens[:, question:][predicts]
    return cross_entropy(torch.as_tensor(logits)[predicts], targets)
