"""``config.yaml``: the options of a run and where it came from, written before anything else."""

from collections.abc import Mapping
from typing import Any

import yaml

from backlight.errors import RunDirectoryError, quoted
from backlight.foreign.files import MEGABYTE, decoded
from backlight.foreign.text import plain
from backlight.foreign.yaml_text import parse_yaml
from backlight.runs.stores import Store

CONFIG = "config.yaml"
"""The file's name in the run directory."""

PROVENANCE = "provenance"
"""The key under which it says where the run came from; it is not an option."""


def read_config(store: Store) -> dict[str, Any]:
    """Read options and provenance of a run.

    Args:
        store: The files of the run.

    Returns:
        What ``config.yaml`` holds.

    Raises:
        RunDirectoryError: If this is not a run directory.
    """
    root = store.place
    try:
        content = store.read(CONFIG, most=MEGABYTE)
        text = decoded(content, root / CONFIG, error=RunDirectoryError)
        found = parse_yaml(text, quoted(root / CONFIG), error=RunDirectoryError)
    except RunDirectoryError as error:
        raise RunDirectoryError(
            f"{quoted(root)} is not a run directory: its {CONFIG} cannot be read."
        ) from error
    if not isinstance(found, dict) or not isinstance(found.get(PROVENANCE), dict):
        raise RunDirectoryError(
            f"{quoted(root)} is not a run directory: its {CONFIG} was not written by backlight."
        )
    return found


def config_text(options: Mapping[str, Any], provenance: Mapping[str, Any]) -> str:
    """Write options and provenance as YAML; names that would steer a reader become numbers."""
    config = {**options, PROVENANCE: dict(provenance)}
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    if plain(text, lines=True) == text:
        return text
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=False)
