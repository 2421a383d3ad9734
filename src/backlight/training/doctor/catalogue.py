"""All symptoms, read from ``symptoms.ini``."""

from collections.abc import Mapping
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Verdict = Literal[
    "healthy", "vanishing", "exploding", "unstable", "non-finite", "dead", "nothing to judge"
]
"""What a training run is: healthy, what is wrong with it in a word, or unknown."""

Severity = Literal["error", "warning"]
"""An error makes a run not healthy; a warning is worth a look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Symptom:
    """A kind of finding.

    Attributes:
        title: What it is, in plain words.
        verdict: What it makes of a run.
        severity: How bad it is.
        cause: What it likely comes from.
        remedy: What to try.
        explains: The symptoms that it brings along; one of these that begins no earlier is told
            as its consequence.
    """

    title: str
    verdict: Verdict
    severity: Severity = "error"
    cause: str
    remedy: str
    explains: tuple[str, ...] = ()


def _read_catalogue() -> dict[str, Symptom]:
    """Read the table; a symptom explains those that it names, and all of a group that it names."""
    table = ConfigParser(delimiters=("=",), interpolation=None)
    table.read_string(Path(__file__).with_name("symptoms.ini").read_text(encoding="utf-8"))
    groups = {name: names.split() for name, names in table["groups"].items()}
    found: dict[str, Symptom] = {}
    for name in table.sections()[1:]:
        fields: dict[str, Any] = {key: " ".join(text.split()) for key, text in table[name].items()}
        named = [groups.get(each, [each]) for each in fields.pop("explains", "").split()]
        found[name] = Symptom(**fields, explains=tuple(each for group in named for each in group))
    return found


SYMPTOMS: Mapping[str, Symptom] = _read_catalogue()
"""By name."""
