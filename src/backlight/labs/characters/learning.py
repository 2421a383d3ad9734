"""A network learns characters: what several experiments do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from backlight.data.characters import (
    Characters,
    characters_of,
    draw_batch,
    read_characters,
    shipped_text,
)
from backlight.data.lines import read_whole
from backlight.errors import ConfigError, DatasetError, NonFiniteError
from backlight.labs.frame.options import CharacterOptions
from backlight.learning_rules import LocalGPT, LocalGPTConfig

_NUM_HELD_OUT, _AT_ONCE = 512, 64

Observations = Mapping[int, Callable[[], None]]
"""What is done before some steps (from 0), or, under the number of steps, at the end."""

Batch = tuple[Int[Tensor, "batch positions"], Int[Tensor, "batch positions"]]


def open_text(config: CharacterOptions) -> Characters:
    """Read the text that is learned.

    Args:
        config: The options: a text, or a folder in nanoGPT's form, or neither.

    Returns:
        The characters.

    Raises:
        ConfigError: If both are given.
        DatasetError: If the text cannot be read.
    """
    if config.text is not None and config.data_dir is not None:
        raise ConfigError("--text and --data_dir exclude each other: both say what is learned.")
    if config.data_dir is not None:
        return read_characters(config.data_dir)
    if config.text is None:
        return characters_of(shipped_text())
    return characters_of(read_whole(config.text))


def make_network(config: CharacterOptions, text: Characters, seed: int, **options: Any) -> LocalGPT:
    """Make a network whose first weights depend on the seed and its shape alone.

    Args:
        config: Its sizes.
        text: What it will learn: its vocabulary.
        seed: Fixes the weights, and the matrices of a rule, which are drawn after them.
        **options: Of ``LocalGPTConfig``: ``method``, ``attn_mode``, ...

    Returns:
        The network.
    """
    torch.manual_seed(seed)
    sizes = config.model_dump(include={"block_size", "n_layer", "n_head", "n_embd"})
    return LocalGPT(LocalGPTConfig(vocab_size=len(text.vocabulary), **sizes, **options))


@dataclass
class Lesson:
    """What one network learns from: the same batches for every network of the same seed."""

    config: CharacterOptions
    text: Characters
    seed: int
    device: torch.device

    def __post_init__(self) -> None:
        self._generator = torch.Generator().manual_seed(self.seed)

    def draw(self) -> Batch:
        """Draw the next batch."""
        x, y = draw_batch(
            self.text.train,
            block_size=self.config.block_size,
            batch_size=self.config.batch_size,
            generator=self._generator,
        )
        return x.to(self.device), y.to(self.device)


class DivergedError(NonFiniteError):
    """A training diverged.

    Attributes:
        step: Whose loss is NaN or infinite.
        losses: The losses of all steps, that one's included.
    """

    def __init__(self, message: str, *, step: int, losses: NDArray[np.float64]) -> None:
        super().__init__(message)
        self.step, self.losses = step, losses


def learn(
    model: LocalGPT, lesson: Lesson, *, warmup: int = 0, observe: Observations | None = None
) -> NDArray[np.float64]:
    """Train by AdamW at a constant rate, without clipping.

    Args:
        model: It is changed.
        lesson: The batches, and how many steps at which rate.
        warmup: The number of steps over which the rate rises linearly to that; 0 for none.
        observe: What is done on the way.

    Returns:
        The loss of each step's batch before the step, in nats per character.

    Raises:
        DivergedError: If a loss is NaN or infinite; the message says at which step.
    """
    config, observe = lesson.config, observe or {}
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate)
    losses: list[float] = []
    model.train()
    for step in range(config.num_steps):
        if step in observe:
            observe[step]()
        if step < warmup:
            optimizer.param_groups[0]["lr"] = config.learning_rate * ((step + 1) / warmup)
        _, loss = model(*lesson.draw())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if not np.isfinite(losses[-1]):
            raise DivergedError(
                f"The training diverged: the loss is {losses[-1]} at step {step} "
                f"({model.config.method}, {model.config.attn_mode} attention, seed {lesson.seed}). "
                f"Lower --learning_rate (now {config.learning_rate:g}).",
                step=step,
                losses=np.array(losses),
            )
    if config.num_steps in observe:
        observe[config.num_steps]()
    return np.array(losses)


def learn_or_diverge(
    model: LocalGPT, lesson: Lesson, *, warmup: int = 0, observe: Observations | None = None
) -> tuple[NDArray[np.float64], int]:
    """Train a network; a training that diverges is a result too.

    Args:
        model: It is changed.
        lesson: As for ``learn``.
        warmup: As for ``learn``.
        observe: As for ``learn``.

    Returns:
        The losses, with NaN for steps that were not done, and the step at which the training
        diverged, or -1.
    """
    try:
        return learn(model, lesson, warmup=warmup, observe=observe), -1
    except DivergedError as error:
        losses = np.full(lesson.config.num_steps, np.nan)
        losses[: len(error.losses)] = error.losses
        return losses, error.step


def attempt(
    model: LocalGPT, lesson: Lesson, observe: Observations | None = None
) -> dict[str, NDArray[Any]]:
    """Train and test a network.

    Args:
        model: It is changed.
        lesson: As for ``learn``.
        observe: As for ``learn``.

    Returns:
        ``losses``, with NaN for steps that were not done; ``validation_loss``, NaN after a
        divergence; ``diverged_at``, the step, or -1; the number of steps if only the test failed.
    """
    losses, diverged_at = learn_or_diverge(model, lesson, observe=observe)
    held_out = validation_loss(model, lesson.text) if diverged_at < 0 else np.nan
    if diverged_at < 0 and not np.isfinite(held_out):
        held_out, diverged_at = np.nan, len(losses)
    return {
        "losses": losses,
        "validation_loss": np.array(held_out),
        "diverged_at": np.array(diverged_at),
    }


@torch.no_grad()
def validation_loss(model: LocalGPT, text: Characters) -> float:
    """Measure a network on the part of the text that it has not learned from.

    Args:
        model: The network.
        text: Up to 512 sequences of it are read, evenly spaced and the same for every network.

    Returns:
        The mean cross-entropy in nats per character.

    Raises:
        DatasetError: If that part is shorter than one sequence.
    """
    size, device = model.config.block_size, next(model.parameters()).device
    num_starts = len(text.val) - size
    if num_starts < 1:
        raise DatasetError(
            f"The part of the text to test on has {len(text.val)} characters, too few for one "
            f"sequence of {size}: give a longer text, or a smaller --block_size."
        )
    count = min(_NUM_HELD_OUT, -(-num_starts // size))
    starts = np.linspace(0, num_starts - 1, count).astype(int)
    rows = torch.from_numpy(text.val[starts[:, None] + np.arange(size + 1)].astype(np.int64))
    total, was_training = 0.0, model.training
    model.eval()
    for part in rows.to(device).split(_AT_ONCE):
        _, loss = model(part[:, :-1], part[:, 1:])
        total += loss.item() * len(part)
    model.train(was_training)
    return total / count
