"""What a dictionary's authors say of it in a JSON file, checked at the door."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast, final

from backlight.errors import DictionaryError, listed, quoted
from backlight.foreign.documents import read_json
from backlight.foreign.files import MEGABYTE
from backlight.foreign.yaml_text import read_yaml

T = TypeVar("T", int, float, str, bool)

_LARGEST = 16 * MEGABYTE
_KINDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """An object of JSON or YAML in which a dictionary's authors say what it is.

    Attributes:
        path: The file it was read from.
        values: What it holds.
        prefix: Where in the file it stands, for messages.
    """

    path: Path
    values: Mapping[str, Any]
    prefix: str = ""

    def find(self, name: str, kind: type[T]) -> T | None:
        """Take a value, or None if there is none."""
        value = self.values.get(name)
        if value is None:
            return None
        accepted = (int, float) if kind is float else (kind,)
        if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
            raise DictionaryError(
                f"{self._say(name)} is {quoted(value)}, which is not {_KINDS[kind]}; mend the file."
            )
        if kind is float and not abs(cast("float", value)) <= sys.float_info.max:
            raise DictionaryError(f"{self._say(name)} is no finite number; mend the file.")
        return kind(value)

    def need(self, name: str, kind: type[T]) -> T:
        """Take a value that must be there."""
        value = self.find(name, kind)
        if value is None:
            there = listed(self.values) or "nothing"
            raise DictionaryError(
                f"{self._say(name)} is missing: there is {there}; a file of another kind, or an "
                "incomplete one, has that name."
            )
        return value

    def size(self, name: str, *, most: int | None = None) -> int:
        """Take a whole number above zero, and no larger than the number of features."""
        value = self.need(name, int)
        if value < 1:
            raise DictionaryError(f"{self._say(name)} is {value}, but must be 1 or more.")
        if most is not None and value > most:
            raise DictionaryError(
                f"{self._say(name)} is {value}, but there are only {most} features."
            )
        return value

    def choice(self, name: str, known: tuple[str, ...], *, otherwise: str | None = None) -> str:
        """Take one of the words that are known."""
        value = self.need(name, str) if otherwise is None else self.find(name, str) or otherwise
        if value not in known:
            raise DictionaryError(
                f"{self._say(name)} is {quoted(value)}, which backlight does not know; it knows "
                f"{', '.join(known)}."
            )
        return value

    def section(self, name: str) -> "Settings":
        """Take an object inside this one; an empty one if there is none."""
        value = self.values.get(name) or {}
        if not isinstance(value, dict):
            raise DictionaryError(
                f"{self._say(name)} is {quoted(value)}, not an object; mend the file."
            )
        return Settings(path=self.path, values=value, prefix=f"{self.prefix}{name}.")

    def _say(self, name: str) -> str:
        return f"{self.prefix}{name} in {quoted(self.path)}"


def read_settings(path: Path) -> Settings:
    """Read a JSON object, or one of YAML if the file's name says so.

    Args:
        path: The file.

    Returns:
        What it holds.

    Raises:
        DictionaryError: If it is not there, or is no object.
    """
    if not path.exists():
        raise DictionaryError(
            f"There is no file {quoted(path)}, which tells what the dictionary is."
        )
    is_yaml = path.suffix == ".yaml"
    if is_yaml:
        values = read_yaml(path, error=DictionaryError)
    else:
        values = read_json(path, error=DictionaryError, most=_LARGEST)
    if not isinstance(values, dict):
        kind = "YAML" if is_yaml else "JSON"
        raise DictionaryError(f"{quoted(path)} holds {type(values).__name__}, not a {kind} object.")
    return Settings(path=path, values=values)
