"""Options of the experiment ``softmax-scale``."""

from typing import Annotated

from pydantic import Field, PositiveInt

from backlight.labs.frame.options import ExactOptions, Many, Seeds


class SoftmaxScaleConfig(ExactOptions):
    """Measure the Jacobian of attention's softmax, with and without 1/sqrt(d) on the scores.

    Queries and keys are standard normal. The spectral norm of diag(p) - p p' is measured against
    their width, against the scale of the scores, and where one score stands out, beside what
    theory says; then the gradient that reaches the query.
    """

    seeds: Seeds = 20
    widths: Many[PositiveInt] = Field(
        default=(4, 8, 16, 32, 64, 128, 256, 512, 1024),
        min_length=2,
        description="Widths d of queries and keys.",
    )
    num_keys: Many[Annotated[int, Field(ge=2)]] = Field(
        default=(4, 16, 64, 256), min_length=1, description="Numbers of keys that a query sees."
    )
    num_queries: PositiveInt = Field(default=256, description="Queries in each seed.")
    slope_from: PositiveInt = Field(
        default=64, description="The smallest width from which slopes are measured."
    )
