"""All symptoms, read from ``symptoms.ini``, and findings made of them."""

from collections.abc import Mapping
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backlight.training.doctor.findings import Finding, Place, Severity, Verdict


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


def finding(
    name: str,
    *,
    evidence: str,
    since_step: int,
    until_step: int | None = None,
    place: Place | None = None,
    cause: str | None = None,
    severity: Severity | None = None,
) -> Finding:
    """Make a finding from a symptom of the catalogue.

    Args:
        name: The symptom.
        evidence: What was seen.
        since_step: The first step.
        until_step: The last one, None if it lasts.
        place: Where; None for the whole model.
        cause: A likelier cause than the catalogue's.
        severity: Another severity than the catalogue's.

    Returns:
        The finding.
    """
    symptom = SYMPTOMS[name]
    return Finding(
        symptom=name,
        title=symptom.title,
        verdict=symptom.verdict,
        severity=severity or symptom.severity,
        place=place or Place(),
        since_step=since_step,
        until_step=until_step,
        evidence=evidence,
        cause=cause or symptom.cause,
        remedy=symptom.remedy,
    )
