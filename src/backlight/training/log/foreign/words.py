"""What logs call things: the names of steps, losses, norms, learning rates and epochs."""

import re
from collections.abc import Mapping, Sequence
from configparser import ConfigParser
from functools import lru_cache
from pathlib import Path
from typing import Literal, cast

Field = Literal["step", "epoch", "loss", "norm", "clipped", "rate"]


def _read_names() -> dict[str, dict[str, list[str]]]:
    table = ConfigParser(delimiters=("=",), interpolation=None)
    table.read_string(Path(__file__).with_name("names.ini").read_text(encoding="utf-8"))
    return {part: {key: text.split() for key, text in table[part].items()} for part in table}


_NAMES = _read_names()
FIELDS = cast("Mapping[Field, Sequence[str]]", _NAMES["quantities"])
"""The names of each quantity, the best first; as ``_plain`` writes them, without ``train/``."""

LOG_FILES = _NAMES["files"]["logs"]
"""What trainers call the logs in their folders, the best first."""

FILLERS = frozenset(_NAMES["fillers"]["words"])
"""Words in front of a name that mean nothing."""

_PREFIXES, _OTHERS = _NAMES["prefixes"]["of_quantities"], _NAMES["others"]
_EVALUATION = re.compile(
    r"(?:^|metrics/)(?:eval|evaluation|val|valid|validation|test|dev)(?:[_/]|$)"
    r"|[_/](?:val|valid|validation|eval|evaluation|test|dev)$"
)
_SPACE = re.compile(r"[\s\-.]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z][a-z])")
_RUN_NAME = re.compile(r"^.{1,200} - ")  # exports of the Weights & Biases page: "run - train/loss"
_RANKS: Mapping[str, tuple[Field, int]] = {
    word: (field, rank) for field, words in FIELDS.items() for rank, word in enumerate(words)
}
_LONGEST = 200  # characters of a name


def meaning(key: str) -> tuple[Field, int] | None:
    """Look up what a name stands for.

    Args:
        key: The name as the log writes it.

    Returns:
        The quantity and how good a name for it this is, 0 being the best; None for a name that is
        not understood.
    """
    return _meaning(key[:_LONGEST])


@lru_cache(maxsize=4096)
def _meaning(key: str) -> tuple[Field, int] | None:
    word = _plain(key)
    for stripped in range(3):
        if word in _RANKS:
            field, rank = _RANKS[word]
            return field, 3 * rank + stripped
        prefix = next((each for each in _PREFIXES if word.startswith(each)), None)
        if prefix is None:
            return None
        word = word.removeprefix(prefix)
    return None


def is_evaluation(key: str) -> bool:
    """Check whether a name is that of something measured on held-out data."""
    return _EVALUATION.search(_plain(key)) is not None


def is_summary(key: str) -> bool:
    """Check whether a name occurs only in the line with which a trainer sums up its run."""
    return _plain(key) in _OTHERS["summary"]


def is_reward(key: str) -> bool:
    """Check whether a name is that of a reward that a policy earns: its loss measures no error.

    Args:
        key: The name as the log writes it.

    Returns:
        Whether it is; rewards of pairs of answers (``rewards/chosen``) are not.
    """
    parts = set(_plain(key).split("/"))
    return bool(parts & set(_OTHERS["reward"])) and parts.isdisjoint(_OTHERS["of_pairs"])


def split_of(key: str) -> bool:
    """Check whether a name says what data a line is about: ``mode``, ``is_eval``."""
    return _plain(key) in _OTHERS["split"]


def long_pair(keys: Sequence[str]) -> tuple[str, str] | None:
    """Find the two names of rows that hold one quantity each, such as ``metric`` and ``value``.

    Args:
        keys: The names of a row.

    Returns:
        What names the quantity, and what holds its number; None if rows are not of this kind.
    """
    plain = {_plain(key): key for key in keys}
    names, values = (
        [plain[word] for word in _OTHERS[kind] if word in plain] for kind in ("label", "value")
    )
    return (names[0], values[0]) if names and values else None


def _plain(key: str) -> str:
    """Return a name in small letters, with underscores, without the name of a run before it."""
    return _shortened(key[:_LONGEST].strip())


@lru_cache(maxsize=4096)
def _shortened(key: str) -> str:
    return _SPACE.sub("_", _CAMEL.sub("_", _RUN_NAME.sub("", key).strip()).casefold())
