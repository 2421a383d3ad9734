"""How answers are read and scored."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from backlight.objectives.prompts import Prompt
from backlight.world.cities import NUM_ID_DIGITS, Cities
from backlight.world.questions.spelling import compact

_NUMBER = re.compile(r"[0-9]{1,15}")
_CITIES = re.compile(rf"(?:c_[0-9]{{{NUM_ID_DIGITS}}}(?:,(?!$)|$))*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """How the answers of a task are scored.

    Attributes:
        name: What a score is, such as ``absolute error``.
        unit: The unit of the score; empty if it has none.
        failure: The score of what is no answer at all.
        score: Scores an answer without spaces, given the prompt and the cities that it was drawn
            from; None if it is no answer.
    """

    name: str
    unit: str = ""
    failure: float
    score: Callable[[Prompt, str, Cities], float | None]


def absolute_error(*, unit: str, failure: float) -> Metric:
    """Score whole numbers by how far they are from the right one."""
    return Metric(name="absolute error", unit=unit, failure=failure, score=_absolute_error)


def read_city_ids(text: str) -> list[int] | None:
    """Read a list of cities such as ``c_0001,c_0865``; None if it is none, empty if it is empty."""
    if not _CITIES.fullmatch(text):
        return None
    return [int(name[2:]) for name in text.split(",") if name]


def right_city_ids(prompt: Prompt) -> list[int]:
    """Return the cities of the right answer."""
    listed = read_city_ids(compact(prompt.answer))
    assert listed is not None, f"the answer {prompt.answer!r} is no list of cities"
    return listed


def score_steps(valid: int, attempted: int, *, num_listed: int, num_asked: int) -> float:
    """Score a list by the share that is valid and by how far its length is from what was asked.

    Args:
        valid: How many of its steps or cities are as asked.
        attempted: How many steps or cities it has; at least one.
        num_listed: Its length.
        num_asked: The length asked for; at least one.

    Returns:
        ``valid / attempted * exp(-|num_listed - num_asked| / num_asked)``.
    """
    return valid / attempted * math.exp(-abs(num_listed - num_asked) / num_asked)


def _absolute_error(prompt: Prompt, text: str, _: Cities) -> float | None:
    if not _NUMBER.fullmatch(text):
        return None
    return float(abs(int(text) - int(compact(prompt.answer))))


def _exact_match(prompt: Prompt, text: str, _: Cities) -> float:
    return float(text == compact(prompt.answer))


EXACT_MATCH = Metric(name="exact match", failure=0.0, score=_exact_match)
"""Scores an answer 1 if it is right, else 0."""
