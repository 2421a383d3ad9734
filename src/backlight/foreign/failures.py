"""What fails in other people's code, in one sentence: the disk, memory, readers of files.

These are the errors that no command turns into one of ours, because they can come from anywhere.
Whatever is not in the table is a fault of backlight and shows its traceback.
"""

import csv
import importlib
import json
import pickle
import re
import struct
import sys
import zipfile
import zlib

from backlight.errors import beginning, quoted
from backlight.foreign.text import plain

_OURS = (
    OSError,
    MemoryError,
    RecursionError,
    UnicodeError,
    EOFError,
    ImportError,
    csv.Error,
    json.JSONDecodeError,
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""Kinds of Python itself."""

_THEIRS = (
    "safetensors:SafetensorError",
    "pyarrow:ArrowException",
    "torch:OutOfMemoryError",
    "yaml:YAMLError",
    "lzma:LZMAError",
    "tarfile:TarError",
    "jinja2:TemplateError",
    "httpx:HTTPError",
    "httpx2:HTTPError",
    "datasets.exceptions:DatasetsError",
    "huggingface_hub.errors:HFValidationError",
)
"""Kinds of libraries, which are looked at only if the library was loaded."""

_MEMORY = re.compile("can't allocate memory|not enough memory|out of memory", re.IGNORECASE)
_HOME = re.compile("home directory")
_LONGEST = 300  # letters of what a library says


def kinds_of_failures() -> tuple[type[BaseException], ...]:
    """List the kinds of errors that ``tell`` knows.

    To be asked when something was raised already: then all that could raise it is loaded.

    Returns:
        The kinds. ``RuntimeError`` is among them, as libraries have no other word for a lack of
        memory; ``tell`` says which are meant.
    """
    found: list[type[BaseException]] = [*_OURS, RuntimeError]
    for kind in _THEIRS:
        module, _, name = kind.partition(":")
        if module in sys.modules:
            found.append(getattr(importlib.import_module(module), name))
    return tuple(found)


def network_failures() -> tuple[type[Exception], ...]:
    """List the kinds of errors with which the hub's client says that there is no network."""
    clients = (sys.modules.get(name) for name in ("httpx", "httpx2"))
    return tuple(client.HTTPError for client in clients if client is not None)


def tell(error: BaseException) -> str | None:
    """Explain a failure in one sentence.

    Args:
        error: One of the kinds of ``kinds_of_failures``.

    Returns:
        The sentence; None if it is none of what is meant.
    """
    said = beginning(" ".join(plain(error).split()), _LONGEST)
    if isinstance(error, MemoryError) or _MEMORY.search(said):
        return (
            "There is not enough memory for this. Less is needed with a smaller --batch_size or "
            f"--max_length, or with fewer layers.{f' ({said})' if said else ''}"
        )
    if isinstance(error, RecursionError):
        return f"Something that was read is nested too deeply to be followed ({said})."
    if isinstance(error, OSError):
        return _of_the_system(error, said)
    if isinstance(error, ImportError):
        return f"A package is missing, or is too old: {said}"
    if isinstance(error, RuntimeError):
        return f"A path cannot be followed: {said}" if _HOME.search(said) else None
    return (
        f"Something that was read is damaged, or of another kind than its name says "
        f"({type(error).__name__}: {said.rstrip('.')})."
    )


def _of_the_system(error: OSError, said: str) -> str:
    if error.strerror is None:
        return f"Something cannot be read or written ({type(error).__name__}: {said})."
    if error.filename is None:
        return f"What is printed, or a file, cannot be written or read: {plain(error.strerror)}."
    name = error.filename if isinstance(error.filename, (str, bytes)) else str(error.filename)
    return f"{quoted(name)} cannot be read or written: {plain(error.strerror)}."
