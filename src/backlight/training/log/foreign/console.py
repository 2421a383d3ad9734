"""Steps that a program printed for people: one line of words and numbers each."""

import re
from collections.abc import Mapping
from functools import lru_cache

from backlight.training.log.foreign.words import FILLERS, meaning

_LONGEST = 4000  # characters of a line that a person was meant to read
_COLOURS = re.compile(
    r"\x1b\[[0-9;:?]{0,40}[ -/]{0,4}[@-~]|\x1b\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)"
)
_DICT = re.compile(r"\{\s{0,20}['\"]")
_ITEM = re.compile(
    r"(['\"])([^'\"{}]{1,200})\1\s{0,9}:\s{0,9}(?:(['\"])([^'\"{}]{0,200})\3|([^\s'\"{},\]]{1,200}))"
)
_WORD = r"[a-z_][\w/.\-]{0,60}"
_NUMBER = (
    r"\d{1,3}(?:,\d{3})+(?![\d.])|[-+]?(?:(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|nan|inf(?:inity)?)"
)
_PAIR = re.compile(
    rf"(?<![\w/.\-])({_WORD}(?:\ {_WORD}){{0,2}})(?:\s{{0,9}}[:=]\s{{0,20}}|\s{{1,20}})"
    rf"(?:[\[(\#]\s{{0,20}}|tensor\(|np\.float\d\d\()?({_NUMBER})(?![\w%]|\.\d)",
    re.IGNORECASE,
)
"""Up to three words, and the number behind them."""

_LIKE = re.compile(r"loss|norm|step|train|lr\b|learning|\[batch=", re.IGNORECASE)
_COUNTED = re.compile(r"^\s{0,40}(\d{1,15})\s{0,9}(?:\||train\s{1,9}([\d.]{1,40})$)")
_PART_OF_A_BAR = re.compile(r"^\s{0,9}(\d{1,12})/(\d{1,12})\s{0,9}[\[━]")  # Keras, in an epoch
_BATCH = re.compile(r"(?:\[batch=|\bIter\(train\) {1,9}\[ {0,9})(\d{1,15})")  # Composer, XTuner
_HELD_OUT = re.compile(
    r"(?<![\w/.\-])(?:eval|evaluat(?:e|ion|ing)|val|valid|validat(?:e|ion|ing)|test set)"
    r"(?![\w/.\-]|\ (?:tokens|samples|examples|labels)\b)|^\W{0,9}test(?:ing)?\b",
    re.IGNORECASE,
)
_WHOLE_EPOCH = "| train |"  # fairseq, behind the steps of an epoch
_TRAIN = re.compile(r"(?<![\w/.\-])train", re.IGNORECASE)


class Console:
    """Reads lines one after the other; a step may stand alone in the line above its numbers."""

    def __init__(self) -> None:
        self._alone: dict[str, str] = {}
        self._shortest = _LONGEST

    def row(self, line: str, *, unended: bool = False) -> Mapping[str, str]:
        """Read the names and numbers of a line.

        Args:
            line: The line.
            unended: It may be half a line.

        Returns:
            Names and numbers as they are written; empty if there is no quantity that is understood.
        """
        if len(line) > _LONGEST or not _LIKE.search(line):
            return {}
        line = without_colours(line)
        braces = _DICT.search(line)
        if braces is not None:
            if unended and "}" not in line:
                return {}
            before = line[: braces.start()]
            pairs = _PAIR.finditer(before)
            places = {pair[1]: pair[2] for pair in pairs if _is_place(pair[1])} | _batch_of(before)
            return _marked(before, places | _of_dict(line[braces.start() :]))
        bar = _PART_OF_A_BAR.match(line)
        if bar is not None and bar[1] != bar[2]:
            return {}
        return self._of_words(line.rstrip(), unended=unended)

    def _of_words(self, line: str, *, unended: bool) -> Mapping[str, str]:
        found: dict[str, str] = {}
        spent, begins = 0, len(line)
        for match in _PAIR.finditer(line):
            key = _understood(match[1])
            if key is not None and not self._is_cut(match, line, unended=unended):
                found.setdefault(key, match[2])
                begins = begins if _is_place(key) else min(begins, match.start(2))
            elif match.end() < begins and _is_quantity(match[1].rpartition(" ")[2]):
                spent = match.end()  # "val loss 2.1", in front of the loss of the step
        found |= _batch_of(line)
        counted = _COUNTED.match(line)
        if counted is not None:
            found.setdefault("step", counted[1])
            if counted[2] and not self._is_cut(counted, line, unended=unended):
                found.setdefault("loss", counted[2])
        places = {key: value for key, value in found.items() if _is_place(key)}
        if len(places) == len(found):
            self._alone = places or self._alone
            return {}
        if not places and line[:1].isspace():
            return self._alone | found
        if _WHOLE_EPOCH in line:
            return {f"train {key}": value for key, value in found.items()}
        return _marked(line[spent:begins], found)

    def _is_cut(self, match: re.Match[str], line: str, *, unended: bool) -> bool:
        """Check whether a number at the end of the last line is shorter than any before it."""
        if match.end(2) != len(line):
            return False
        # Programs print numbers with as many digits each time; one that is shorter than all before
        # it, where the file ends without a line end, was probably written by half.
        length = len(match[2])
        if unended:
            return length < self._shortest
        self._shortest = min(self._shortest, length)
        return False


def without_colours(line: str) -> str:
    """Leave out what steers a terminal."""
    return _COLOURS.sub("", line) if "\x1b" in line else line


def _batch_of(line: str) -> dict[str, str]:
    batch = _BATCH.search(line) if "batch=" in line or "Iter(" in line else None
    return {"step": batch[1]} if batch else {}


def _marked(before: str, found: dict[str, str]) -> dict[str, str]:
    """Mark the numbers of a line as those of an evaluation, if the text before them says so."""
    small = before.lower()
    if "val" not in small and "test" not in small:
        return found
    ends = [match.end() for match in _HELD_OUT.finditer(before)]
    if not ends or _TRAIN.search(before, ends[-1]):
        return found
    return {f"eval {key}": value for key, value in found.items()}


@lru_cache(maxsize=4096)
def _understood(words: str) -> str | None:
    """Find the name in up to three words: all of them, or the last behind words without meaning."""
    while meaning(words) is None:
        first, _, words = words.partition(" ")
        if not words or not (first.casefold() in FILLERS or first.endswith(".py")):
            return None
    return words


def _is_quantity(word: str) -> bool:
    return meaning(word) is not None and not _is_place(word)


def _is_place(key: str) -> bool:
    found = meaning(key)
    return found is not None and found[0] in ("step", "epoch")


def _of_dict(text: str) -> dict[str, str]:
    """Read a printed dictionary, of Python or JSON, of numbers or of text."""
    return {
        match[2]: match[4] if match[4] is not None else match[5].strip("[")
        for match in _ITEM.finditer(text)
    }
