"""Options put together: a YAML file and flags, with all mistakes told at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from backlight.config.options import RunOptions
from backlight.errors import ConfigError, nearest

__all__ = ["explain", "merge", "read_config", "same_numbers"]

_Config = TypeVar("_Config", bound=BaseModel)


def read_config(path: Path) -> dict[str, Any]:
    """Read options from YAML, for example from the ``config.yaml`` of an earlier run.

    Args:
        path: The file.

    Returns:
        The options as written, not yet checked.

    Raises:
        ConfigError: If the file is missing, is not YAML, or is no mapping.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"There is no file {str(path)!r}.") from error
    except (IsADirectoryError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).replace("\n", " ")
        raise ConfigError(f"{str(path)!r} cannot be read as YAML: {reason}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ConfigError(f"{str(path)!r} must hold options such as `num_samples: 500`.")
    return {str(key): value for key, value in found.items()}


def merge(kind: type[_Config], from_file: Mapping[str, Any], given: Mapping[str, Any]) -> _Config:
    """Put options together: what was given wins over the file, the file over the defaults.

    Args:
        kind: The command's model.
        from_file: Options read from a file.
        given: Options given as flags or keywords.

    Returns:
        The checked options.

    Raises:
        ConfigError: If there is any mistake; the message names all of them.
    """
    try:
        return kind.model_validate({**from_file, **given})
    except ValidationError as error:
        raise ConfigError(explain(kind, error)) from error


def explain(kind: type[BaseModel], error: ValidationError) -> str:
    """Tell all mistakes in some options in one line, with the nearest name of unknown ones."""
    mistakes: list[str] = []
    for mistake in error.errors():
        name = ".".join(map(str, mistake["loc"]))
        if mistake["type"] == "extra_forbidden":
            hint = nearest(name, list(kind.model_fields), otherwise="It does not exist.")
            mistakes.append(f"{name}: no such option. {hint}")
        else:
            mistakes.append(f"{name}: {mistake['msg']} (got {mistake['input']!r})")
    return "; ".join(mistakes)


def same_numbers(config: BaseModel) -> dict[str, Any]:
    """Keep the options that can change a number: not those that say where results go."""
    return config.model_dump(mode="json", exclude=set(RunOptions.model_fields))
