"""Libraries that not everybody has."""

from importlib import import_module
from typing import Any

from backlight.errors import ConfigError


def load_extra(module: str, *, for_what: str) -> Any:
    """Import a library of the extra ``train``.

    Args:
        module: What is imported.
        for_what: What needs it.

    Returns:
        The module.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"{for_what} needs {module.partition('.')[0]}, which cannot be imported ({error}). "
            "Install it with pip install 'backlight[train]'."
        ) from error
