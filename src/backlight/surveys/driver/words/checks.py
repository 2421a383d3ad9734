"""What numerical checks come to, in words."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from backlight.surveys.driver.words.sentences import number
from backlight.tables import Table

CHECKS = "checks"
"""The name of the table of checks, and of what a run's metadata says of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What checks come to.

    Attributes:
        num_made: How many were made.
        not_fine: Those that are not fine, each as what was compared with what.
        not_made: Those that could not be made, likewise.
    """

    num_made: int
    not_fine: tuple[str, ...]
    not_made: tuple[str, ...]

    @property
    def is_fine(self) -> bool:
        """Whether all that were made are fine."""
        return not self.not_fine

    @property
    def line(self) -> str:
        """All of it in one line."""
        fine = f"{self.num_made - len(self.not_fine)} of {self.num_made} fine"
        bad = f"; NOT FINE: {'; '.join(self.not_fine)}" if self.not_fine else ""
        rest = f" ({len(self.not_made)} more not made)" if self.not_made else ""
        return f"Numerical checks: {fine}{rest}{bad}."

    def to_json(self) -> dict[str, Any]:
        """Return it as a run's metadata keep it."""
        return {
            "num_made": self.num_made,
            "not_fine": list(self.not_fine),
            "not_made": list(self.not_made),
            "line": self.line,
        }


def judgement_of(checks: Table) -> Judgement:
    """Sum a table of checks up.

    Args:
        checks: The table.

    Returns:
        What its rows come to.
    """
    named: dict[str, list[str]] = {"fine": [], "not fine": [], "not made": []}
    for row in range(checks.num_rows):
        named[str(checks["verdict"][row])].append(_name(checks, row))
    return Judgement(
        num_made=len(named["fine"]) + len(named["not fine"]),
        not_fine=tuple(named["not fine"]),
        not_made=tuple(named["not made"]),
    )


def check_lines(metadata: Mapping[str, Any]) -> list[str]:
    """Return the line about a run's numerical checks; none if there were none."""
    return [str(metadata[CHECKS]["line"])] if CHECKS in metadata else []


def sentences_of(checks: Table, verdict: str) -> Iterator[str]:
    """Tell each check of one verdict, with what to do about it.

    Args:
        checks: The table.
        verdict: Such as ``not fine``.

    Yields:
        A few sentences each.
    """
    for row in range(checks.num_rows):
        if checks["verdict"][row] == verdict:
            told = "".join(_differences(checks, row))
            yield f"{verdict.upper()}: {_name(checks, row)}{told}. {checks['words'][row]}".strip()


def _name(checks: Table, row: int) -> str:
    return f"{checks['what'][row]} against {checks['against'][row]}"


def _differences(checks: Table, row: int) -> Iterator[str]:
    gradient, loss = checks["gradient_difference"][row], checks["loss_difference"][row]
    site = str(checks["site"][row])
    at = f" at {site}" if site else ""
    if gradient == gradient:
        most = number(float(checks["gradient_tolerance"][row]), 1)
        yield f"; gradients differ by {number(float(gradient), 2)} of the largest"
        yield f"{at} (fine: {most})"
    elif site:
        yield at
    if loss == loss:
        most = number(float(checks["loss_tolerance"][row]), 1)
        yield f"; the loss by {number(float(loss), 2)} of it (fine: {most})"
