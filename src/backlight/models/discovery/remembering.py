"""What was found of a model, kept in the user's cache directory as data.

A model of the same configuration, the same modules and the same code is wired in the same way, so
it need not be found out again; only proven, on the model itself. A file that is not what was
written (broken, of another version, by another hand) counts as none, and is written anew.
"""

import hashlib
import logging
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import platformdirs
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from torch import nn

from backlight.atomic import write_whole
from backlight.models.discovery.wiring import Discovery

_logger = logging.getLogger(__name__)
_FOUND = TypeAdapter(Discovery)
_CODE = ("backlight", "torch", "transformers")


class _Remembered(BaseModel):
    """A file: what was found, under which key, and the digest of it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    key: str
    digest: str
    found: str


def wirings_folder() -> Path:
    """Return the folder in which is kept what was found."""
    return platformdirs.user_cache_path("backlight") / "wirings"


def key_of(model: nn.Module, configuration: str) -> str | None:
    """Name all that decides how a model is wired.

    Args:
        model: The model.
        configuration: Its configuration, as text.

    Returns:
        A digest of its configuration, its modules with their classes and the shapes of their
        parameters, the source files of these classes, and the versions of the libraries. None for
        a model with a class whose source is not in a file.
    """
    digest = hashlib.sha256()
    for part in (configuration, *_versions(), *_structure(model)):
        digest.update(f"{len(part)} {part}".encode())
    for name in sorted({type(module).__module__ for module in model.modules()}):
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is None:
            return None
        digest.update(Path(file).read_bytes())
    return digest.hexdigest()


def _versions() -> Iterator[str]:
    for name in _CODE:
        with suppress(PackageNotFoundError):
            yield f"{name} {version(name)}"


def _structure(model: nn.Module) -> Iterator[str]:
    for path, module in model.named_modules():
        yield f"{path} {type(module).__module__}.{type(module).__qualname__}"
    for path, parameter in model.named_parameters():
        yield f"{path} {tuple(parameter.shape)} {parameter.dtype}"


def recall(key: str) -> Discovery | None:
    """Look up what was found of a model.

    Args:
        key: Its name (``key_of``).

    Returns:
        What was found; None if nothing was, or if the file is not what was written.
    """
    try:
        kept = _Remembered.model_validate_json(_file(key).read_bytes())
        if kept.key != key or kept.digest != _digest(kept.found):
            return None
        return _FOUND.validate_json(kept.found, strict=True)
    except (OSError, ValidationError):
        return None


def remember(key: str, found: Discovery) -> None:
    """Keep what was found of a model.

    Args:
        key: Its name (``key_of``).
        found: What was found and proven.
    """
    text = _FOUND.dump_json(found).decode()
    kept = _Remembered(key=key, digest=_digest(text), found=text)
    try:
        write_whole(_file(key), kept.model_dump_json().encode())
    except OSError as error:
        _logger.warning(
            "How this model is wired could not be kept in %s (%s); it will be found out again.",
            _file(key),
            error.strerror,
        )


def _file(key: str) -> Path:
    return wirings_folder() / f"{key[:32]}.json"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
