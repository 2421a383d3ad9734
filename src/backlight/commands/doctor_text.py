"""A diagnosis in plain words, for the terminal."""

from collections.abc import Iterator

from rich.markup import escape
from rich.padding import Padding

from backlight.commands.session import console
from backlight.training.symptoms import Diagnosis, Finding

__all__ = ["meaning", "print_diagnosis", "recorded"]

_MEANINGS = {
    "healthy": "Nothing speaks against it.",
    "vanishing": "Gradients, or the steps made of them, are too small to learn from.",
    "exploding": "Gradients are far too large, somewhere or at some steps.",
    "unstable": "Gradients are there, but the loss or the steps run wild, or lead nowhere.",
    "non-finite": "There are NaN or infinite numbers; nothing is learned from there on.",
    "dead": "Some parameters do not learn at all.",
}
_COLOURS = {"healthy": "green", "error": "red", "warning": "yellow"}


def print_diagnosis(diagnosis: Diagnosis, *, title: str) -> None:
    """Print the verdict, then each finding as a short paragraph, then what was not observed.

    Args:
        diagnosis: What was found.
        title: What was examined.
    """
    out = console(markup=True)
    colour = _COLOURS["healthy" if diagnosis.is_healthy else "error"]
    verdict = f"[bold {colour}]{diagnosis.verdict}[/]"
    out.print(f"{escape(title)}: {verdict}. {escape(meaning(diagnosis))}")
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


def meaning(diagnosis: Diagnosis) -> str:
    """Say what the verdict means."""
    warnings = sum(finding.severity == "warning" for finding in diagnosis.findings)
    more = {0: "", 1: " There is one warning."}.get(warnings, f" There are {warnings} warnings.")
    return _MEANINGS[diagnosis.verdict] + (more if diagnosis.is_healthy else "")


def recorded(diagnosis: Diagnosis) -> str:
    """Say what was looked at."""
    if not diagnosis.num_steps:
        return "No step was recorded."
    steps = (
        "1 recorded step" if diagnosis.num_steps == 1 else f"{diagnosis.num_steps} recorded steps"
    )
    span = f"{diagnosis.first_step} to {diagnosis.last_step}" if diagnosis.num_steps > 1 else "1"
    return f"Looked at {steps} ({span}) of {diagnosis.num_parameters} parameters."


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
