"""Rules that send an error backward, for any module, and small transformers that take one."""

from backlight.learning_rules.direct import DirectFeedback
from backlight.learning_rules.feedback import SCALES, Scale
from backlight.learning_rules.networks import LocalGPT, LocalGPTConfig
from backlight.learning_rules.norms import NORM_BACKWARDS, NormBackward, surrogate_norm
from backlight.learning_rules.rules import RULES, Rule, apply_rule
from backlight.learning_rules.swapping import Applied

__all__ = [
    "NORM_BACKWARDS",
    "RULES",
    "SCALES",
    "Applied",
    "DirectFeedback",
    "LocalGPT",
    "LocalGPTConfig",
    "NormBackward",
    "Rule",
    "Scale",
    "apply_rule",
    "surrogate_norm",
]
