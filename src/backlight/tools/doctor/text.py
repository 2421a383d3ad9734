"""A diagnosis in plain words, for the terminal."""

from collections.abc import Iterator
from typing import Literal

from rich.markup import escape
from rich.padding import Padding

from backlight.surveys.driver.terminal import console
from backlight.training.doctor.findings import Diagnosis, Finding

_MEANINGS = {
    "healthy": "Nothing speaks against it.",
    "vanishing": "Gradients, or the steps made of them, are too small to learn from.",
    "exploding": "Gradients are far too large, somewhere or at some steps.",
    "unstable": "Gradients are there, but the loss or the steps run wild, or lead nowhere.",
    "non-finite": "There are NaN or infinite numbers; nothing is learned from there on.",
    "dead": "Some parameters do not learn at all.",
    "nothing to judge": "No gradient was read, so this is no sign of health.",
}
_COLOURS = {"healthy": "green", "error": "red", "warning": "yellow"}


def print_diagnosis(diagnosis: Diagnosis, *, title: str, understood: str = "") -> None:
    """Print the verdict, then each finding as a short paragraph, then what was not observed.

    Args:
        diagnosis: What was found.
        title: What was examined.
        understood: What was understood of the log of another tool; empty if there is nothing to
            say.
    """
    out = console(markup=True)
    colour = _COLOURS[tone(diagnosis)]
    verdict = f"[bold {colour}]{diagnosis.verdict}[/]"
    out.print(f"{escape(title)}: {verdict}. {escape(meaning(diagnosis))}")
    if understood:
        out.print(escape(f"Read: {understood}"))
    out.print(escape(recorded(diagnosis)))
    for number, finding in enumerate(diagnosis.findings, start=1):
        mark = _COLOURS[finding.severity]
        out.print()
        out.print(f"[{mark}]{number}. {escape(heading(finding))}[/]")
        for label, text in _paragraph(finding):
            out.print(Padding(f"[bold]{label}[/] {escape(text)}", (0, 0, 0, 3)))
    lines = [f"Not observed: {text}" for text in diagnosis.not_observed]
    lines += [f"Note: {text}" for text in diagnosis.notes]
    if lines:
        out.print()
        out.print(escape("\n".join(lines)))


def tone(diagnosis: Diagnosis) -> Literal["healthy", "warning", "error"]:
    """Return whether the verdict is a good one, a bad one, or none."""
    if diagnosis.verdict == "nothing to judge":
        return "warning"
    return "healthy" if diagnosis.is_healthy else "error"


def meaning(diagnosis: Diagnosis) -> str:
    """Describe what the verdict means."""
    warnings = sum(finding.severity == "warning" for finding in diagnosis.findings)
    more = {0: "", 1: " There is one warning."}.get(warnings, f" There are {warnings} warnings.")
    return _MEANINGS[diagnosis.verdict] + (more if tone(diagnosis) != "error" else "")


def recorded(diagnosis: Diagnosis) -> str:
    """Describe what was looked at."""
    count = diagnosis.num_losses
    losses = {0: "", 1: " 1 loss is known."}.get(count, f" {count} losses are known.")
    if not diagnosis.num_steps:
        return f"No step was recorded.{losses}"
    several = diagnosis.num_steps > 1
    steps = f"{diagnosis.num_steps} recorded steps" if several else "1 recorded step"
    span = f"{diagnosis.first_step}" + (f" to {diagnosis.last_step}" if several else "")
    parameters = {0: "the gradient as a whole", 1: "1 parameter"}.get(
        diagnosis.num_parameters, f"{diagnosis.num_parameters} parameters"
    )
    return f"Looked at {steps} ({span}) of {parameters}.{losses}"


def heading(finding: Finding) -> str:
    """Name a finding, its place and its time."""
    warning = " (warning)" if finding.severity == "warning" else ""
    title = finding.title[0].upper() + finding.title[1:]
    return f"{title}: {finding.place}, {finding.when}{warning}"


def _paragraph(finding: Finding) -> Iterator[tuple[str, str]]:
    yield "Seen:", finding.evidence
    if finding.followed_by:
        told = [f"{each.title} ({each.place}, {each.when})" for each in finding.followed_by[:4]]
        more = len(finding.followed_by) - len(told)
        yield "Then:", "; ".join(told) + (f"; and {more} more." if more else ".")
    yield "Likely:", finding.cause[0].upper() + finding.cause[1:]
    yield "Try:", finding.remedy[0].upper() + finding.remedy[1:]
