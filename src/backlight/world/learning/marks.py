"""How good answers are, and how good it would be to give always the same."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backlight.objectives.prompts import Prompt
from backlight.world.cities import Cities
from backlight.world.learning.answering import answer_greedily
from backlight.world.questions.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """The marks of some answers, in the sense and the unit of the task.

    Attributes:
        median: The median mark.
        mean: The mean mark.
        exact: The share of answers that are right to the last character.
        constant_median: The median mark if the answer is always the same.
        constant_mean: The mean mark of that.
    """

    median: float
    mean: float
    exact: float
    constant_median: float
    constant_mean: float


def constant_answer(prompts: Sequence[Prompt]) -> str:
    """Choose what to answer without reading the question.

    Args:
        prompts: Questions with answers.

    Returns:
        The mean of the answers, rounded, if they are numbers, else the most frequent one.
    """
    answers = [prompt.answer for prompt in prompts]
    if all(answer.isdecimal() for answer in answers):
        return str(round(float(np.mean([int(answer) for answer in answers]))))
    return Counter(answers).most_common(1)[0][0]


def mark_model(
    model: Any,
    tokenizer: Any,
    task: Task,
    cities: Cities,
    prompts: Sequence[Prompt],
    *,
    constant: str,
    max_tokens: int,
) -> Marks:
    """Let a model answer questions, and mark its answers.

    Args:
        model: A causal language model of Transformers.
        tokenizer: The tokenizer of the city world.
        task: The task of the questions.
        cities: The cities they were drawn from.
        prompts: Compact questions with the right answers.
        constant: What to compare with: an answer that is always the same.
        max_tokens: When an answer without an end is cut off.

    Returns:
        The marks.
    """
    questions = [prompt.text for prompt in prompts]
    given = answer_greedily(model, tokenizer, questions, max_tokens=max_tokens)
    marks = [task.score(prompt, text, cities) for prompt, text in zip(prompts, given, strict=True)]
    constants = [task.score(prompt, constant, cities) for prompt in prompts]
    return Marks(
        median=float(np.median(marks)),
        mean=float(np.mean(marks)),
        exact=float(np.mean([p.answer == text for p, text in zip(prompts, given, strict=True)])),
        constant_median=float(np.median(constants)),
        constant_mean=float(np.mean(constants)),
    )
