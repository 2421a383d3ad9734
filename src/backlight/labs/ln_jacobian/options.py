"""Options of the experiment ``ln-jacobian``."""

from typing import Annotated, Literal

from cyclopts import Parameter
from pydantic import Field

from backlight.labs.frame.options import CharacterOptions


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
        description="Take the gradient behind each norm's gain for the one before it: exact only "
        "for gains of 1.",
    )
