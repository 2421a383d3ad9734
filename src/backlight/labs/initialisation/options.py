"""Options of the experiment ``initialisation``."""

from pydantic import Field, PositiveInt

from backlight.labs.frame.options import ExactOptions, Many


class InitialisationConfig(ExactOptions):
    """Follow activations and gradients along depth under several kinds of first weights.

    Plain stacks of tanh and of ReLU layers, and a transformer's residual stream; each beside what
    the limit of wide networks predicts.
    """

    seeds: PositiveInt = Field(default=10, description="How many networks of each kind.")
    width: int = Field(default=256, ge=2, description="Width of the plain stacks.")
    depth: int = Field(default=32, ge=2, description="Layers of the plain stacks.")
    depths: Many[PositiveInt] = Field(
        default=(2, 4, 8, 16, 32), min_length=2, description="Blocks of the transformers."
    )
    n_head: PositiveInt = Field(default=4, description="Heads of the transformers.")
    n_embd: PositiveInt = Field(default=128, description="Width of the transformers.")
    positions: int = Field(default=32, ge=2, description="Tokens of each sequence.")
