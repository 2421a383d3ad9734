"""What a command can be told: the same words as flags, as YAML keys and as keywords.

Each command has one frozen model. A YAML file and flags are merged word by word, flags winning,
and all mistakes are told at once.
"""

from backlight.config.doctor import DoctorConfig
from backlight.config.labs import LABS, CharacterOptions, LabOptions, LnJacobianConfig
from backlight.config.options import (
    SHIPPED,
    AggregateOptions,
    CorpusOptions,
    ModelOptions,
    RunOptions,
    SurveyConfig,
    TextOptions,
)
from backlight.config.reading import explain, merge, read_config, same_numbers
from backlight.config.surveys import FlowConfig, LayersConfig, SaeConfig, SitesConfig
from backlight.config.tokens import TokensConfig
from backlight.config.training import TrainSaeConfig, TrainWorldConfig

__all__ = [
    "LABS",
    "SHIPPED",
    "AggregateOptions",
    "CharacterOptions",
    "CorpusOptions",
    "DoctorConfig",
    "FlowConfig",
    "LabOptions",
    "LayersConfig",
    "LnJacobianConfig",
    "ModelOptions",
    "RunOptions",
    "SaeConfig",
    "SitesConfig",
    "SurveyConfig",
    "TextOptions",
    "TokensConfig",
    "TrainSaeConfig",
    "TrainWorldConfig",
    "explain",
    "merge",
    "read_config",
    "same_numbers",
]
