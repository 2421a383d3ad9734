"""The text of ``backlight train-sae``: as much as was asked for, and what of it is held out."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backlight.config import TrainSaeConfig
from backlight.data.batches import Passages, bucket, tokenize
from backlight.data.corpora import read_rows
from backlight.errors import ConfigError, DatasetError
from backlight.models.subject import Tokenizer

__all__ = ["divided", "first_batches", "passages_of", "rows_of"]


def rows_of(config: TrainSaeConfig, num_samples: int) -> list[str]:
    """Read the first rows of the corpus.

    Args:
        config: The options.
        num_samples: How many rows.

    Returns:
        The rows; fewer if there are fewer.
    """
    return read_rows(
        config.dataset,
        num_samples=num_samples,
        text_column=config.text_column,
        split=config.split,
    )


def passages_of(config: TrainSaeConfig, tokenizer: Tokenizer) -> Passages:
    """Read as many passages as it takes to have the tokens that were asked for.

    Args:
        config: The options.
        tokenizer: The model's.

    Returns:
        The first passages of the corpus.

    Raises:
        DatasetError: If the corpus has fewer tokens.
    """
    tokens: list[NDArray[np.int64]] = []
    num_rows = num_tokens = 0
    num_wanted = math.ceil(config.num_tokens / config.max_length)
    while num_tokens < config.num_tokens:
        rows = rows_of(config, num_wanted)
        if len(rows) == num_rows:
            raise DatasetError(
                f"{config.dataset!r} has {num_tokens} tokens in passages of at most "
                f"{config.max_length}, and {config.num_tokens} were asked for. Lower --num_tokens, "
                "or name a longer text."
            )
        read = tokenize(rows[num_rows:], tokenizer, max_length=config.max_length)
        num_rows, num_wanted = len(rows), 2 * num_wanted
        for passage in read.tokens:
            if num_tokens < config.num_tokens:
                tokens.append(passage)
                num_tokens += len(passage)
    return Passages(tokens=tokens)


def divided(passages: Passages, config: TrainSaeConfig) -> tuple[Passages, Passages]:
    """Hold out the last passages.

    Args:
        passages: The corpus.
        config: The options, with the share of the tokens to hold out.

    Returns:
        The passages to learn from, and those to measure on.

    Raises:
        ConfigError: If what is left is not enough for a single step.
    """
    ends = np.cumsum([len(passage) for passage in passages.tokens])
    cut = int(np.searchsorted(ends, (1.0 - config.held_out) * ends[-1], side="right"))
    cut = min(cut, len(ends) - 1)
    taught, held_out = passages.tokens[:cut], passages.tokens[cut:]
    num_tokens = sum(len(passage) - 1 for passage in taught)
    if num_tokens < config.tokens_per_step:
        raise ConfigError(
            f"Only {num_tokens} tokens are left to learn from, without those held out and the "
            f"first of each passage: not enough for a step of {config.tokens_per_step}. Raise "
            "--num_tokens, or lower --tokens_per_step."
        )
    return Passages(tokens=taught), Passages(tokens=held_out)


def first_batches(
    passages: Passages, config: TrainSaeConfig, num_tokens: int
) -> Sequence[tuple[int, ...]]:
    """Choose batches that hold about so many tokens.

    Args:
        passages: Where from.
        config: The options.
        num_tokens: How many tokens are enough.

    Returns:
        The members of each batch, at least one.
    """
    batches = bucket(passages, batch_size=config.batch_size, seed=config.seed)
    sizes = [sum(len(passages.tokens[member]) for member in members) for members in batches]
    return batches[: int(np.searchsorted(np.cumsum(sizes), num_tokens)) + 1]
