"""Questions asked of a model and a text, one room each; each has the same doors."""

from backlight.surveys.comparison import COMPARISON
from backlight.surveys.features import FEATURES
from backlight.surveys.flow import FLOW
from backlight.surveys.layers import LAYERS
from backlight.surveys.stability import STABILITY
from backlight.surveys.tokens import TOKENS
from backlight.surveys.validation import VALIDATION

__all__ = ["SURVEYS"]

_ALL = (LAYERS, FEATURES, TOKENS, FLOW, VALIDATION, COMPARISON, STABILITY)

SURVEYS = {survey.name: survey for survey in _ALL}
"""The surveys, by the names of their commands. One that is added is a folder and a line here."""
