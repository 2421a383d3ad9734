"""How sure the numbers became, among the findings of a run."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from backlight.surveys.driver.results.findings import Findings
from backlight.surveys.driver.words.reached import PRECISION


def with_precision(findings: Findings, told: Mapping[str, Any] | None) -> Findings:
    """Put into the metadata of findings how sure the numbers became.

    Args:
        findings: What was found.
        told: What ``Stopping.told`` says; None if nothing was asked.

    Returns:
        The findings.
    """
    if told is None:
        return findings
    return replace(findings, metadata={**findings.metadata, PRECISION: told})
