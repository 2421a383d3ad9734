"""Options of the experiment ``norm-placement``."""

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from backlight.labs.frame.options import LabOptions, Many


class NormPlacementConfig(LabOptions):
    """Compare norms before and behind the branches: gradients by depth, and a training.

    First the network of Xiong et al. (2020) at its first weights: the gradient of the last layer
    against depth, and of every layer of the deepest network. Then a small GPT learns characters,
    with both placements, with and without warm-up, at several learning rates.
    """

    seeds: PositiveInt = Field(default=10, description="Of the networks that learn nothing.")
    depths: Many[PositiveInt] = Field(
        default=(2, 4, 8, 16, 32, 64), min_length=2, description="Their layers."
    )
    width: int = Field(default=128, ge=2, description="Their width.")
    positions: int = Field(default=32, ge=2, description="Tokens of their one sequence.")
    learning_rates: Many[PositiveFloat] = Field(
        default=(1e-3, 3e-3), min_length=1, description="AdamW's, in the training."
    )
    warmup_steps: PositiveInt = Field(
        default=50, description="Over which the learning rate rises to its value, where it does."
    )
    num_steps: PositiveInt = Field(default=100, description="Steps of the training.")
    training_seeds: PositiveInt = Field(default=3, description="Of the training.")
    n_layer: PositiveInt = Field(default=6, description="Blocks of the GPT that learns.")
    n_head: PositiveInt = Field(default=2, description="Its attention heads.")
    n_embd: PositiveInt = Field(default=64, description="Its width.")
    block_size: PositiveInt = Field(default=32, description="Characters in a sequence.")
    batch_size: PositiveInt = Field(default=8, description="Sequences in a step.")
    initialisation: Literal["glorot", "gpt2"] = Field(
        default="glorot",
        description="Its first weights: the original transformer's, with embeddings of size 1, or "
        "GPT-2's, all small.",
    )
    text: Path | None = Field(
        default=None, description="A text to learn from. [default: the shipped plays]"
    )
