"""Templates with fields: from ``"The capital of {country} is"`` and a table to prompts."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from string import Formatter
from typing import final

from backlight.errors import PromptError, nearest
from backlight.tasks.prompts import Piece, Prompt

__all__ = ["Template"]

_WORD = re.compile(r"\s*(?:\w+|[^\w\s])|\s+")
_SIGNS = {
    " ": "space",
    "\n": "newline",
    "\t": "tab",
    ",": "comma",
    ".": "period",
    ":": "colon",
    ";": "semicolon",
    "?": "question_mark",
    "!": "exclamation_mark",
    "'": "apostrophe",
    '"': "quote",
    "(": "open_paren",
    ")": "close_paren",
    "=": "equals",
    "-": "hyphen",
    "+": "plus",
    "*": "star",
    "/": "slash",
    "_": "underscore",
    "<": "less_than",
    ">": "greater_than",
    "#": "hash",
    "&": "ampersand",
    "%": "percent",
}
_ORDINALS = ("2nd", "3rd", *(f"{number}th" for number in range(4, 100)))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A prompt with gaps, and what should or should not follow it.

    ``{field}`` is filled in from each row of a table; ``{{`` and ``}}`` are braces. Every word and
    sign of the fixed text is a piece of its own, called by itself in lower case (``capital``,
    ``comma``); a word that occurs again is ``the_2nd``, a field likewise ``name_2nd``.

    Attributes:
        text: The prompt.
        answer: What should follow, with the same fields; most tokenizers want it to begin with the
            space that separates it from the prompt.
        wrong_answer: What might follow instead, None without.
    """

    text: str
    answer: str
    wrong_answer: str | None = None

    def __post_init__(self) -> None:
        if not any(True for _ in self._fields(self.text)):
            raise PromptError(
                f"The template {self.text!r} has no field: write the words that differ as "
                "{country}, and give a value of `country` for each prompt."
            )

    def fill(self, rows: Sequence[Mapping[str, str]]) -> list[Prompt]:
        """Make a prompt of each row.

        Args:
            rows: The value of each field; values that the template does not use are kept in
                ``Prompt.values``.

        Returns:
            The prompts, in order.

        Raises:
            PromptError: If there is no row, or a field of template or answer has no value.
        """
        if not rows:
            raise PromptError("There are no values for the template's fields.")
        self._check_fields(rows[0])
        names = tuple(_unique(self._names()))
        return [self._prompt(row, number, names) for number, row in enumerate(rows, start=1)]

    def _check_fields(self, row: Mapping[str, str]) -> None:
        for text in (self.text, self.answer, self.wrong_answer or ""):
            for field in self._fields(text):
                if field not in row:
                    hint = nearest(field, list(row), otherwise=f"There are {', '.join(row)}.")
                    raise PromptError(
                        f"{text!r} has the field {field!r}, for which there are no values. {hint}"
                    )

    def _names(self) -> Iterator[str]:
        for fixed, field in _parts(self.text):
            words: list[str] = _WORD.findall(fixed)
            for word in words:
                sign = word.strip() or word[0]
                yield _SIGNS.get(sign, sign.lower())
            if field is not None:
                yield field

    def _prompt(self, row: Mapping[str, str], number: int, names: Sequence[str]) -> Prompt:
        texts: list[tuple[str, bool]] = []
        for fixed, field in _parts(self.text):
            texts += [(word, False) for word in _WORD.findall(fixed)]
            if field is not None:
                texts.append((_value(row, field, number), True))
        pieces = tuple(
            Piece(name=name, text=text, is_field=is_field)
            for name, (text, is_field) in zip(names, texts, strict=True)
        )
        wrong = self.wrong_answer
        return Prompt(
            pieces=pieces,
            answer=_filled(self.answer, row, number),
            wrong_answer=None if wrong is None else _filled(wrong, row, number),
            values={name: _number_or_text(value) for name, value in row.items()},
        )

    @staticmethod
    def _fields(text: str) -> Iterator[str]:
        return (field for _, field in _parts(text) if field is not None)


def _parts(text: str) -> Iterator[tuple[str, str | None]]:
    """Cut a template into fixed text and the field that follows it, if one does."""
    try:
        for fixed, field, specification, conversion in Formatter().parse(text):
            if field is not None and (specification or conversion or not field.isidentifier()):
                raise PromptError(
                    f"{text!r} has a field {{{field}}} that is no plain name: write {{country}}, "
                    "and {{ or }} for braces."
                )
            yield fixed, field
    except ValueError as error:
        raise PromptError(
            f"{text!r} cannot be read: {error}. Fields are {{country}}; braces are {{{{ and }}}}."
        ) from error


def _unique(names: Iterator[str]) -> Iterator[str]:
    seen: dict[str, int] = {}
    for name in names:
        before = seen.get(name, 0)
        seen[name] = before + 1
        yield f"{name}_{_ORDINALS[before - 1]}" if before else name


def _value(row: Mapping[str, str], field: str, number: int) -> str:
    value = row.get(field, "")
    if not value:
        raise PromptError(f"The field {field!r} has no value in row {number}.")
    return value


def _filled(text: str, row: Mapping[str, str], number: int) -> str:
    return "".join(
        fixed + ("" if field is None else _value(row, field, number))
        for fixed, field in _parts(text)
    )


def _number_or_text(value: str) -> float | str:
    try:
        number = float(value)
    except ValueError:
        return value
    return number if isfinite(number) else value
