"""Options of the experiment ``clipping``."""

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from backlight.labs.frame.options import ExactOptions, Seeds


class ClippingConfig(ExactOptions):
    """Clip gradients by global norm, by each parameter's norm, by value, or not at all.

    A small network learns by SGD from labels with heavy-tailed noise, so that the loss has spikes.
    All ways to clip are set to be equally strong; what differs is the direction that is left, and
    what the spikes do to the network.
    """

    seeds: Seeds = 10
    num_steps: int = Field(default=600, ge=20, description="Steps of SGD.")
    batch_size: PositiveInt = Field(default=16, description="Examples in a step.")
    learning_rate: PositiveFloat = Field(default=0.05, description="SGD's, constant.")
    degrees_of_freedom: PositiveFloat = Field(
        default=1.5, description="Of the labels' noise (Student's t): the fewer, the more spikes."
    )
    noise: NonNegativeFloat = Field(default=0.3, description="Scale of that noise.")
    clip_at: PositiveFloat = Field(
        default=1.0,
        description="The global norm at which a gradient is clipped, in medians of the norm "
        "before the training.",
    )
