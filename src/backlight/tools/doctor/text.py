"""A diagnosis in plain words, for the terminal."""

from collections.abc import Iterator

from rich.markup import escape
from rich.padding import Padding

from backlight.surveys.driver.words.terminal import console
from backlight.training.doctor.findings import Diagnosis, Finding
from backlight.training.doctor.words import heading, meaning, recorded, tone

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


def _paragraph(finding: Finding) -> Iterator[tuple[str, str]]:
    yield "Seen:", finding.evidence
    if finding.followed_by:
        told = [f"{each.title} ({each.place}, {each.when})" for each in finding.followed_by[:4]]
        more = len(finding.followed_by) - len(told)
        yield "Then:", "; ".join(told) + (f"; and {more} more." if more else ".")
    yield "Likely:", finding.cause[0].upper() + finding.cause[1:]
    yield "Try:", finding.remedy[0].upper() + finding.remedy[1:]
