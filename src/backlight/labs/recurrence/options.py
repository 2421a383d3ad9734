"""Options of the experiment ``recurrence``."""

from pydantic import Field, PositiveFloat, PositiveInt

from backlight.labs.frame.options import ExactOptions, Many, Seeds


class RecurrenceConfig(ExactOptions):
    """Follow the gradient back through time: recurrent networks, an LSTM, a transformer.

    The norm of d x(T) / d x(T-k) is computed exactly, for each k up to T, beside the bounds of
    Pascanu et al. (2013): the matrix's largest singular value bounds the norm of each step, the
    spectral radius says where a linear network ends.
    """

    seeds: Seeds = 5
    num_steps: int = Field(default=1000, ge=20, description="T, steps of time.")
    width: int = Field(default=64, ge=2, description="Units of the recurrent networks.")
    radii: Many[PositiveFloat] = Field(
        default=(0.9, 1.1, 2.0), min_length=1, description="Spectral radii of their matrices."
    )
    input_std: float = Field(
        default=0.3, ge=0, description="Standard deviation of what they read at each step."
    )
    forget_biases: Many[float] = Field(
        default=(0.0, 1.0, 5.0), min_length=1, description="Biases of the LSTM's forget gates."
    )
    n_layer: PositiveInt = Field(default=4, description="Blocks of the transformer.")
    n_head: PositiveInt = Field(default=2, description="Its attention heads.")
    n_embd: PositiveInt = Field(default=32, description="Its width.")
