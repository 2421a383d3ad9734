"""A small GPT learns characters, with norms in either place, with and without warm-up."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from backlight.data.characters import Characters
from backlight.labs.characters.learning import Lesson, make_network
from backlight.labs.frame.options import CharacterOptions
from backlight.labs.norm_placement.options import NormPlacementConfig
from backlight.labs.norm_placement.wide_network import PLACEMENTS
from backlight.learning_rules import LocalGPT


def train(
    config: NormPlacementConfig,
    text: Characters,
    placement: str,
    learning_rate: float,
    warmup: int,
    seed: int,
    device: torch.device,
) -> NDArray[np.float64]:
    """Train a small GPT by AdamW; the rate rises over some steps and then stays.

    Args:
        config: The options.
        text: What it learns.
        placement: ``pre`` or ``post``.
        learning_rate: Where the rate rises to.
        warmup: Over how many steps; 0 for none.
        seed: Of weights and batches.
        device: Where it runs.

    Returns:
        The loss of each step's batch; NaN behind the first that is not finite.
    """
    options = lesson_options(config)
    model = make_network(options, text, seed, norm_placement=placement)
    if config.initialisation == "glorot":
        glorot(model)
    model.to(device)
    lesson = Lesson(options, text, seed, device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    losses = np.full(config.num_steps, np.nan)
    for step in range(config.num_steps):
        rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
        optimizer.param_groups[0]["lr"] = learning_rate * rise
        _, loss = model(*lesson.draw())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if not np.isfinite(loss.item()):
            break
        losses[step] = loss.item()
    return losses


def glorot(model: LocalGPT) -> None:
    """Give each linear map of the blocks Glorot's weights, and embeddings size 1.

    Args:
        model: It is changed in place.
    """
    for name, parameter in model.named_parameters():
        if ".h." in name and parameter.dim() > 1:
            nn.init.xavier_normal_(parameter)
        elif name.endswith("wte.weight"):
            nn.init.normal_(parameter)


def lesson_options(config: NormPlacementConfig) -> CharacterOptions:
    """Give the options of the training in the form that lessons take.

    Args:
        config: The options.

    Returns:
        Those that they share.
    """
    shared = ("text", "num_steps", "batch_size", "block_size", "n_layer", "n_head", "n_embd")
    return CharacterOptions(**{name: getattr(config, name) for name in shared})


def kinds_of_training(config: NormPlacementConfig) -> list[tuple[str, str, int]]:
    """Say what is trained at each learning rate.

    Args:
        config: The options.

    Returns:
        Of each training its name, its placement, and the steps of its warm-up.
    """
    return [
        (f"{placement}-norm, {'warm-up' if steps else 'no warm-up'}", placement, steps)
        for placement in PLACEMENTS
        for steps in (0, config.warmup_steps)
    ]
