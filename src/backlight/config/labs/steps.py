"""Options of experiments with steps: back through time, through a softmax, and clipped ones."""

from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt

from backlight.config.labs.options import ExactOptions, Several

__all__ = ["ClippingConfig", "RecurrenceConfig", "SoftmaxScaleConfig"]

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


class RecurrenceConfig(ExactOptions):
    """Follow the gradient back through time: recurrent networks, an LSTM, a transformer.

    The norm of d x(T) / d x(T-k) is computed exactly, for each k up to T, beside the bounds of
    Pascanu et al. (2013): the matrix's largest singular value bounds the norm of each step, the
    spectral radius says where a linear network ends.
    """

    seeds: PositiveInt = Field(
        default=5, description="How many seeds: the first, and those that follow it."
    )
    num_steps: int = Field(default=1000, ge=20, description="T, steps of time.")
    width: int = Field(default=64, ge=2, description="Units of the recurrent networks.")
    radii: Annotated[tuple[Positive, ...], Several] = Field(
        default=(0.9, 1.1, 2.0), min_length=1, description="Spectral radii of their matrices."
    )
    input_std: float = Field(
        default=0.3, ge=0, description="Standard deviation of what they read at each step."
    )
    forget_biases: Annotated[tuple[float, ...], Several] = Field(
        default=(0.0, 1.0, 5.0), min_length=1, description="Biases of the LSTM's forget gates."
    )
    n_layer: PositiveInt = Field(default=4, description="Blocks of the transformer.")
    n_head: PositiveInt = Field(default=2, description="Its attention heads.")
    n_embd: PositiveInt = Field(default=32, description="Its width.")


class SoftmaxScaleConfig(ExactOptions):
    """Measure the Jacobian of attention's softmax, with and without 1/sqrt(d) on the scores.

    Queries and keys are standard normal. The spectral norm of diag(p) - p p' is measured against
    their width, against the scale of the scores, and where one score stands out, beside what
    theory says; then the gradient that reaches the query.
    """

    seeds: PositiveInt = Field(
        default=20, description="How many seeds: the first, and those that follow it."
    )
    widths: Annotated[tuple[PositiveInt, ...], Several] = Field(
        default=(4, 8, 16, 32, 64, 128, 256, 512, 1024),
        min_length=2,
        description="Widths d of queries and keys.",
    )
    num_keys: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Several] = Field(
        default=(4, 16, 64, 256), min_length=1, description="Numbers of keys that a query sees."
    )
    num_queries: PositiveInt = Field(default=256, description="Queries in each seed.")
    slope_from: PositiveInt = Field(
        default=64, description="The smallest width from which slopes are measured."
    )


class ClippingConfig(ExactOptions):
    """Clip gradients by global norm, by each parameter's norm, by value, or not at all.

    A small network learns by SGD from labels with heavy-tailed noise, so that the loss has spikes.
    All ways to clip are set to be equally strong; what differs is the direction that is left, and
    what the spikes do to the network.
    """

    seeds: PositiveInt = Field(
        default=10, description="How many seeds: the first, and those that follow it."
    )
    num_steps: int = Field(default=600, ge=20, description="Steps of SGD.")
    batch_size: PositiveInt = Field(default=16, description="Examples in a step.")
    learning_rate: PositiveFloat = Field(default=0.05, description="SGD's, constant.")
    degrees_of_freedom: PositiveFloat = Field(
        default=1.5, description="Of the labels' noise (Student's t): the fewer, the more spikes."
    )
    noise: NotNegative = Field(default=0.3, description="Scale of that noise.")
    clip_at: PositiveFloat = Field(
        default=1.0,
        description="The global norm at which a gradient is clipped, in medians of the norm "
        "before the training.",
    )
