"""Rules that send an error backward, for any module, and small transformers that take one."""

from backlight.local.feedback import SCALES, Scale
from backlight.local.networks import LocalGPT, LocalGPTConfig
from backlight.local.norms import NORM_BACKWARDS, NormBackward, surrogate_norm
from backlight.local.rules import RULES, Rule, apply_rule
from backlight.local.swapping import Applied

__all__ = [
    "NORM_BACKWARDS",
    "RULES",
    "SCALES",
    "Applied",
    "LocalGPT",
    "LocalGPTConfig",
    "NormBackward",
    "Rule",
    "Scale",
    "apply_rule",
    "surrogate_norm",
]
