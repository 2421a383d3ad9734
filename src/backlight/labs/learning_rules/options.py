"""Options of the experiment ``learning-rules``."""

from typing import Literal, get_args

from pydantic import Field

from backlight.labs.frame.options import CharacterOptions, Many

_Rule = Literal["bp", "fa", "dfa_macro", "dfa_micro", "sign_uniform", "sign_random"]


class LearningRulesConfig(CharacterOptions):
    """Compare learning rules: what each reaches, and how far it is from backpropagation.

    The same small GPT learns the same characters by backpropagation, feedback alignment, direct
    feedback alignment and sign-symmetric feedback, with softmax and with sigmoid attention. Along
    the way, the angles between what each rule sends back and what backpropagation would have.
    """

    rules: Many[_Rule] = Field(default=get_args(_Rule), min_length=1, description="The rules.")
