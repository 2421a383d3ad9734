"""The form of a question: from ``inside(c;c*)=`` and some cities to named pieces.

In a form, ``c`` stands for a city, ``c*`` for a list of cities with commas between them, and
``{radius}`` for a number that is filled in; everything else is written as it stands.
"""

import itertools
import re
from dataclasses import dataclass
from functools import lru_cache

from backlight.objectives.prompts import Piece
from backlight.world.cities import NUM_ID_DIGITS

_SINGLE = re.compile(r"\bc\b(?!\*)")
_SIGNS = {")": "close_paren", ";": "semicolon"}
_SLOT = re.compile(r"(?:(?P<name>\w+)=)?\{(?P<field>\w+)\}|(?P<sign>.)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What the questions of a task with so many cities have in common.

    Attributes:
        slots: In order: a piece that is always the same, the number of a city (from 1), or the
            name of a field.
        line: The same as a format string, to be filled with the texts of cities and fields.
    """

    slots: tuple[Piece | int | str, ...]
    line: str

    def pieces(self, city_ids: tuple[int, ...], fields: tuple[str, ...]) -> tuple[Piece, ...]:
        """Write a question in pieces.

        Args:
            city_ids: The ids of its cities, in order of appearance.
            fields: What is filled into its fields, in order.

        Returns:
            The pieces, up to and including the last ``=``.
        """
        pieces: list[Piece] = []
        values = iter(fields)
        for slot in self.slots:
            if isinstance(slot, int):
                pieces += _city_pieces(slot, city_ids[slot - 1])
            elif isinstance(slot, str):
                pieces.append(Piece(name=slot, text=next(values), is_field=True))
            else:
                pieces.append(slot)
        return tuple(pieces)


@lru_cache
def read_form(text: str, num_cities: int) -> Form:
    """Read a form.

    A comma is called ``comma`` where questions of this form have exactly one, else ``comma1``,
    ``comma2`` and so on; the ``=`` at the end is ``equals``; what stands before a field, as in
    ``r={radius}``, is ``radius_name`` and ``radius_equals``.

    Args:
        text: The form.
        num_cities: How many cities a question has.

    Returns:
        The form for that many cities.
    """
    name, _, inner = text.removesuffix("=").partition("(")
    one_comma = inner.count(",") == 1 and "*" not in inner
    inner = inner.replace("c*", ",".join("c" * (num_cities - len(_SINGLE.findall(inner)))))
    slots: list[Piece | int | str] = [_literal("task", name), _literal("open_paren", "(")]
    cities, commas = itertools.count(1), itertools.count(1)
    for match in _SLOT.finditer(inner):
        field, sign = match["field"], match["sign"]
        if match["name"]:
            slots.append(_literal(f"{field}_name", match["name"]))
            slots.append(_literal(f"{field}_equals", "="))
        if field:
            slots.append(field)
        elif sign == "c":
            slots.append(next(cities))
        elif sign == ",":
            slots.append(_literal("comma" if one_comma else f"comma{next(commas)}", sign))
        else:
            slots.append(_literal(_SIGNS[sign], sign))
    slots.append(_literal("equals", "="))
    line = "".join(slot.text if isinstance(slot, Piece) else "{}" for slot in slots)
    return Form(slots=tuple(slots), line=line)


def _literal(name: str, text: str) -> Piece:
    return Piece(name=name, text=text)


@lru_cache(maxsize=1 << 16)
def _city_pieces(number: int, city_id: int) -> tuple[Piece, ...]:
    digits = enumerate(f"{city_id:0{NUM_ID_DIGITS}d}", start=1)
    return (
        Piece(name=f"city{number}_c", text="c", other_names=(f"city{number}_start",)),
        _literal(f"city{number}_underscore", "_"),
        *(_digit(number, place, digit) for place, digit in digits),
    )


@lru_cache(maxsize=1 << 10)
def _digit(number: int, place: int, digit: str) -> Piece:
    last = (f"city{number}_last_digit", f"city{number}_end")
    return Piece(
        name=f"city{number}_digit{place}",
        text=digit,
        is_field=True,
        other_names=last if place == NUM_ID_DIGITS else (),
    )
