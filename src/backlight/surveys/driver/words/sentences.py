"""Words of a summary: numbers with their errors, names of strangers, and how sure a finding is."""

import math
from collections.abc import Mapping
from typing import Any

from backlight.data.given import IN_MEMORY
from backlight.errors import shorten
from backlight.foreign.text import plain
from backlight.surveys.driver.words.ranking import Estimate

_LONGEST_NAME = 48  # letters of a name, such as a path, within a sentence
_SMALLEST, _LARGEST = -4, 5  # powers of ten between which numbers are written without one
_MOST_DIGITS = 6
_MOST_POWERS = 300  # of ten, by which a number can be divided
_PER_CENT = 100


def number(value: float, digits: int = 3) -> str:
    """Write a number with a few significant digits, such as ``0.00143`` or ``8.0e-5``."""
    if not math.isfinite(value) or value == 0:
        return "0" if value == 0 else str(value)
    power = _power(value, digits)
    if _SMALLEST <= power < _LARGEST:
        return f"{value:,.{max(0, digits - 1 - power)}f}"
    return f"{f'{value:.{digits - 1}e}'.partition('e')[0]}e{power}"


def with_error(value: float, error: float) -> str:
    """Write a number and its standard error, such as ``0.00143 ± 0.00036``.

    Args:
        value: The number.
        error: Its error; NaN where it is not known, and then it is not written.

    Returns:
        Both with the same digits: two of them are the error's.
    """
    if not math.isfinite(error) or not math.isfinite(value):
        return number(value)
    if error == 0:
        return f"{number(value)} ± 0"
    power = _power(max(abs(value), error))
    places = power - _power(error, 2) + 1  # digits behind the first one
    if places >= _MOST_DIGITS or power < -_MOST_POWERS:  # the error is hardly there, or both
        return f"{number(value, _MOST_DIGITS)} ± {number(error, 2)}"
    if _SMALLEST <= power < _LARGEST and places - power <= _MOST_DIGITS:
        form = f",.{max(0, places - power)}f"
        return f"{value:{form}} ± {error:{form}}"
    return f"{value / 10.0**power:.{places}f}e{power} ± {error / 10.0**power:.{places}f}e{power}"


def share(value: float, error: float = math.nan) -> str:
    """Write a share as per cent, such as ``19 %`` or ``0.78 ± 0.12 %``."""
    if not math.isfinite(error):
        return f"{number(_PER_CENT * value, 2)} %"
    return f"{with_error(_PER_CENT * value, _PER_CENT * error)} %"


def times(ratio: float) -> str:
    """Write how many times a number is another."""
    return f"{number(ratio, 2)} times"


def name(text: object) -> str:
    """Write the name of a model, a file or a token within a sentence: plain, and not too long."""
    return shorten(plain(text), _LONGEST_NAME)


def count(number: int, noun: str, several: str = "") -> str:
    """Count things, such as ``1 layer`` or ``2,304 features``.

    >>> count(1, "batch", "batches"), count(2, "batch", "batches")
    ('1 batch', '2 batches')

    Args:
        number: How many.
        noun: What one is called.
        several: What several are called, if an ``s`` is not enough.

    Returns:
        Both.
    """
    return f"{number:,} {noun if number == 1 else several or f'{noun}s'}"


def ordinal(number: int) -> str:
    """Write the place of something in a row, such as ``2nd``."""
    teen = number // 10 % 10 == 1
    end = "th" if teen else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{end}"


def unit(symbol: str) -> str:
    """Write a unit in words, such as ``nats per unit``."""
    return symbol.replace("/", " per ")


def text_of(
    config: Mapping[str, Any], num_tokens: int, num_passages: int, *, stride: int = 1
) -> str:
    """Describe how much of which text was measured.

    Args:
        config: The options of the run.
        num_tokens: How many tokens were looked at.
        num_passages: In how many passages.
        stride: Every how-manieth token it was.

    Returns:
        Such as ``562 tokens in 16 passages of shakespeare``.
    """
    which = "" if stride == 1 else f" (every {ordinal(stride)})"
    much = f"{count(num_tokens, 'token')}{which} in {count(num_passages, 'passage')}"
    text = config["dataset"]
    which = " (the loss counts completions alone)" * (config.get("loss_on") == "completion")
    return f"{much} of {'data in memory' if text == IN_MEMORY else name(text)}{which}"


def told(estimate: Estimate) -> str:
    """Write what was measured, with its error."""
    return with_error(estimate.value, estimate.error)


def how_sure(largest: Estimate, num: int, of: str, next_one: Estimate | None = None) -> str:
    """Describe what an error is, and whether the largest of several numbers is so for sure.

    Args:
        largest: The largest.
        num: How many independent parts the error is from.
        of: What these are, such as ``passage``.
        next_one: The second largest; None if there is no other.

    Returns:
        A sentence.
    """
    if not math.isfinite(largest.error):
        few = f"there is only one {of}" if num == 1 else "no standard error is known of this number"
        return f"How sure this is cannot be said: {few}."
    error = f"± is one standard error, from how the {num:,} {of}s differ"
    if next_one is None:
        return f"{error}."
    order = f"{error}; {next_one.name} comes next with {told(next_one)}"
    if largest.is_apart(next_one):
        return f"{order}, and their 95 % intervals do not overlap."
    return f"{order}, too close to be sure of the order (their 95 % intervals overlap)."


def _power(value: float, digits: int = 3) -> int:
    """Return the power of ten of the first digit of a number that is rounded."""
    return int(f"{abs(value):.{digits - 1}e}".partition("e")[2])
