"""What ``backlight check`` prints: the table, what to do, and all of it in a line."""

from collections.abc import Callable

from rich.text import Text

from backlight.models.subject import Subject
from backlight.surveys.driver.words.checks import judgement_of, sentences_of
from backlight.surveys.driver.words.lines import print_lines, wrapped
from backlight.surveys.driver.words.parts import lines_of
from backlight.surveys.driver.words.printing import Column, Shown
from backlight.surveys.driver.words.sentences import name, number
from backlight.tables import Table
from backlight.tools.check.options import CheckConfig

_MEANING = (
    "gradient: the largest difference, as a share of the largest gradient of its site in the "
    "passage; loss: as a share of the passage's loss; at: where it was. Of this number format "
    "fine is a gradient up to {gradient} and a loss up to {loss}, and less where no rounding lies "
    "between (each row's bounds are in the table that `backlight.check` returns in Python)."
)


def print_checks(config: CheckConfig, subject: Subject, checks: Table) -> None:
    """Print checks.

    Args:
        config: The options.
        subject: The model.
        checks: The table.
    """
    line = wrapped([judgement_of(checks).line])
    if config.quiet:
        print_lines(line)
        return
    facts = [subject.facts[key] for key in ("dtype", "attention_kernel") if key in subject.facts]
    told = [
        each
        for verdict in ("not fine", "not made")
        for sentence in sentences_of(checks, verdict)
        for each in (*wrapped([sentence]), Text())
    ]
    print_lines(
        [
            *wrapped(
                [
                    f"Do different ways to the gradients of {name(config.model_name)} agree "
                    f"({', '.join(facts)})?"
                ]
            ),
            Text(),
            *lines_of(_shown(checks)),
            Text(),
            *wrapped([_MEANING.format(**_largest_tolerances(checks))]),
            Text(),
            *told,
            *line,
        ]
    )


def _shown(checks: Table) -> Shown:
    return Shown(
        table=checks,
        columns=[
            Column("verdict", "verdict"),
            Column("compared", "what", wraps=True),
            Column("with", "against", wraps=True),
            Column("gradient", cell=_difference("gradient")),
            Column("loss", cell=_difference("loss")),
            Column("at", "site", wraps=True),
        ],
    )


def _difference(what: str) -> Callable[[Table, int], str]:
    def cell(table: Table, row: int) -> str:
        found = float(table[f"{what}_difference"][row])
        return "" if found != found else number(found, 2)

    return cell


def _largest_tolerances(checks: Table) -> dict[str, str]:
    return {
        what: number(float(checks[f"{what}_tolerance"].max()), 1) for what in ("gradient", "loss")
    }
