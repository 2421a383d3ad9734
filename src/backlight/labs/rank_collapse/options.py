"""Options of the experiment ``rank-collapse``."""

from pydantic import Field, PositiveInt

from backlight.labs.frame.options import ExactOptions, Many


class RankCollapseConfig(ExactOptions):
    """Watch tokens become alike in deep attention, and with them queries' and keys' gradients.

    Attention alone, with an MLP, with skip connections, and with skip connections whose branches
    are scaled by 1/sqrt(depth), at their first weights (Dong et al. 2021, Noci et al. 2022).
    """

    seeds: PositiveInt = Field(default=10, description="How many networks of each kind.")
    depths: Many[PositiveInt] = Field(
        default=(2, 4, 8, 16, 32), min_length=2, description="Layers."
    )
    width: int = Field(default=64, ge=2, description="Width; one head.")
    positions: int = Field(default=16, ge=2, description="Tokens of the sequence.")
