"""Options of the experiments: one model for each, by the experiment's name."""

from collections.abc import Mapping

from backlight.config.labs.options import CharacterOptions, LabOptions
from backlight.config.labs.rules import LnJacobianConfig

__all__ = ["LABS", "CharacterOptions", "LabOptions", "LnJacobianConfig"]

LABS: Mapping[str, type[LabOptions]] = {
    "ln-jacobian": LnJacobianConfig,
}
"""The experiments, by name."""
