"""The state of an unfinished run as arrays, with what tells whether it is whole and whose it is."""

import hashlib
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.runs.files import parse_arrays

_DIGEST, _OWNER = "sha256_of_state", "sha256_of_config"


def pack(state: Mapping[str, NDArray[Any]], owner: str) -> dict[str, NDArray[Any]]:
    """Add to a state what tells whether it is whole and whose it is.

    Args:
        state: The arrays, by name.
        owner: The SHA-256 of the run's ``config.yaml``, which says when it began.

    Returns:
        What to write.
    """
    return {**state, _DIGEST: np.array(_digest(state)), _OWNER: np.array(owner)}


def unpack(content: bytes, owner: str, path: PurePath) -> dict[str, NDArray[Any]]:
    """Read what ``pack`` gave, after it was a file.

    Args:
        content: The file's content.
        owner: The SHA-256 of the run's ``config.yaml``.
        path: The file, for messages.

    Returns:
        The state.

    Raises:
        ValueError: If it is no state, is not whole, or is another run's; the message says which.
    """
    state = parse_arrays(content, path)
    digest, whose = state.pop(_DIGEST, None), state.pop(_OWNER, None)
    if digest is None or whose is None:
        raise ValueError("it says no digest of itself")
    if str(digest) != _digest(state):
        raise ValueError("its arrays are not those that were kept, by their digest")
    if str(whose) != owner:
        raise ValueError("it is that of another run, or config.yaml was edited since")
    return state


def _digest(state: Mapping[str, NDArray[Any]]) -> str:
    # Name, type and shape are hashed with the numbers, each name behind its length: else the same
    # bytes under other names, or cut into other shapes, would have the same digest. The digest is
    # of the arrays, not of the file, as a zip file has members that nobody reads.
    total = hashlib.sha256()
    for name in sorted(state):
        array = np.asarray(state[name], order="C")
        total.update(f"{len(name)} {name} {array.dtype.str} {array.shape} ".encode())
        if array.nbytes:
            total.update(array.reshape(-1).view(np.uint8).data)
    return total.hexdigest()
