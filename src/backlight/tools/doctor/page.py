"""A diagnosis as one page: findings in words, and the history as pictures."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backlight.report.page import Paragraph, Picture, Section, page, refuse_page
from backlight.report.rendering import png
from backlight.runs.files import write_file
from backlight.tables import Table
from backlight.tools.doctor.pictures import DoctorReport, Grid, Mark, draw_doctor
from backlight.tools.doctor.text import heading, meaning, recorded, tone
from backlight.training.doctor.findings import Diagnosis, Finding
from backlight.training.log.history import History, block_of

_LARGEST = 1e100
_TONES = {"healthy": "good", "warning": "odd", "error": "bad"}


def write_page(path: Path, history: History, diagnosis: Diagnosis, *, title: str) -> None:
    """Write the page of a diagnosis.

    Args:
        path: The file.
        history: What was recorded.
        diagnosis: What was found in it.
        title: What was examined.

    Raises:
        ConfigError: If something is there that is no page of backlight.
        StorageError: If it cannot be written.
    """
    refuse_page(path)
    with np.errstate(all="ignore"):  # what a stranger's log holds may have any size
        sections = list(_sections(history, diagnosis))
    content = page(
        f"Doctor: {title}",
        sections,
        mark=diagnosis.verdict,
        tone=_TONES[tone(diagnosis)],
    )
    write_file(path, content)


def report_of(history: History, diagnosis: Diagnosis) -> DoctorReport:
    """Collect what the pictures show.

    Args:
        history: What was recorded.
        diagnosis: What was found in it.

    Returns:
        Tables and grids: by block where there are several, else by module.
    """
    groups = history.layer_norms()
    several = len(groups.names) > 1
    groups = history.norms_by(lambda info: (several and block_of(info)) or info.module)
    broken = np.where(np.isfinite(groups.norms), groups.norms, np.inf)
    shown = np.where(groups.present, _drawable(broken), np.nan)
    steps = np.concatenate([history.steps, history.loss_steps])
    first, last = (int(steps.min()), int(steps.max())) if len(steps) else (0, 0)
    return DoctorReport(
        norms=Table(
            name="norms",
            columns={
                "step": history.steps,
                "norm": _drawable(history.global_norm),
                "clipped_norm": _drawable(history.clipped_norm),
            },
        ),
        losses=Table(
            name="losses", columns={"step": history.loss_steps, "loss": _drawable(history.losses)}
        ),
        gradients=Grid(names=list(groups.names), steps=history.steps, values=shown),
        updates=_updates(history),
        marks=[
            Mark(step=finding.since_step, number=number, severity=finding.severity)
            for number, finding in enumerate(diagnosis.findings, start=1)
            if first <= finding.since_step <= last
        ],
    )


def _sections(history: History, diagnosis: Diagnosis) -> Iterator[Section]:
    told = [meaning(diagnosis), history.understood, recorded(diagnosis)]
    yield Section(heading="", paragraphs=[Paragraph(text=text) for text in told if text])
    for number, finding in enumerate(diagnosis.findings, start=1):
        yield Section(
            heading=f"{number}. {heading(finding)}",
            paragraphs=list(_paragraphs(finding)),
            mark=finding.verdict,
            tone="bad" if finding.severity == "error" else "odd",
        )
    pictures = [
        Picture(png=png(figure), caption=caption)
        for _, caption, figure in draw_doctor(report_of(history, diagnosis))
    ]
    if pictures:
        yield Section(heading="What was recorded", pictures=pictures)
    told = [Paragraph(label="Not observed:", text=text) for text in diagnosis.not_observed]
    told += [Paragraph(label="Note:", text=text) for text in diagnosis.notes]
    if told:
        yield Section(heading="What this does not say", paragraphs=told)


def _paragraphs(finding: Finding) -> Iterator[Paragraph]:
    yield Paragraph(label="Seen:", text=finding.evidence)
    for each in finding.followed_by:
        yield Paragraph(label="Then:", text=f"{each.title}: {each.place}, {each.when}.")
    yield Paragraph(label="Likely:", text=finding.cause[0].upper() + finding.cause[1:])
    yield Paragraph(label="Try:", text=finding.remedy[0].upper() + finding.remedy[1:])


def _updates(history: History) -> Grid | None:
    """Return the update-to-weight ratio of matrices."""
    ratios = history.statistics.get("update_ratio")
    columns = [place for place, info in enumerate(history.parameters) if len(info.shape) >= 2]
    if ratios is None or not columns or not len(history.steps):
        return None
    columns.sort(key=lambda place: history.parameters[place].depth)
    return Grid(
        names=[history.parameters[place].name for place in columns],
        steps=history.steps,
        values=_drawable(ratios[:, columns]),
    )


def _drawable(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take numbers that no axis can hold for infinite, or for zero."""
    sizes = np.abs(values)
    limited = np.where(sizes > _LARGEST, np.inf * np.sign(values), values)
    return np.where(sizes < 1 / _LARGEST, 0.0, limited)
