"""Files that are either whole or not there."""

import errno
import hashlib
import io
import json
import math
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.atomic import is_scratch, write_whole
from backlight.errors import RunDirectoryError, StorageError, quoted
from backlight.foreign.files import check_archive, open_foreign

_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "allow it to be written"),
}
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest a zip file can say: equal arrays give equal files


def write_file(path: Path, content: bytes) -> None:
    """Write a file so that it is never seen half-written.

    Args:
        path: The file; its folder is made if needed.
        content: What to write.

    Raises:
        StorageError: If it cannot be written; what was there before is still there.
    """
    try:
        write_whole(path, content)
    except OSError as error:
        raise unwritable(path, error, begun=None) from error


def unwritable(path: PurePath, error: OSError, *, begun: bool | None) -> StorageError:
    """Make the error for a file that could not be written.

    Args:
        path: The file.
        error: Why.
        begun: See ``what_to_do``.

    Returns:
        The error; it says what is not lost, and what to do.
    """
    remedy = _REMEDIES.get(error.errno, "mend that")
    return StorageError(
        f"{quoted(path)} cannot be written: {error.strerror or error}. "
        f"{what_to_do(remedy, begun=begun)}"
    )


def what_to_do(remedy: str, *, begun: bool | None) -> str:
    """Say what to do about a file that cannot be written, and what is not lost.

    Args:
        remedy: What to do, as half a sentence.
        begun: Whether a run was begun, with which one can go on; None for what is no run that is
            going on.

    Returns:
        A sentence.
    """
    if begun is None:
        return f"{remedy[0].upper()}{remedy[1:]}."
    if begun:
        return f"What was saved before is intact; {remedy}, and go on with --resume."
    return f"Nothing was begun; {remedy}, or name another --output_dir."


def sweep(root: Path) -> None:
    """Delete what a process that was killed in the middle of a write has left half-written.

    Args:
        root: A directory; links in it are not followed. Files of other tools that end in ``.part``
            stay.
    """
    for folder, _, files in os.walk(root, followlinks=False):
        for name in filter(is_scratch, files):
            Path(folder, name).unlink(missing_ok=True)


def read_file(path: Path, *, most: int | None = None) -> bytes:
    """Read an ordinary file.

    Args:
        path: The file.
        most: How many bytes it may have; None for any number.

    Returns:
        Its content.

    Raises:
        RunDirectoryError: If it is not there, cannot be read, or is a device or a pipe, which may
            never end.
    """
    with open_foreign(path, error=RunDirectoryError, most=most) as file:
        try:
            return file.read()
        except OSError as error:
            raise RunDirectoryError(f"{quoted(path)} cannot be read: {error.strerror}.") from error


def digest_of(content: bytes) -> str:
    """Compute the SHA-256 of some bytes."""
    return hashlib.sha256(content).hexdigest()


def json_text(content: Any) -> str:
    """Write values as JSON, NaN and infinity as null, numbers of numpy as plain ones."""
    return json.dumps(_without_nan(content), indent=2, allow_nan=False) + "\n"


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


def parse_arrays(content: bytes, path: PurePath) -> dict[str, NDArray[Any]]:
    """Read the content of a ``.npz`` file, or of a ``.npy`` file under the name ``""``.

    Args:
        content: The bytes, of whatever origin; nothing in them is unpickled or run.
        path: Where they stood, for messages.

    Returns:
        The arrays.

    Raises:
        ValueError: If they are no arrays; the message says why in a few words.
        RunDirectoryError: If they would unpack to very much more than they are.
    """
    try:
        if not content.startswith(b"PK"):
            return {"": _array_of(io.BytesIO(content), len(content))}
        check_archive(path, io.BytesIO(content), error=RunDirectoryError)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return dict(_members(archive))
    except (
        *(OSError, EOFError, KeyError, RuntimeError, OverflowError, MemoryError),  # also encryption
        *(zipfile.BadZipFile, zlib.error),
    ) as error:
        raise ValueError(f"it is damaged ({quoted(str(error))})") from error


def _members(archive: zipfile.ZipFile) -> Iterator[tuple[str, NDArray[Any]]]:
    for member in archive.infolist():
        if not member.filename.endswith(".npy"):
            raise ValueError(f"it holds {quoted(member.filename)}, which is no array")
        with archive.open(member) as file:
            yield member.filename.removesuffix(".npy"), _array_of(file, member.file_size)


def _array_of(file: Any, size: int) -> NDArray[Any]:
    """Read one array, whose header must not promise more than there is."""
    header = np.lib.format.read_magic(file)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if header not in readers:
        raise ValueError("it is no array of numpy")
    shape, fortran, dtype = readers[header](file)
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded when allow_pickle=False")
    num = math.prod(shape)
    if min(shape, default=0) < 0 or num * dtype.itemsize > size:
        raise ValueError("its header promises more numbers than it holds")
    content = file.read()
    if len(content) != num * dtype.itemsize:
        raise ValueError("it was cut, or holds more than its header says")
    array = np.frombuffer(content, dtype=dtype).copy()
    return array.reshape(shape, order="F" if fortran else "C")


def _without_nan(content: Any) -> Any:
    if isinstance(content, dict):
        return {str(key): _without_nan(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_without_nan(value) for value in content]
    if isinstance(content, np.generic):
        return _without_nan(content.item())
    return None if isinstance(content, float) and not np.isfinite(content) else content
