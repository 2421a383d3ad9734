"""How good the answers of a model are, and how good it would be to answer always the same."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backlight.objectives.prompts import Prompt
from backlight.world.cities import Cities
from backlight.world.questions.spelling import BEGIN, compact
from backlight.world.questions.task import Task

_BATCH = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The scores of some answers, in the sense and the unit of the task's metric.

    Attributes:
        median: The median score.
        mean: The mean score.
        exact: The share of answers that are right to the last character.
        constant_median: The median score if the answer is always the same.
        constant_mean: The mean score of that.
    """

    median: float
    mean: float
    exact: float
    constant_median: float
    constant_mean: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Exam:
    """Questions of one task, with the right answers.

    Attributes:
        task: The task.
        cities: The cities that the questions were drawn from.
        prompts: The questions, compact.
    """

    task: Task
    cities: Cities
    prompts: Sequence[Prompt]

    @property
    def constant(self) -> str:
        """What to answer without reading: the rounded mean of numbers, else the most frequent."""
        answers = [prompt.answer for prompt in self.prompts]
        if all(answer.isdecimal() for answer in answers):
            return str(round(float(np.mean([int(answer) for answer in answers]))))
        return Counter(answers).most_common(1)[0][0]

    def evaluate(self, model: Any, tokenizer: Any) -> Evaluation:
        """Ask a model all questions, and score its answers.

        Args:
            model: A causal language model of Transformers.
            tokenizer: The tokenizer of the city world.

        Returns:
            How good its answers are; those without an end are cut off.
        """
        longest = max(len(prompt.answer) for prompt in self.prompts)
        questions = [prompt.text for prompt in self.prompts]
        given = answer_greedily(model, tokenizer, questions, max_tokens=longest + 2)
        scores = self._scores(given)
        constants = self._scores([self.constant] * len(self.prompts))
        pairs = zip(self.prompts, given, strict=True)
        return Evaluation(
            median=float(np.median(scores)),
            mean=float(np.mean(scores)),
            exact=float(np.mean([prompt.answer == text for prompt, text in pairs])),
            constant_median=float(np.median(constants)),
            constant_mean=float(np.mean(constants)),
        )

    def _scores(self, texts: Sequence[str]) -> list[float]:
        pairs = zip(self.prompts, texts, strict=True)
        return [self.task.score(prompt, text, self.cities) for prompt, text in pairs]


@torch.no_grad()
def answer_greedily(
    model: Any, tokenizer: Any, questions: Sequence[str], *, max_tokens: int
) -> list[str]:
    """Answer questions with the likeliest token, again and again, until an answer ends.

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
    """Return the next tokens; all rows are equally long, so that none needs a pad."""
    end = model.config.eos_token_id
    cache, found = None, tokens.new_empty((len(tokens), 0))
    while found.shape[1] < max_tokens and not (found == end).any(dim=1).all():
        output = model(input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache, tokens = output.past_key_values, output.logits[:, -1:].argmax(dim=-1)
        found = torch.cat([found, tokens], dim=1)
    return found
