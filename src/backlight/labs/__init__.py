"""Experiments: programs read from top to bottom, each held against theory."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backlight.errors import ConfigError, nearest, quoted
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

if TYPE_CHECKING:
    from backlight.runs.results import Results

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


def lab(name: str, config: str | Path | None = None, **options: Any) -> "Results":
    """Carry out an experiment.

    The same as the command ``backlight lab``, for notebooks and scripts; nothing is printed, and
    nothing is written unless ``output_dir`` or ``save_outputs`` says so.

    Args:
        name: Which: see ``backlight lab --help``.
        config: A YAML file of options, if any.
        **options: Options by the names of the command's flags; they win over the file.

    Returns:
        Its tables; ``data`` holds what each trial found, ``metadata["remarks"]`` what it means.

    Raises:
        ConfigError: If there is no such experiment or option, or an option does not fit.

    Examples:
        >>> import backlight
        >>> found = backlight.lab("rank-collapse", depths=[2, 4], width=8, positions=4, seeds=2)
        >>> len(found.metadata["remarks"]) > 0
        True
    """
    if name not in LABS:
        hint = nearest(name, list(LABS), otherwise=f"There are {', '.join(LABS)}.")
        raise ConfigError(f"There is no experiment {quoted(name)}. {hint}")
    from backlight.surveys.driver.experiments import ask_lab

    return ask_lab(LABS[name], config, options)
