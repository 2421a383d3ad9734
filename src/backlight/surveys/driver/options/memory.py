"""The option that bounds the memory for a model and its pass."""

import re
from typing import Any

from pydantic import Field, field_validator

from backlight.surveys.driver.options.samples import AUTO
from backlight.surveys.driver.options.shared import Options

_SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,9})?) ?([kKMGT]?)(i?)B")
_POWERS = " KMGT"


class MemoryOptions(Options):
    """How much memory a process may take; no number depends on it."""

    memory: str | None = Field(
        default=None,
        description="How much memory a process may take, such as 4GB, 512MB or 2.5GiB (on the "
        "CPU): a model that does not fit is measured block by block, each block's weights read "
        "from its safetensors when they are needed. The numbers are the same; it takes longer. "
        "[default: the whole model is loaded]",
    )

    @field_validator("memory")
    @classmethod
    def _is_memory(cls, text: str | None, info: Any) -> str | None:
        if text is None:
            return None
        if info.data.get("batch_size") == AUTO:
            raise ValueError("what fits depends on the batch size; give a number, not auto")
        if _SIZE.fullmatch(text.strip()) is None:
            raise ValueError("write a size such as 4GB, 512MB or 2.5GiB")
        if parse_size(text) <= 0:
            raise ValueError("it must be more than nothing")
        return text.strip()

    @field_validator("batch_size", check_fields=False)
    @classmethod
    def _is_a_number(cls, size: Any, info: Any) -> Any:
        # Where a survey's own batch size is read after this option.
        if size == AUTO and info.data.get("memory") is not None:
            raise ValueError("with --memory, what fits depends on it; give a number, not auto")
        return size


def parse_size(text: str) -> int:
    """Read a size that a person has written.

    Args:
        text: Such as ``4GB`` (4,000,000,000 bytes) or ``2.5GiB`` (2.5 times 2 to the 30).

    Returns:
        Bytes.

    Raises:
        ValueError: If it is no size.

    Examples:
        >>> parse_size("512MB"), parse_size("2.5GiB")
        (512000000, 2684354560)
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no size such as 4GB, 512MB or 2.5GiB")
    base = 1024 if found[3] else 1000
    return int(float(found[1]) * base ** _POWERS.index((found[2] or " ").upper()))


def size_in_words(num_bytes: float) -> str:
    """Write a size, such as ``1.25 GB`` or ``80 kB``."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if num_bytes >= size:
            return f"{num_bytes / size:.3g} {unit}"
    return f"{num_bytes / 1e3:.3g} kB"
