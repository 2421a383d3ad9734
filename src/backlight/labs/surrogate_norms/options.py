"""Options of the experiment ``surrogate-norms``."""

from typing import Literal

from pydantic import Field

from backlight.labs.frame.options import CharacterOptions, Many, Seeds

_Surrogate = Literal["center_scale", "scale", "projected", "identity", "radial_only"]


class SurrogateNormsConfig(CharacterOptions):
    """Measure what simpler backward rules of layer norms cost, beside what was predicted.

    A small GPT learns characters while the backward of all its norms is replaced by a simpler one,
    under backpropagation and feedback alignment, with softmax and with sigmoid attention. The cost
    is the validation loss above that of the true backward with the same seed.
    """

    seeds: Seeds = 5
    methods: Many[Literal["bp", "fa"]] = Field(
        default=("bp", "fa"), min_length=1, description="The rules by which the network learns."
    )
    surrogates: Many[_Surrogate] = Field(
        default=("center_scale", "scale", "projected", "identity"),
        min_length=1,
        description="What takes the place of the true backward.",
    )
