"""The text that some options name: its rows, and the tokens that a model makes of them."""

from dataclasses import replace
from pathlib import Path

from backlight.data.batches import Passages, tokenize
from backlight.data.completions import tokenize_conversations
from backlight.data.conversations import Conversations, read_conversations
from backlight.data.corpora import RowReader, Rows
from backlight.data.encoding import CutsText
from backlight.data.lines import read_whole
from backlight.errors import ConfigError, DatasetError
from backlight.surveys.driver.options.precision import may_stop
from backlight.surveys.driver.options.samples import most_samples
from backlight.surveys.driver.options.shared import CorpusOptions, TextOptions


def reader_of(
    options: TextOptions, *, num_samples: int | None = None, draws: int | None = None
) -> RowReader:
    """Open the text that some options name; see ``RowReader`` for the others."""
    return RowReader(
        options.dataset,
        text_column=options.text_column,
        split=options.split,
        min_characters=options.min_characters,
        passage_length=options.max_length,
        num_samples=num_samples,
        draws=draws,
    )


def rows_of(options: TextOptions, num_samples: int) -> Rows:
    """Read the first rows that count of the text that some options name."""
    return reader_of(options, num_samples=num_samples).first(num_samples)


def corpus_rows(options: CorpusOptions) -> Rows | Conversations:
    """Read the rows that are measured.

    Args:
        options: Which text, and which of its tokens count.

    Returns:
        Texts or token ids of which all counts, or conversations.

    Raises:
        DatasetError: If they cannot be read, or none counts.
    """
    num_samples = most_samples(options.num_samples)
    if options.loss_on == "all":
        draws = options.seed if may_stop(options) else None
        return reader_of(options, num_samples=num_samples, draws=draws).first(num_samples)
    return read_conversations(
        options.dataset,
        columns=options.named_columns,
        split=options.split,
        min_characters=options.min_characters or 0,
        num_samples=num_samples,
        looks_on=may_stop(options),
    )


def corpus_passages(
    options: CorpusOptions, rows: Rows | Conversations, tokenizer: CutsText
) -> Passages:
    """Make tokens of rows.

    Args:
        options: How long passages are, and by which template chats are written.
        rows: What ``corpus_rows`` read.
        tokenizer: The model's.

    Returns:
        The passages, of conversations with the tokens that count if not all do.

    Raises:
        DatasetError: If nothing is left, or where completions begin cannot be told.
    """
    if isinstance(rows, Rows):
        return tokenize(rows, tokenizer, max_length=options.max_length)
    passages = tokenize_conversations(
        rows,
        tokenizer,
        max_length=options.max_length,
        chat_template=_template(options.chat_template),
    )
    return replace(passages, counted=None) if options.loss_on == "conversation" else passages


def _template(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return read_whole(path)
    except DatasetError as error:
        raise ConfigError(f"The chat template cannot be read: {error}") from error
