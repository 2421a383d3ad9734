"""Questions with two answers, as many of each as asked for, without asking forever."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from backlight.errors import TaskError

_CHUNK = 100_000


def draw_labels(num: int, true_ratio: float, random: np.random.Generator) -> NDArray[np.bool_]:
    """Draw answers of which a fixed share is true, in any order.

    Args:
        num: How many answers.
        true_ratio: The share that is true; what is left of a whole answer is left to chance.
        random: Where chance comes from.

    Returns:
        The answers.
    """
    # A fraction of a question is rounded up as often as it is large: over many draws the share is
    # exactly true_ratio, and in one draw it is off by less than a question.
    num_true = int(num * true_ratio + random.random())
    return random.permutation(np.arange(num) < num_true)


def draw_with_labels(
    labels: NDArray[np.bool_],
    propose: Callable[[int], NDArray[np.int64]],
    judge: Callable[[NDArray[np.int64]], NDArray[np.bool_]],
    what: str,
) -> NDArray[np.int64]:
    """Draw questions until each answer has its question.

    Args:
        labels: The answers wanted.
        propose: Draws so many questions, a row of cities for each.
        judge: Answers questions.
        what: What a question that is true shows, for the message.

    Returns:
        A question for each answer.

    Raises:
        TaskError: If an answer is so rare that its questions are not found among 100,000 questions
            and 200 more for each that is wanted.
    """
    # Questions are proposed as they come, never changed until they fit, and what is surplus is
    # thrown away: so among the questions with one answer, each is as likely as without balancing.
    # An answer that never comes would make this go on forever, so the number of tries is bounded.
    found = np.empty((len(labels), 0), np.int64)
    missing = {answer: np.flatnonzero(labels == answer) for answer in (True, False)}
    left = 100_000 + 200 * len(labels)
    while any(map(len, missing.values())):
        if left <= 0:
            _give_up(missing, len(labels), what)
        rows = propose(min(_CHUNK, left, 256 + 8 * sum(map(len, missing.values()))))
        left -= len(rows)
        truth = judge(rows)
        if not found.shape[1]:
            found = np.empty((len(labels), rows.shape[1]), np.int64)
        for answer, places in missing.items():
            fitting = rows[truth == answer][: len(places)]
            found[places[: len(fitting)]] = fitting
            missing[answer] = places[len(fitting) :]
    return found


def _give_up(missing: dict[bool, NDArray[np.int64]], num: int, what: str) -> None:
    wanted = " and ".join(
        f"{len(places)} {'TRUE' if answer else 'FALSE'}"
        for answer, places in missing.items()
        if len(places)
    )
    raise TaskError(
        f"Of {num} questions whether {what}, {wanted} could not be found among "
        f"{100_000 + 200 * num} tries with these cities: allow more cities, or change true_ratio."
    )
