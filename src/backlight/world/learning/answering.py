"""What a model answers: the likeliest token, again and again, until it ends."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from backlight.world.questions.spelling import BEGIN, compact

_BATCH = 256


@torch.no_grad()
def answer_greedily(
    model: Any, tokenizer: Any, questions: Sequence[str], *, max_tokens: int
) -> list[str]:
    """Let a model answer questions.

    Args:
        model: A causal language model of Transformers.
        tokenizer: The tokenizer of the city world.
        questions: Compact questions, such as ``dist(c_0865,c_1234)=``.
        max_tokens: When an answer without an end is cut off.

    Returns:
        The answers, compact, without ``<eos>``.
    """
    ids: list[list[int]] = tokenizer([" ".join((BEGIN, *text)) for text in questions])["input_ids"]
    answers = [""] * len(ids)
    by_length: dict[int, list[int]] = {}
    for index, row in enumerate(ids):
        by_length.setdefault(len(row), []).append(index)
    for members in by_length.values():
        for start in range(0, len(members), _BATCH):
            batch = members[start : start + _BATCH]
            tokens = _continue(model, torch.tensor([ids[index] for index in batch]), max_tokens)
            for index, row in zip(batch, tokens.tolist(), strict=True):
                answers[index] = compact(tokenizer.decode(row))
    return answers


def _continue(model: Any, tokens: Tensor, max_tokens: int) -> Tensor:
    """Give the next tokens; all rows are equally long."""
    end = model.config.eos_token_id
    cache, found = None, tokens.new_empty((len(tokens), 0))
    while found.shape[1] < max_tokens and not (found == end).any(dim=1).all():
        output = model(input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache, tokens = output.past_key_values, output.logits[:, -1:].argmax(dim=-1)
        found = torch.cat([found, tokens], dim=1)
    return found
