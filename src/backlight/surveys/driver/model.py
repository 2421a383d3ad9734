"""The model of a command: the one that its options name, or one that is already loaded."""

from collections.abc import Callable
from typing import TypeVar

from backlight.errors import ConfigError
from backlight.models.loading import load_subject
from backlight.models.subject import Subject
from backlight.surveys.driver.options import SHIPPED, ModelOptions
from backlight.world import CITY_MODEL

_Config = TypeVar("_Config", bound=ModelOptions)


def load(config: ModelOptions) -> Subject:
    """Load the model that some options name; ``city`` is the one that the package ships."""
    shipped = config.model_name == SHIPPED
    return load_subject(
        str(CITY_MODEL / "final") if shipped else config.model_name,
        device=config.device,
        dtype=config.dtype,
        attn_implementation=config.attn_implementation,
        revision=config.revision,
        trust_remote_code=config.trust_remote_code,
    )


def settle(
    config: _Config, subject: Subject | None
) -> tuple[_Config, Callable[[ModelOptions], Subject]]:
    """Settle where a Python call gets its model from.

    Args:
        config: The options.
        subject: A model that is already loaded, None for the one that the options name.

    Returns:
        The options, which name the loaded model if there is one, and what gives the model.

    Raises:
        ConfigError: If there is a model and there are options for loading one.
    """
    if subject is None:
        return config, load
    idle = [name for name in ModelOptions.model_fields if name in config.model_fields_set]
    if idle:
        raise ConfigError(f"A subject is given, so {', '.join(idle)} would have no effect.")
    return config.model_copy(update={"model_name": subject.name}), lambda _: subject
