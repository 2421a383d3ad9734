"""Options of the experiments with learning rules."""

from typing import Annotated, Literal

from cyclopts import Parameter
from pydantic import Field, PositiveInt

from backlight.config.labs.options import CharacterOptions, Several

__all__ = ["LearningRulesConfig", "LnJacobianConfig", "SurrogateNormsConfig"]


class LnJacobianConfig(CharacterOptions):
    """Take apart what each layer norm does to the gradient, after a training by a rule.

    A small GPT learns characters by feedback alignment, with softmax and with sigmoid attention.
    Then, on one batch, the gradient at every norm is split into what centring takes out, what
    scaling takes out, and what is left, beside what simpler backward rules would have passed on.
    """

    method: Literal["bp", "fa", "dfa", "sign_uniform", "sign_random"] = Field(
        default="fa", description="The rule by which the network learns."
    )
    without_gain: Annotated[bool, Parameter(negative="")] = Field(
        default=False,
        description="Take the gradient behind each norm's gain for the one before it, as the "
        "document did from which this experiment comes.",
    )


class LearningRulesConfig(CharacterOptions):
    """Compare learning rules: what each reaches, and how far it is from backpropagation.

    The same small GPT learns the same characters by backpropagation, feedback alignment, direct
    feedback alignment and sign-symmetric feedback, with softmax and with sigmoid attention. Along
    the way, the angles between what each rule sends back and what backpropagation would have.
    """

    rules: Annotated[
        tuple[Literal["bp", "fa", "dfa_macro", "dfa_micro", "sign_uniform", "sign_random"], ...],
        Several,
    ] = Field(
        default=("bp", "fa", "dfa_macro", "dfa_micro", "sign_uniform", "sign_random"),
        min_length=1,
        description="The rules.",
    )


class SurrogateNormsConfig(CharacterOptions):
    """Measure what simpler backward rules of layer norms cost, beside what was predicted.

    A small GPT learns characters while the backward of all its norms is replaced by a simpler one,
    under backpropagation and feedback alignment, with softmax and with sigmoid attention. The cost
    is the validation loss above that of the true backward with the same seed.
    """

    seeds: PositiveInt = Field(
        default=5, description="How many seeds: the first, and those that follow it."
    )
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
