"""Options of the experiment ``surrogate-norms``."""

from typing import Annotated, Literal

from pydantic import Field

from backlight.labs.frame.options import CharacterOptions, Seeds, Several


class SurrogateNormsConfig(CharacterOptions):
    """Measure what simpler backward rules of layer norms cost, beside what was predicted.

    A small GPT learns characters while the backward of all its norms is replaced by a simpler one,
    under backpropagation and feedback alignment, with softmax and with sigmoid attention. The cost
    is the validation loss above that of the true backward with the same seed.
    """

    seeds: Seeds = 5
    methods: Annotated[tuple[Literal["bp", "fa"], ...], Several] = Field(
        default=("bp", "fa"), min_length=1, description="The rules by which the network learns."
    )
    surrogates: Annotated[
        tuple[Literal["center_scale", "scale", "projected", "identity", "radial_only"], ...],
        Several,
    ] = Field(
        default=("center_scale", "scale", "projected", "identity"),
        min_length=1,
        description="What takes the place of the true backward.",
    )
