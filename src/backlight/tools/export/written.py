"""What an export writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Files that are to be written, and what is said of them.

    Attributes:
        files: The content of each file.
        told: What they hold, in a few words.
        notes: What a reader must know besides.
    """

    files: Mapping[Path, bytes]
    told: str
    notes: Sequence[str] = ()
