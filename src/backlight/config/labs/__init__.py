"""Options of the experiments: one model for each, by the experiment's name."""

from collections.abc import Mapping

from backlight.config.labs.depth import (
    InitialisationConfig,
    NormPlacementConfig,
    RankCollapseConfig,
)
from backlight.config.labs.options import CharacterOptions, LabOptions
from backlight.config.labs.rules import (
    LearningRulesConfig,
    LnJacobianConfig,
    SurrogateNormsConfig,
)
from backlight.config.labs.steps import ClippingConfig, RecurrenceConfig, SoftmaxScaleConfig

__all__ = [
    "LABS",
    "CharacterOptions",
    "ClippingConfig",
    "InitialisationConfig",
    "LabOptions",
    "LearningRulesConfig",
    "LnJacobianConfig",
    "NormPlacementConfig",
    "RankCollapseConfig",
    "RecurrenceConfig",
    "SoftmaxScaleConfig",
    "SurrogateNormsConfig",
]

LABS: Mapping[str, type[LabOptions]] = {
    "ln-jacobian": LnJacobianConfig,
    "learning-rules": LearningRulesConfig,
    "surrogate-norms": SurrogateNormsConfig,
    "norm-placement": NormPlacementConfig,
    "initialisation": InitialisationConfig,
    "rank-collapse": RankCollapseConfig,
    "recurrence": RecurrenceConfig,
    "softmax-scale": SoftmaxScaleConfig,
    "clipping": ClippingConfig,
}
"""The experiments, by name."""
