"""Places that are no folders of this machine: URLs of file systems that publish a file at once."""

import re
from pathlib import Path, PurePath, PurePosixPath
from typing import final

from backlight.errors import RunDirectoryError, quoted

ATOMIC = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "memory": "fsspec",
}
"""The file systems where a file is there whole or not at all, by how their URLs begin, and the
package that fsspec needs for each. ``memory`` is that of one process, for tests."""

_NOT_ATOMIC = "its files appear while they are being written, so some could be half there"
_READ_ONLY = "nothing can be written there"
_WITHIN = "it stands for another file system, whose own URL is to be given"
_REFUSED = {
    **dict.fromkeys(("sftp", "ssh", "ftp", "smb", "webdav", "webhdfs", "hdfs"), _NOT_ATOMIC),
    **dict.fromkeys(("arrow_hdfs", "dbfs", "dropbox", "gdrive", "box", "jupyter"), _NOT_ATOMIC),
    **dict.fromkeys(("http", "https", "git", "github", "gist", "data", "reference"), _READ_ONLY),
    **dict.fromkeys(("zip", "tar", "libarchive", "dir"), _WITHIN),
    **dict.fromkeys(("simplecache", "filecache", "blockcache", "cached"), _WITHIN),
    **dict.fromkeys(("file", "local"), "name the folder itself, without file://"),
    "hf": "every file that is written there is a commit",
}
_URL = re.compile(r"(?P<scheme>[A-Za-z][\w.+-]+(?:::[\w.+-]+)*):(?P<slashes>/+)?(?P<rest>.*)")


@final
class Url(PurePosixPath):
    """A place on another file system: parts are joined as those of a path, but nothing is opened.

    >>> Url("s3:/bucket/runs") / "layers"
    Url('s3://bucket/runs/layers')
    """

    def __str__(self) -> str:
        scheme, _, rest = super().__str__().partition(":/")
        return f"{scheme}://{rest.lstrip('/')}"


Place = Path | Url
"""Where a run is: a folder of this machine, or a URL."""


def place_of(path: str | PurePath) -> Place:
    """Find out whether a path means a folder or file of this machine, or a URL.

    Paths have one slash where URLs have two, so ``s3:/bucket`` is the same as ``s3://bucket``. A
    folder of this machine whose name ends with a colon can be named by its absolute path.

    >>> place_of("runs/layers").name, place_of("s3://bucket/runs/layers")
    ('layers', Url('s3://bucket/runs/layers'))

    Args:
        path: What a user named.

    Returns:
        The path, or the URL.

    Raises:
        RunDirectoryError: If it is a URL of a file system that does not publish files at once, or
            one that may mean another place than it seems to.
    """
    told = path.as_posix() if isinstance(path, PurePath) else path
    found = _URL.fullmatch(told)
    if found is None or (found["slashes"] is None and not _is_known(found["scheme"], found)):
        return Path(path)
    scheme = found["scheme"].lower()
    fault = _fault_of(found["rest"]) if scheme in ATOMIC else _reason(scheme)
    if fault is not None:
        told = f"{scheme}://{found['rest']}"
        raise RunDirectoryError(f"{quoted(told)} cannot hold a run: {fault}.")
    return Url(f"{scheme}:/{found['rest']}")


def is_url(path: PurePath) -> bool:
    """Find out whether a path was written as a URL, of whatever kind."""
    found = _URL.fullmatch(path.as_posix())
    return found is not None and found["slashes"] is not None


def _is_known(scheme: str, found: re.Match[str]) -> bool:
    return not found["rest"] and scheme.lower() in ATOMIC  # ``s3://`` as a path is ``s3:``


def _reason(scheme: str) -> str:
    first = scheme.partition("::")[0]
    if first in _REFUSED:
        return _REFUSED[first]
    known = ", ".join(f"{name}://" for name in ATOMIC)
    return (
        f"it is not known whether {first}:// shows files only when they are whole, as these do: "
        f"{known}"
    )


def _fault_of(rest: str) -> str | None:
    """Find out why what stands after the slashes of a URL may mean another place."""
    if not rest.strip("/"):
        return "it names no bucket or folder"
    if any(not character.isprintable() for character in rest):
        return "it has characters that cannot be printed"
    if "?" in rest or "#" in rest or "\\" in rest:
        return "it has a '?', '#' or backslash, which do not belong to a name"
    if any(part in (".", "..") for part in rest.split("/")):
        return "it has a part '.' or '..'"
    return None
