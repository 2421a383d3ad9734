"""What of a text was not measured, in words."""

from collections.abc import Callable, Mapping
from typing import Any

from backlight.surveys.driver.words.printing import Column, Sign
from backlight.surveys.driver.words.reached import precision_lines
from backlight.tables import Table

_REASONS = {
    "blank": "blank",
    "too_short": "of too few characters (--min_characters)",
    "fewer_than_two_tokens": "of fewer than two tokens",
    "no_completion": "without a completion",
    "completion_cut_off": "whose completion begins behind the cut (--max_length)",
    "boundary_in_token": "whose completion begins or ends within a token",
}


def tell_account(account: Mapping[str, Any], max_length: int) -> str:
    """Describe what of a text was not measured, and of which tokens the loss is, if not of all.

    Args:
        account: What became of the corpus, from ``Passages.account``.
        max_length: Where passages were cut, in tokens.

    Returns:
        One line; empty if all of the text was measured.
    """
    left_out: Mapping[str, int] = account.get("left_out", {})
    lines = counted_lines(account)
    if left_out:
        reasons = [f"{left_out[key]:,} {why}" for key, why in _REASONS.items() if key in left_out]
        lines.append(f"Rows left out: {', '.join(reasons)}.")
    if account.get("num_cut"):
        lines.append(
            f"Cut at {max_length} tokens: {account['num_cut']:,} of {account['num_passages']:,} "
            "passages read."
        )
    if account.get("num_unknown"):
        share = account["num_unknown"] / account["num_tokens"]
        lines.append(
            f"Unknown to the tokenizer: {account['num_unknown']:,} tokens ({100 * share:.1f} %)."
        )
    return " ".join(lines)


def counted_lines(account: Mapping[str, Any]) -> list[str]:
    """Say which tokens the loss counts, and over which is averaged, where it does not count all.

    Args:
        account: What became of the corpus, from ``Passages.account``.

    Returns:
        A line, or none.
    """
    if "num_counted" not in account:
        return []
    return [
        f"The loss counts {account['num_counted']:,} of {account['num_tokens']:,} tokens, those of "
        "completions; averages over tokens are over all, prompts too."
    ]


COUNTED = Sign("⟦⟧", "In contexts, what the loss counts stands in ⟦…⟧.")
"""The marks in contexts, where the loss counts some tokens only."""


def context_lines(metadata: Mapping[str, Any]) -> list[str]:
    """Explain the marks in contexts, where the loss counts some tokens only.

    Args:
        metadata: The metadata of the results.

    Returns:
        A line, or none.
    """
    is_marked = "num_counted" in metadata.get("text", {})
    return [COUNTED.meaning] if is_marked else []


def context_column(
    heading: str, name: str = "", *, cell: Callable[[Table, int], str] | None = None
) -> Column:
    """Make a column of tokens in their contexts.

    Args:
        heading: What stands above it.
        name: The column of the table.
        cell: Makes the text of a cell from a row of the table, instead of ``name``.

    Returns:
        The column.
    """
    return Column(heading, name, cell=cell, wraps=True, is_context=True, sign=COUNTED)


def corpus_lines(options: Any, metadata: Mapping[str, Any]) -> list[str]:
    """Describe what a reader of any table of a corpus must know: what was left out, which model.

    Args:
        options: The options of the run.
        metadata: The metadata of its results; those of earlier versions say nothing of the text.

    Returns:
        A line each; none where there is nothing to say.
    """
    told = tell_account(metadata.get("text", {}), options.max_length)
    model = f"Model: {metadata['note']}." if "note" in metadata else ""
    return [line for line in (*precision_lines(metadata), told, model) if line]
