"""Options of a command from a file and from what was given."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from backlight.config import merge, read_config
from backlight.runs.directory import PROVENANCE

__all__ = ["resolve"]

_Config = TypeVar("_Config", bound=BaseModel)


def resolve(kind: type[_Config], config: str | Path | None, given: Mapping[str, Any]) -> _Config:
    """Merge a YAML file (such as a run's ``config.yaml``) with given options, which win.

    Args:
        kind: The command's model of options.
        config: The file, None for none.
        given: Options as flags or keywords.

    Returns:
        The checked options.
    """
    found = {} if config is None else read_config(Path(config).expanduser())
    found.pop(PROVENANCE, None)
    return merge(kind, found, given)
