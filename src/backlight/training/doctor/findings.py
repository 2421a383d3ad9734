"""What a diagnosis holds: findings, each with its place, its time, its evidence and a way out."""

from dataclasses import dataclass, field

from backlight.foreign.text import brief
from backlight.training.doctor.catalogue import SYMPTOMS, Severity, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something is.

    Attributes:
        module: The path of the module, or of the smallest that holds all that are concerned; empty
            for the whole model.
        parameter: The name of the parameter, if it is one only.
        layer: The number of the block, None outside of blocks and for several.
        depth: When the module is first used in a forward pass, counted from 0 at the input; None
            for several.
    """

    module: str = ""
    parameter: str | None = None
    layer: int | None = None
    depth: int | None = None

    def __str__(self) -> str:
        if not self.module:
            whole = "the whole model" if self.layer is None else f"layer {self.layer}"
            return brief(self.parameter or whole)
        own = f"layers.{self.layer}" if self.layer is not None else ""
        number = "" if self.layer is None or self.module == own else f" (layer {self.layer})"
        return f"{brief(self.module)}{number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        symptom: Its name, as in the table of symptoms.
        title: The same in plain words.
        verdict: What it makes of the run.
        severity: ``error``, or ``warning`` for what may be meant.
        place: Where it is.
        since_step: The first recorded step at which it was there.
        until_step: The last one; None if it was still there at the end.
        evidence: What was seen, with numbers.
        cause: What it likely comes from.
        remedy: What to try.
        followed_by: What this finding explains, and what is therefore not told by itself.
    """

    symptom: str
    title: str
    verdict: Verdict
    severity: Severity
    place: Place = field(default_factory=Place)
    since_step: int
    until_step: int | None = None
    evidence: str
    cause: str
    remedy: str
    followed_by: tuple["Finding", ...] = ()

    @property
    def when(self) -> str:
        """Since when, in words."""
        if self.until_step is None:
            return f"since step {self.since_step}"
        if self.until_step == self.since_step:
            return f"at step {self.since_step}"
        return f"from step {self.since_step} to {self.until_step}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The state of a training run.

    Attributes:
        verdict: That of the first error; if there is none, ``healthy``, or ``nothing to judge`` if
            no gradient was read.
        findings: What is wrong, roots only: errors before warnings, then the earliest first.
        first_step: The first recorded step, None if none was recorded.
        last_step: The last recorded step.
        num_steps: How many steps were recorded.
        num_losses: How many losses are known.
        num_parameters: How many parameters were watched.
        not_observed: What could not be judged, and why: one sentence each.
        notes: What looks odd and is as it should be: one sentence each.
    """

    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    first_step: int | None = None
    last_step: int | None = None
    num_steps: int = 0
    num_losses: int = 0
    num_parameters: int = 0
    not_observed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_healthy(self) -> bool:
        """A gradient was read, and no error was found."""
        return self.verdict == "healthy"

    def __str__(self) -> str:
        if not self.findings:
            return self.verdict
        told = (f"{each.title}, {each.place}, {each.when}" for each in self.findings)
        return f"{self.verdict}: {'; '.join(told)}"


def were(count: int, one: str, many: str | None = None) -> str:
    """Count something in a sentence about the past, such as ``2 steps were``."""
    return f"1 {one} was" if count == 1 else f"{count} {many or f'{one}s'} were"


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
