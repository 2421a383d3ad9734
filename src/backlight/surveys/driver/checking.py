"""The numbers of a model checked on a few passages, with progress, as a table that a run keeps."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from backlight.capture.checking.check import Check
from backlight.capture.checking.every import NUM_STEPS, check_all
from backlight.capture.checking.sample import Sample
from backlight.data.batches import Passages
from backlight.models.subject import Subject
from backlight.surveys.driver.results.findings import Findings
from backlight.surveys.driver.words.bars import TRIALS
from backlight.surveys.driver.words.checks import CHECKS, Judgement, judgement_of, sentences_of
from backlight.surveys.driver.words.progress import Bar
from backlight.tables import Table

MAX_LENGTH = 48
"""The longest passage of a sample, in tokens."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Done:
    """One step, as a step of progress."""

    num_tokens: int = 1
    resumable: bool = False


def check_numbers(
    subject: Subject,
    passages: Passages,
    *,
    max_length: int = MAX_LENGTH,
    seed: int = 0,
    quiet: bool = False,
) -> Table:
    """Check a model's numbers on the first passages of a text.

    Args:
        subject: The model; nobody may have borrowed it.
        passages: The text.
        max_length: The longest passage, in tokens.
        seed: Determines which sites are chosen where not all are.
        quiet: Show no progress.

    Returns:
        A row for each comparison.
    """
    sample = Sample.of(subject, passages, max_length=max_length, seed=seed)
    found: list[Check] = []
    with Bar("numerical checks", total=NUM_STEPS, unit=TRIALS, quiet=quiet) as bar:
        for step in check_all(sample):
            found += step.checks
            bar.after(_Done())
            if step.following:
                bar.tell(f"numerical checks: {step.following}")
    return table_of(found)


def table_of(checks: Sequence[Check]) -> Table:
    """Tabulate checks.

    Args:
        checks: The checks.

    Returns:
        A row for each; a difference that was not looked at is NaN.
    """
    columns = {
        "what": np.array([each.what for each in checks]),
        "against": np.array([each.against for each in checks]),
        "num_sites": np.array([each.num_sites for each in checks]),
        "gradient_difference": np.array([each.gradient for each in checks]),
        "site": np.array([each.site for each in checks]),
        "loss_difference": np.array([each.loss for each in checks]),
        "gradient_tolerance": np.array([each.tolerance.gradient for each in checks]),
        "loss_tolerance": np.array([each.tolerance.loss for each in checks]),
        "verdict": np.array([each.verdict for each in checks]),
        "words": np.array([each.words for each in checks]),
    }
    of_gradients, of_losses = "of the largest gradient", "of the loss"
    units = {
        "gradient_difference": of_gradients,
        "gradient_tolerance": of_gradients,
        "loss_difference": of_losses,
        "loss_tolerance": of_losses,
    }
    return Table(name=CHECKS, columns=columns, units=units)


def with_checks(findings: Findings, checks: Table) -> Findings:
    """Put checks with the findings of a run, and warn of those that are not fine.

    Args:
        findings: What was found.
        checks: The checks of the same model.

    Returns:
        The findings, with one more table and what its rows come to.
    """
    judgement: Judgement = judgement_of(checks)
    for sentence in sentences_of(checks, "not fine"):
        _logger.warning("%s", sentence)
    return replace(
        findings,
        tables=[*findings.tables, checks],
        metadata={**findings.metadata, CHECKS: judgement.to_json()},
    )
