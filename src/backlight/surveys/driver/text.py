"""The text of a command: its rows, what the model cannot read of it, and what is told of it."""

import logging
from collections.abc import Mapping
from typing import Any

from backlight.data.batches import Passages
from backlight.data.corpora import RowReader, Rows
from backlight.models.reading import refuse_unreadable
from backlight.models.subject import Subject
from backlight.surveys.driver.options import TextOptions

_logger = logging.getLogger(__name__)

_REASONS = {
    "blank": "blank",
    "too_short": "of too few characters (--min_characters)",
    "fewer_than_two_tokens": "of fewer than two tokens",
}


def rows_of(config: TextOptions, num_samples: int) -> Rows:
    """Read the first rows that count of the text that some options name.

    Args:
        config: The options.
        num_samples: How many rows.

    Returns:
        The rows.
    """
    return RowReader(
        config.dataset,
        text_column=config.text_column,
        split=config.split,
        min_characters=config.min_characters,
        passage_length=config.max_length,
    ).first(num_samples)


def check_passages(subject: Subject, passages: Passages, max_length: int) -> None:
    """Refuse passages that a model cannot read, and log what of the text is not in them.

    Args:
        subject: The model.
        passages: What is to be measured.
        max_length: Where passages were cut, in tokens.

    Raises:
        ConfigError: If passages are longer than the model reads.
        DatasetError: If there are tokens that the model has not.
    """
    remedy = f"lower --max_length (now {max_length})"
    refuse_unreadable(subject, passages.tokens, kind="passage", remedy=remedy)
    told = tell_account(passages.account(), max_length)
    if told:
        _logger.info("%s", told)


def tell_account(account: Mapping[str, Any], max_length: int) -> str:
    """Say what of a text was not measured.

    Args:
        account: What became of the corpus, from ``Passages.account``.
        max_length: Where passages were cut, in tokens.

    Returns:
        One line; empty if all of the text was measured.
    """
    left_out: Mapping[str, int] = account.get("left_out", {})
    lines: list[str] = []
    if left_out:
        reasons = [
            f"{left_out[name]:,} {told}" for name, told in _REASONS.items() if name in left_out
        ]
        lines.append(f"Rows left out: {', '.join(reasons)}.")
    if account.get("num_cut"):
        lines.append(
            f"Cut at {max_length} tokens: {account['num_cut']:,} of {account['num_passages']:,} "
            "passages."
        )
    if account.get("num_unknown"):
        share = account["num_unknown"] / account["num_tokens"]
        lines.append(
            f"Unknown to the tokenizer: {account['num_unknown']:,} tokens ({100 * share:.1f} %)."
        )
    return " ".join(lines)


def account_lines(metadata: Mapping[str, Any], max_length: int) -> list[str]:
    """Say what of a text was not measured, from the metadata of results.

    Args:
        metadata: The metadata; those of earlier versions say nothing of the text.
        max_length: Where passages were cut, in tokens.

    Returns:
        One line, or none.
    """
    told = tell_account(metadata.get("text", {}), max_length)
    return [told] if told else []
