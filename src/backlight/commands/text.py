"""What is told of a text: rows that were left out and why, and what was cut."""

import logging
from collections.abc import Mapping
from typing import Any

__all__ = ["account_lines", "log_account", "tell_account"]

_logger = logging.getLogger(__name__)

_REASONS = {
    "blank": "blank",
    "too_short": "of too few characters (--min_characters)",
    "fewer_than_two_tokens": "of fewer than two tokens",
}


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


def log_account(account: Mapping[str, Any], max_length: int) -> None:
    """Log what of a text was not measured, if there is anything.

    Args:
        account: What became of the corpus, from ``Passages.account``.
        max_length: Where passages were cut, in tokens.
    """
    told = tell_account(account, max_length)
    if told:
        _logger.info("%s", told)
