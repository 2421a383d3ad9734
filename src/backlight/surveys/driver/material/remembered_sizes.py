"""Batch sizes that ``--batch_size auto`` chose, kept in the user's cache directory as data."""

import hashlib
import json
import logging
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import platformdirs
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from backlight.atomic import write_whole
from backlight.models.sites import Site
from backlight.models.subject import Subject

_logger = logging.getLogger(__name__)
_CODE = ("backlight", "torch", "transformers")


class Remembered(BaseModel):
    """A file: what was chosen, for what, and out of which sizes.

    Attributes:
        key: Model, device and text (``key_of``).
        batch_size: The size.
        tokens_per_second: Of all sizes that were tried.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    batch_size: int = Field(gt=0)
    tokens_per_second: dict[int, float]

    @model_validator(mode="after")
    def _was_tried(self) -> "Remembered":
        if self.batch_size not in self.tokens_per_second:
            raise ValueError("the size is none of those that were tried")
        return self


def sizes_folder() -> Path:
    """Return the folder in which choices are kept."""
    return platformdirs.user_cache_path("backlight") / "batch_sizes"


def key_of(
    subject: Subject, *, sites: Sequence[Site], lengths: NDArray[np.int64], largest: int
) -> str:
    """Name all that decides which batch size is best.

    Args:
        subject: The model.
        sites: Where gradients are taken.
        lengths: How many tokens passages have.
        largest: The largest size that may be tried.

    Returns:
        A digest of what is known of the model, the device with the number of threads, the sites,
        the longest length and about the middle one, and the versions of the libraries.
    """
    told = {
        "model": [subject.name, dict(subject.facts)],
        "device": _device(subject.device),
        "sites": [site.name for site in sites],
        "lengths": [int(lengths.max()), int(np.median(lengths)).bit_length()],
        "largest": largest,
        "code": {name: version(name) for name in _CODE},
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def _device(device: torch.device) -> list[str]:
    if device.type == "cuda":
        return [str(device.type), torch.cuda.get_device_name(device)]
    return [device.type, platform.machine(), platform.processor(), str(torch.get_num_threads())]


def recall(key: str) -> Remembered | None:
    """Look up which size was chosen.

    Args:
        key: For what (``key_of``).

    Returns:
        The choice; None if there is none. A file that is not what was written counts as none, and
        a warning says so.
    """
    file = _file(key)
    try:
        kept = Remembered.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError):
        kept = None
    if kept is None or kept.key != key:
        _logger.warning(
            "The batch size that was remembered in %s is not readable; it is measured anew.", file
        )
        return None
    return kept


def remember(chosen: Remembered) -> None:
    """Keep a choice; where that is not possible, a warning says so.

    Args:
        chosen: The choice.
    """
    file = _file(chosen.key)
    try:
        write_whole(file, chosen.model_dump_json().encode())
    except OSError as error:
        _logger.warning(
            "The batch size that was chosen could not be kept in %s (%s); another run will measure "
            "it again.",
            file,
            error.strerror,
        )


def _file(key: str) -> Path:
    return sizes_folder() / f"{key[:32]}.json"
