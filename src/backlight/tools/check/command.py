"""``backlight check``: do different ways to the same gradient agree on this model."""

from dataclasses import dataclass
from typing import Any

from backlight.capture.checking.sample import NUM_PASSAGES
from backlight.data.batches import Passages, tokenize
from backlight.data.corpora import RowReader
from backlight.data.given import Given
from backlight.models.loading import subject_of
from backlight.models.subject import Subject
from backlight.surveys.driver.checking import check_numbers
from backlight.surveys.driver.material.opening import check_passages, load, log_account, settle
from backlight.surveys.driver.options.reading import resolve
from backlight.surveys.driver.options.shared import SHIPPED
from backlight.surveys.driver.words.checks import Judgement, judgement_of
from backlight.tables import Table
from backlight.tools.check.options import CheckConfig
from backlight.tools.check.text import print_checks

_QUESTIONS = (
    "distance(c_1234,c_2045)=",
    "angle(c_0012,c_0345,c_6789)=",
    "distance(c_12,c_5)=",
    "area(c_1,c_2,c_3)=",
)
"""What the shipped model is asked: it can read nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """Numerical checks of a model.

    Attributes:
        table: A row for each comparison: ``what`` was compared ``against`` what, at how many sites,
            the largest difference of a gradient (as a share of the largest of its site in the
            passage) and at which site, that of the loss, what is fine, and the verdict: ``fine``,
            ``not fine`` or ``not made``, with what to do, or why.
    """

    table: Table

    @property
    def is_fine(self) -> bool:
        """Whether all that could be compared is fine."""
        return self._judgement.is_fine

    @property
    def line(self) -> str:
        """What the checks come to, in a line."""
        return self._judgement.line

    @property
    def _judgement(self) -> Judgement:
        return judgement_of(self.table)

    def _repr_html_(self) -> str:
        return self.table.to_html()


def check(subject: object = None, **options: Any) -> Checks:
    """Check whether different ways to the same gradients agree on a model; nothing is printed.

    The same as the command ``backlight check MODEL``.

    Args:
        subject: A model that is already loaded (a subject, or what ``subject_from_object`` takes
            by itself); its options then have no place here. None for the one that ``model_name``
            names.
        **options: Options by the names of the command's flags.

    Returns:
        The checks.

    Raises:
        ConfigError: If an option does not exist or does not fit, or is one for loading a model
            although there is a subject.

    Examples:
        >>> import backlight
        >>> checks = backlight.check(model_name="city")
        >>> checks.is_fine
        True
        >>> str(checks.table["what"][4]), str(checks.table["against"][4])
        ('with pads on the right', 'alone, no pads')
    """
    model = subject_of(subject)
    config = settle(resolve(CheckConfig, None, {"quiet": True, **options}), model)
    return _checked(config, load(config) if model is None else model)


def run(config: CheckConfig) -> int:
    """Carry out ``backlight check`` and print the table.

    Args:
        config: Its options.

    Returns:
        The exit status: 0 if all that could be compared is fine, else 1.
    """
    subject = load(config)
    checks = _checked(config, subject)
    print_checks(config, subject, checks.table)
    return 0 if checks.is_fine else 1


def _checked(config: CheckConfig, subject: Subject) -> Checks:
    table = check_numbers(
        subject,
        _passages(config, subject),
        max_length=config.max_length,
        seed=config.seed,
        quiet=config.quiet,
    )
    return Checks(table=table)


def _passages(config: CheckConfig, subject: Subject) -> Passages:
    default = Given(_QUESTIONS) if config.model_name == SHIPPED else "shakespeare"
    rows = RowReader(
        default if config.dataset is None else config.dataset,
        text_column=config.text_column,
        split=config.split,
        min_characters=None,
        passage_length=config.max_length,
    ).first(NUM_PASSAGES)
    passages = tokenize(rows, subject.tokenizer, max_length=config.max_length)
    check_passages(subject, passages, config.max_length)
    log_account(passages, config.max_length)
    return passages
