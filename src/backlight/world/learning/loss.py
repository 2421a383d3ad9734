"""From rows of text to a loss: the cross-entropy of answers, not of questions.

In a causal model the states of a token depend on no later one, so rows with the same beginning
share its keys and values, and its gradient is the sum of theirs. What rows begin with alike is
therefore computed once, however many rows there are; the cut is where the fewest tokens are left to
compute.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

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


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedPrefixes:
    """Rows cut in two.

    Attributes:
        prefixes: The different beginnings.
        which: For each row the index of its beginning.
        rest: For each row the tokens after it.
    """

    prefixes: Int[Tensor, "prefixes cut"]
    which: Int[Tensor, " rows"]
    rest: Int[Tensor, "rows rest"]


def share_prefixes(tokens: Int[Tensor, "rows length"], longest: int) -> SharedPrefixes:
    """Cut rows where the fewest tokens are left to compute.

    Args:
        tokens: Rows that all begin with the same token.
        longest: Where to cut at the latest; at least 1, and less than the length.

    Returns:
        The rows in two parts.
    """
    # Rows are grouped by their first tokens, one place after another: two rows are of one kind up
    # to a place if they were of one kind before it and have the same token there. So numbering
    # the pairs of (kind, token) anew at each place compares whole beginnings without ever looking
    # at one again. The pair is made one whole number, kind * (largest token + 1) + token, which is
    # different for different pairs.
    table = tokens.numpy()
    num_rows, length = table.shape
    kinds = np.zeros(num_rows, np.int64)
    fewest, cut, which, first = num_rows * length + 1, 0, kinds, kinds
    for place in range(1, longest + 1):
        pairs = kinds * (int(table.max()) + 1) + table[:, place - 1]
        _, starts, kinds = np.unique(pairs, return_index=True, return_inverse=True)
        cost = len(starts) * place + num_rows * (length - place)
        if cost < fewest:
            fewest, cut, which, first = cost, place, kinds, starts
    return SharedPrefixes(
        prefixes=tokens[torch.from_numpy(first), :cut],
        which=torch.from_numpy(which),
        rest=tokens[:, cut:],
    )


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
