"""Options put together: a YAML file and flags, with all mistakes told at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from backlight.errors import ConfigError, beginning, nearest, quoted
from backlight.foreign.files import MEGABYTE, decoded, expanded
from backlight.foreign.text import plain
from backlight.foreign.yaml_text import parse_yaml, read_yaml
from backlight.runs.config import CONFIG, PROVENANCE
from backlight.runs.opening import store_of
from backlight.runs.urls import is_url, place_of
from backlight.surveys.driver.options.dry_run import DryRunOptions
from backlight.surveys.driver.options.memory import MemoryOptions
from backlight.surveys.driver.options.samples import AUTO
from backlight.surveys.driver.options.shared import CheckOptions, ShownRunOptions
from backlight.surveys.driver.options.workers import WorkerOptions

_MOST_MISTAKES = 6  # that are told one by one
_LONGEST = 100  # letters of a name or value in a list of mistakes

_Config = TypeVar("_Config", bound=BaseModel)


def read_config(path: Path) -> dict[str, Any]:
    """Read options from YAML, for example from the ``config.yaml`` of an earlier run.

    Args:
        path: The file.

    Returns:
        The options as written, not yet checked.

    Raises:
        ConfigError: If the file is missing, is not YAML, or is no mapping. Of a run directory the
            message names the file in it.
    """
    if not is_url(path) and (path / CONFIG).is_file():
        raise ConfigError(
            f"{quoted(path)} is a folder; the options of its run are {quoted(path / CONFIG)}."
        )
    found = _read_remote(path) if is_url(path) else read_yaml(path, error=ConfigError)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ConfigError(f"{quoted(path)} must hold options such as `num_samples: 500`.")
    return {str(key): value for key, value in found.items()}


def _read_remote(path: Path) -> Any:
    place = place_of(path)
    content = store_of(place.parent).read(place.name, most=MEGABYTE)
    return parse_yaml(decoded(content, place, error=ConfigError), quoted(place), error=ConfigError)


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


def merge(kind: type[_Config], from_file: Mapping[str, Any], given: Mapping[str, Any]) -> _Config:
    """Put options together: what was given wins over the file, the file over the defaults.

    Args:
        kind: The command's model.
        from_file: Options read from a file.
        given: Options given as flags or keywords.

    Returns:
        The checked options.

    Raises:
        ConfigError: If there is any mistake, the message names all of them; or if the file says
            that somebody's code is to be run, and what was given does not.
    """
    _refuse_code({name: value for name, value in from_file.items() if name not in given})
    try:
        return kind.model_validate({**from_file, **given})
    except ValidationError as error:
        raise ConfigError(explain(kind, error)) from error


def _refuse_code(options: Mapping[str, Any]) -> None:
    """Refuse a file that says to run somebody's code: only who sits at the keyboard may."""
    if options.get("trust_remote_code") not in (False, None):
        raise ConfigError(
            "The file says trust_remote_code, but a file cannot switch on code that comes with a "
            "model. If you trust that code, give --trust_remote_code yourself (in Python "
            "trust_remote_code=True)."
        )
    kernel = options.get("attn_implementation")
    if isinstance(kernel, str) and "/" in kernel:
        raise ConfigError(
            f"The file says attn_implementation: {quoted(kernel)}, which is code of the hub, but a "
            "file cannot switch on such code. If you trust it, give --attn_implementation yourself."
        )


def explain(kind: type[BaseModel], error: ValidationError) -> str:
    """Describe all mistakes in some options in one line, with the nearest name of unknown ones."""
    mistakes: list[str] = []
    found = error.errors(include_url=False, include_context=False)
    for mistake in found[:_MOST_MISTAKES]:
        name = beginning(plain(".".join(map(str, mistake["loc"]))), _LONGEST)
        if mistake["type"] == "extra_forbidden":
            hint = nearest(name, list(kind.model_fields), otherwise="It does not exist.")
            mistakes.append(f"{name}: no such option. {hint}")
        elif mistake["type"] == "missing":
            mistakes.append(f"{name}: must be given (--{name}, in Python {name}=)")
        else:
            told = beginning(mistake["msg"].removeprefix("Value error, "), _LONGEST)
            mistakes.append(f"{name}: {told} (got {beginning(quoted(mistake['input']), _LONGEST)})")
    if len(found) > _MOST_MISTAKES:
        mistakes.append(f"and {len(found) - _MOST_MISTAKES:,} more mistakes")
    return "; ".join(mistakes)


def same_numbers(config: BaseModel) -> dict[str, Any]:
    """Keep the options that can change a number: not where results go, who works, when it ends.

    Args:
        config: The options.

    Returns:
        By name. A batch size that is still to be chosen is left out: the run that is gone on with
        has one.
    """
    ways = (ShownRunOptions, CheckOptions, WorkerOptions, MemoryOptions, DryRunOptions)
    no_number = {name for each in ways for name in each.model_fields}
    no_number |= getattr(config, "only_ends", frozenset())
    no_number |= {"batch_size"} if getattr(config, "batch_size", None) == AUTO else set()
    return config.model_dump(mode="json", exclude=no_number)
