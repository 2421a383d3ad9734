"""Files that are either whole or not there."""

import io
import os
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.errors import StorageError

__all__ = ["npy_bytes", "npz_bytes", "unwritable", "write_file"]

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest a zip file can say: equal arrays give equal files


def write_file(path: Path, content: bytes) -> None:
    """Write a file so that it is never seen half-written.

    Args:
        path: The file; its folder is made if needed.
        content: What to write.

    Raises:
        StorageError: If it cannot be written; what was there before is still there.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except OSError as error:
        with suppress(OSError):  # its folder may not be there either
            scratch.unlink()
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> StorageError:
    """Say that a file could not be written, and what is not lost."""
    return StorageError(
        f"{str(path)!r} cannot be written: {error.strerror}. What was saved before is intact; "
        "make room and go on with --resume."
    )


def npy_bytes(array: NDArray[Any]) -> bytes:
    """Write an array as the content of a ``.npy`` file, never as a pickle."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array, order="C"), allow_pickle=False)
    return buffer.getvalue()


def npz_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Write arrays as the content of a ``.npz`` file; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _EPOCH), npy_bytes(array))
    return buffer.getvalue()
