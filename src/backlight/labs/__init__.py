"""Experiments: programs read from top to bottom, each held against theory."""

from collections.abc import Mapping

from backlight.labs.clipping.options import ClippingConfig
from backlight.labs.frame.options import LabOptions
from backlight.labs.initialisation.options import InitialisationConfig
from backlight.labs.learning_rules.options import LearningRulesConfig
from backlight.labs.ln_jacobian.options import LnJacobianConfig
from backlight.labs.norm_placement.options import NormPlacementConfig
from backlight.labs.rank_collapse.options import RankCollapseConfig
from backlight.labs.recurrence.options import RecurrenceConfig
from backlight.labs.softmax_scale.options import SoftmaxScaleConfig
from backlight.labs.surrogate_norms.options import SurrogateNormsConfig
from backlight.surveys.driver.declaration import Lab

_OPTIONS: Mapping[str, type[LabOptions]] = {
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

LABS = {
    name: Lab(name=name, options=options, room=f"{__name__}.{name.replace('-', '_')}")
    for name, options in _OPTIONS.items()
}
"""The experiments, by name."""
