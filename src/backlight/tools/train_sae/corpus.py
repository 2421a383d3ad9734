"""The text of ``backlight train-sae``: as much as was asked for, and what of it is held out."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backlight.data.batches import Passages, bucket
from backlight.data.encoding import Encoder
from backlight.errors import ConfigError, DatasetError, quoted
from backlight.models.subject import Subject
from backlight.surveys.driver.material.opening import check_passages
from backlight.surveys.driver.material.rows import reader_of
from backlight.tools.train_sae.options import TrainSaeConfig


def passages_of(config: TrainSaeConfig, subject: Subject) -> Passages:
    """Read as many passages as it takes to have the tokens that were asked for.

    Args:
        config: The options.
        subject: The model.

    Returns:
        The first passages of the corpus.

    Raises:
        DatasetError: If the corpus has fewer tokens, or tokens that the model does not have.
    """
    encoder = Encoder(subject.tokenizer, max_length=config.max_length)
    tokens: list[NDArray[np.int64]] = []
    num_tokens = 0
    reader = reader_of(config)
    for passage in encoder.passages(reader):
        tokens.append(passage)
        num_tokens += len(passage)
        if num_tokens >= config.num_tokens:
            break
    else:
        raise DatasetError(
            f"{quoted(config.dataset)} has {num_tokens} tokens in passages of at most "
            f"{config.max_length}, and {config.num_tokens} were asked for. Lower --num_tokens, or "
            "name a longer text."
        )
    passages = Passages.of(tokens, encoder, reader.left_out)
    check_passages(subject, passages, config.max_length)
    return passages


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
