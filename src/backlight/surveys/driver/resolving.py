"""Options of a command from a file and from what was given."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from backlight.errors import ConfigError, quoted
from backlight.foreign.files import expanded
from backlight.runs.config import PROVENANCE
from backlight.surveys.driver.reading import merge, read_config

_Config = TypeVar("_Config", bound=BaseModel)


def resolve(kind: type[_Config], config: str | Path | None, given: Mapping[str, Any]) -> _Config:
    """Merge a YAML file (such as a run's ``config.yaml``) with given options, which win.

    Args:
        kind: The command's model of options.
        config: The file, None for none.
        given: Options as flags or keywords.

    Returns:
        The checked options.

    Raises:
        ConfigError: If there is any mistake.
    """
    found = {} if config is None else read_config(expanded(config, error=ConfigError))
    found.pop(PROVENANCE, None)
    if isinstance(found.get("dataset"), (list, dict)):
        raise ConfigError(
            f"dataset: a file of options names one dataset or one path (got "
            f"{quoted(found['dataset'])}); texts themselves can be given in Python."
        )
    return merge(kind, found, given)
