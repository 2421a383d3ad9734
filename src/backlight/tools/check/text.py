"""What ``backlight check`` prints: a line, the table, and what to do."""

from collections.abc import Callable

from backlight.models.subject import Subject
from backlight.surveys.driver.words.checks import judgement_of, sentences_of
from backlight.surveys.driver.words.printing import Column, Shown, print_shown
from backlight.surveys.driver.words.sentences import number
from backlight.tables import Table
from backlight.tools.check.options import CheckConfig

_CAPTION = (
    "gradient: largest difference, as a share of the largest gradient of its site in the passage.\n"
    "loss: largest difference, as a share of the passage's loss."
)


def print_checks(config: CheckConfig, subject: Subject, checks: Table) -> None:
    """Print checks.

    Args:
        config: The options.
        subject: The model.
        checks: The table.
    """
    line = judgement_of(checks).line
    if config.quiet:
        print_shown([line])
        return
    facts = [subject.facts[name] for name in ("dtype", "attention_kernel") if name in subject.facts]
    shown = Shown(
        table=checks,
        columns=[
            Column("compared", "what", wraps=True),
            Column("with", "against", wraps=True),
            Column("sites", cell=_sites),
            Column("gradient", cell=_difference("gradient")),
            Column("at", "site", wraps=True),
            Column("loss", cell=_difference("loss")),
            Column("verdict", "verdict"),
        ],
        title=f"{config.model_name} ({', '.join(facts)})",
        caption=_CAPTION,
    )
    told = [
        f"\n{sentence}"
        for verdict in ("not fine", "not made")
        for sentence in sentences_of(checks, verdict)
    ]
    print_shown([shown, *told, f"\n{line}"])


def _sites(table: Table, row: int) -> str:
    return str(table["num_sites"][row] or "")


def _difference(what: str) -> Callable[[Table, int], str]:
    """Write a difference, and what would be fine."""

    def cell(table: Table, row: int) -> str:
        found = float(table[f"{what}_difference"][row])
        most = float(table[f"{what}_tolerance"][row])
        if found != found or (found == most == 0):
            return number(found) if found == 0 else ""
        return f"{number(found, 2)} {'>' if found > most else '<'} {most:g}"

    return cell
