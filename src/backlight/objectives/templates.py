"""Templates with fields: from ``"The capital of {country} is"`` and a table to prompts."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from string import Formatter
from typing import final

from backlight.errors import PromptError, nearest, quoted
from backlight.objectives.grid import ANSWER
from backlight.objectives.prompts import Piece, Prompt
from backlight.objectives.spans import BOS

_LONGEST = 2**16  # characters of a prompt
_Values = Mapping[str, float | str]
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
    "@": "at",
    "$": "dollar",
    "^": "caret",
    "~": "tilde",
    "|": "bar",
    "`": "backtick",
    "\\": "backslash",
    "[": "open_bracket",
    "]": "close_bracket",
    "{": "open_brace",
    "}": "close_brace",
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A prompt, mostly with gaps, and what should or should not follow it.

    ``{field}`` is filled in from each row of a table; ``{{`` and ``}}`` are braces. Every word and
    sign of the fixed text is a piece of its own, called by itself in lower case (``capital``,
    ``comma``); a word that occurs again is ``the_2nd``, a field likewise ``name_2nd``. A word
    that is called as a field is ``country_word``, the word ``answer`` is ``prompt_answer``: the
    tokens of field and answer have the other names.

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
        if not self.text:
            raise PromptError("The template is empty: there must be a prompt before the answer.")
        for _ in self._fields(self.text):  # what cannot be read is refused here
            pass

    @property
    def has_fields(self) -> bool:
        """Whether prompt or answers have any field; without, there is one prompt to make."""
        texts = (self.text, self.answer, self.wrong_answer or "")
        return any(True for text in texts for _ in self._fields(text))

    def fill(self, rows: Sequence[Mapping[str, str]]) -> list[Prompt]:
        """Fill the template in once for each row.

        Args:
            rows: The value of each field; values that the template does not use are kept in
                ``Prompt.values`` too, as numbers where all of a name's are numbers.

        Returns:
            The prompts, in order.

        Raises:
            PromptError: If there is no row, or a field of template or answer has no value.
        """
        if not rows:
            raise PromptError("There are no values for the template's fields.")
        self._check_fields(rows[0])
        names = list(_unique(self._names()))
        return [
            self._prompt(row, number, names, values)
            for number, (row, values) in enumerate(zip(rows, _values(rows), strict=True), start=1)
        ]

    def _check_fields(self, row: Mapping[str, str]) -> None:
        for text in (self.text, self.answer, self.wrong_answer or ""):
            for field in self._fields(text):
                if field not in row:
                    known = [name if name.isprintable() else quoted(name) for name in row]
                    there = ", ".join(known) or "none"
                    hint = nearest(field, known, otherwise=f"There are {there[:400]}.")
                    raise PromptError(
                        f"{quoted(text)} has the field {quoted(field)}, for which there are no "
                        f"values. {hint}"
                    )

    def _words(self) -> Iterator[tuple[str, bool]]:
        """Cut the prompt into words, signs and fields; fields are marked by True."""
        for fixed, field in _parts(self.text):
            yield from ((word, False) for word in _WORD.findall(fixed))
            if field is not None:
                yield field, True

    def _names(self) -> Iterator[str]:
        fields = set(self._fields(self.text))
        for text, is_field in self._words():
            sign = text.strip() or text[0]
            name = _SIGNS.get(sign, "space" if sign.isspace() else sign.lower())
            yield _apart(text if is_field else f"{name}_word" if name in fields else name)

    def _prompt(
        self, row: Mapping[str, str], number: int, names: Sequence[str], values: _Values
    ) -> Prompt:
        pieces = tuple(
            Piece(
                name=name, text=_value(row, text, number) if is_field else text, is_field=is_field
            )
            for name, (text, is_field) in zip(names, self._words(), strict=True)
        )
        size = sum(len(piece.text) for piece in pieces)
        if size > _LONGEST:
            raise PromptError(
                f"The prompt of row {number} has {size:,} characters, and a prompt may have "
                f"{_LONGEST:,}: is a value of its fields a whole text?"
            )
        wrong = self.wrong_answer
        return Prompt(
            pieces=pieces,
            answer=_filled(self.answer, row, number),
            wrong_answer=None if wrong is None else _filled(wrong, row, number),
            values=values,
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
                    f"{quoted(text)} has a field {{{field[:100]}}} that is no plain name: write "
                    "{country}, and {{ or }} for braces."
                )
            yield fixed, field
    except ValueError as error:
        raise PromptError(
            f"{quoted(text)} cannot be read: {error}. Fields are {{country}}; braces are "
            "{{ and }}."
        ) from error


def _unique(names: Iterator[str]) -> Iterator[str]:
    seen: Counter[str] = Counter()
    given: set[str] = set()
    for name in names:
        own = name
        while own in given or not seen[name]:
            seen[name] += 1
            own = name if seen[name] == 1 else f"{name}_{_ordinal(seen[name])}"
        given.add(own)
        yield own


def _ordinal(number: int) -> str:
    is_teen = number % 100 in (11, 12, 13)
    ending = "th" if is_teen else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _apart(name: str) -> str:
    """Rename a piece that is called as something that is not of the prompt's text."""
    return f"prompt_{name}" if name in (BOS, ANSWER) or name.startswith(f"{ANSWER}_") else name


def _value(row: Mapping[str, str], field: str, number: int) -> str:
    value = row.get(field, "")
    if not value:
        raise PromptError(f"The field {quoted(field)} has no value in row {number}.")
    return value


def _filled(text: str, row: Mapping[str, str], number: int) -> str:
    return "".join(
        fixed + ("" if field is None else _value(row, field, number))
        for fixed, field in _parts(text)
    )


def _values(rows: Sequence[Mapping[str, str]]) -> Iterator[dict[str, float | str]]:
    """Read what can be read as numbers, all values of a name or none; what is blank is unknown."""
    names = {name for row in rows for name in row}
    numbers = {
        name for name in names if all(_is_number(row[name]) for row in rows if row.get(name))
    }
    for row in rows:
        yield {
            name: float(value) if name in numbers else value for name, value in row.items() if value
        }


def _is_number(value: str) -> bool:
    try:
        return isfinite(float(value))
    except ValueError:
        return False
