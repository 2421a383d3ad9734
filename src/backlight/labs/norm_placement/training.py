"""A small GPT learns characters, with norms in either place, with and without warm-up."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from backlight.data.characters import Characters
from backlight.labs.characters.learning import DivergedError, Lesson, learn, make_network
from backlight.labs.frame.options import CharacterOptions
from backlight.labs.norm_placement.options import NormPlacementConfig
from backlight.labs.norm_placement.wide_network import PLACEMENTS
from backlight.learning_rules import LocalGPT

_SHARED = ("text", "num_steps", "batch_size", "block_size", "n_layer", "n_head", "n_embd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A way to train.

    Attributes:
        placement: ``pre`` or ``post``.
        warmup: The steps over which the learning rate rises to its value; 0 for none.
        learning_rate: That value.
    """

    placement: str
    warmup: int
    learning_rate: float

    @property
    def kind(self) -> str:
        """What is compared at each learning rate."""
        return f"{self.placement}-norm, {'warm-up' if self.warmup else 'no warm-up'}"

    def __str__(self) -> str:
        return f"{self.kind} at {self.learning_rate:g}"


def trainings(config: NormPlacementConfig) -> list[Training]:
    """List what is trained, rate by rate.

    Args:
        config: The options.

    Returns:
        The ways to train.
    """
    return [
        Training(placement=placement, warmup=warmup, learning_rate=rate)
        for rate, placement, warmup in product(
            config.learning_rates, PLACEMENTS, (0, config.warmup_steps)
        )
    ]


def train(
    config: NormPlacementConfig,
    text: Characters,
    training: Training,
    seed: int,
    device: torch.device,
) -> NDArray[np.float64]:
    """Train a small GPT by AdamW; the rate rises over some steps and then stays.

    Args:
        config: The options.
        text: What it learns.
        training: How.
        seed: Of weights and batches.
        device: Where it runs.

    Returns:
        The loss of each step's batch; NaN from the first that is not finite.
    """
    options = lesson_options(config, training.learning_rate)
    model = make_network(options, text, seed, norm_placement=training.placement)
    if config.initialisation == "glorot":
        glorot(model)
    lesson = Lesson(options, text, seed, device)
    try:
        return learn(model.to(device), lesson, warmup=training.warmup)
    except DivergedError as error:
        losses = np.full(config.num_steps, np.nan)
        losses[: error.step] = error.losses[:-1]
        return losses


def glorot(model: LocalGPT) -> None:
    """Draw Glorot's weights for each linear map of the blocks, and embeddings of size 1.

    Args:
        model: It is changed in place.
    """
    for name, parameter in model.named_parameters():
        if ".h." in name and parameter.dim() > 1:
            nn.init.xavier_normal_(parameter)
        elif name.endswith("wte.weight"):
            nn.init.normal_(parameter)


def lesson_options(config: NormPlacementConfig, learning_rate: float = 1e-3) -> CharacterOptions:
    """Translate the options of the training into the form that lessons take.

    Args:
        config: The options.
        learning_rate: Where the rate rises to.

    Returns:
        Those that they share.
    """
    shared = {name: getattr(config, name) for name in _SHARED}
    return CharacterOptions(**shared, learning_rate=learning_rate)
