"""A diagnosis as one page: findings in words, and what was recorded as charts and maps."""

from collections.abc import Iterator, Mapping

import numpy as np

from backlight.report.page.views import Page, Paragraph, Prose, Tone, View
from backlight.training.doctor.findings import Diagnosis, Finding
from backlight.training.doctor.words import heading, meaning, recorded, tone
from backlight.training.log.history import History
from backlight.training.showing.course import course
from backlight.training.showing.maps import gradients, updates

_TONES: Mapping[str, Tone] = {"healthy": "good", "warning": "odd", "error": "bad"}


def page_of(
    history: History, diagnosis: Diagnosis, *, title: str, commands: Mapping[str, str] | None = None
) -> Page:
    """Put the page of a diagnosis together.

    Args:
        history: What was recorded.
        diagnosis: What was found in it.
        title: What was examined.
        commands: How to do it again, by what each does.

    Returns:
        The page.
    """
    told = [meaning(diagnosis), history.understood, recorded(diagnosis)]
    with np.errstate(all="ignore"):  # what a stranger's log holds may have any size
        views = list(_views(history, diagnosis))
    return Page(
        title=f"Doctor: {title}",
        summary=[text for text in told if text],
        views=views,
        commands=commands or {},
        mark=diagnosis.verdict,
        tone=_TONES[tone(diagnosis)],
    )


def _views(history: History, diagnosis: Diagnosis) -> Iterator[View]:
    for number, finding in enumerate(diagnosis.findings, start=1):
        yield Prose(
            title=f"{number}. {heading(finding)}",
            paragraphs=list(_paragraphs(finding)),
            mark=finding.verdict,
            tone="bad" if finding.severity == "error" else "odd",
        )
    for show in (course, gradients, updates):
        yield from show(history, diagnosis)
    told = [Paragraph(label="Not observed:", text=text) for text in diagnosis.not_observed]
    told += [Paragraph(label="Note:", text=text) for text in diagnosis.notes]
    if told:
        yield Prose(title="What this does not say", paragraphs=told)


def _paragraphs(finding: Finding) -> Iterator[Paragraph]:
    yield Paragraph(label="Seen:", text=finding.evidence)
    for each in finding.followed_by:
        yield Paragraph(label="Then:", text=f"{each.title}: {each.place}, {each.when}.")
    yield Paragraph(label="Likely:", text=finding.cause[0].upper() + finding.cause[1:])
    yield Paragraph(label="Try:", text=finding.remedy[0].upper() + finding.remedy[1:])
