"""Files on a file system that fsspec reaches, each published at once by one request.

What holds there: a file is whole or not there, as an object store publishes an object when its
upload is complete. What does not: there is no lock. Instead, who takes a run up leaves its mark,
and whoever finds the mark of another at its next write stops; between the look and the write
another could slip in, so this notices two drivers but cannot exclude them.
"""

import json
import os
import secrets
import socket
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from logging import getLogger
from typing import Any, final

from backlight.atomic import scratch_name
from backlight.errors import RunDirectoryError, StorageError, beginning, quoted
from backlight.foreign.text import plain
from backlight.runs.places import fault_of
from backlight.runs.stores import Store
from backlight.runs.urls import ATOMIC, Url

MARK = ".held"
"""Says which process took the run up last."""

_LONGEST = 300  # letters of what a library says
_THEIRS = (
    "botocore.exceptions:BotoCoreError",
    "botocore.exceptions:ClientError",
    "google.auth.exceptions:GoogleAuthError",
    "gcsfs.retry:HttpError",
    "azure.core.exceptions:AzureError",
    "aiohttp:ClientError",
    "fsspec.exceptions:FSTimeoutError",
)
"""Kinds of failures of libraries, beside ``OSError``; looked at if the library was loaded."""
_logger = getLogger(__name__)


@final
class Remote(Store):
    """A place on a file system where files are published at once."""

    def __init__(self, place: Url) -> None:
        self._place, self._mark = place, b""

    @property
    def place(self) -> Url:
        """See ``Store.place``."""
        return self._place

    def refuse(self) -> None:
        """See ``Store.refuse``."""
        probe = scratch_name()
        self.write(probe, b"")
        self.remove(probe)

    def refuse_changed(self, names: Iterable[str]) -> None:
        """See ``Store.refuse_changed``: here a name is a file or nothing."""

    def make(self) -> None:
        """See ``Store.make``: there are no folders."""

    def hold(self) -> object:
        """See ``Store.hold``: leaves a mark, in place of that of another."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        who = {"process": os.getpid(), "machine": socket.gethostname(), "since": now}
        mark = json.dumps({**who, "token": secrets.token_hex(8)}).encode()
        before = self._mark_there()
        self.write(MARK, mark)
        self._mark = mark
        if before is not None:
            _logger.warning("%s", _told_of(before, self._place))
        return mark

    def let_go(self) -> None:
        """See ``Store.let_go``."""
        self.remove(MARK)
        self._mark = b""

    def sweep(self) -> None:
        """See ``Store.sweep``: a file that was half-written was never there."""

    def listed(self) -> list[str]:
        """See ``Store.listed``."""
        system, root = self._system()
        with self._told("read"):
            try:
                found = system.find(root)
            except FileNotFoundError:
                return []
        below = f"{root}/"
        names = [name.removeprefix(below) for name in map(str, found) if name.startswith(below)]
        return [name for name in names if name != MARK]

    def has(self, name: str) -> bool:
        """See ``Store.has``."""
        system, root = self._system()
        with self._told("read", name):
            try:
                return system.info(f"{root}/{name}")["type"] == "file"
            except FileNotFoundError:
                return False

    def present(self, names: Iterable[str]) -> set[str]:
        """See ``Store.present``: it is one question."""
        return {*names} & {*self.listed()}

    def is_taken(self, name: str) -> bool:
        """See ``Store.is_taken``."""
        return self.has(name)

    def is_own(self, name: str) -> bool:
        """See ``Store.is_own``: there are no links."""
        del name
        return True

    def below(self, name: str) -> Url:
        """See ``Store.below``."""
        fault = fault_of(name)
        if fault is not None:
            raise RunDirectoryError(
                f"{quoted(name)} cannot be the name of a file in {quoted(self._place)}: {fault}."
            )
        return self._place / name

    def read(self, name: str, *, most: int | None = None) -> bytes:
        """See ``Store.read``; raises a StorageError if the place cannot be reached."""
        system, root = self._system()
        path = f"{root}/{name}"
        with self._told("read", name):
            try:
                size = 0 if most is None else system.info(path)["size"]
                if most is not None and size > most:
                    raise RunDirectoryError(
                        f"{quoted(self._place / name)} has {size:,} bytes, more than a file of its "
                        "kind has; is it the right file?"
                    )
                return system.cat_file(path)
            except FileNotFoundError as error:
                raise RunDirectoryError(
                    f"There is no file {quoted(self._place / name)}."
                ) from error

    def write(self, name: str, content: bytes) -> None:
        """See ``Store.write``."""
        self.below(name)
        self._refuse_another()
        system, root = self._system()
        with self._told("written", name):
            try:
                system.pipe_file(f"{root}/{name}", content)
            except FileNotFoundError as error:
                raise StorageError(
                    f"{quoted(self._place / name)} cannot be written: there is no bucket "
                    f"{quoted(self._place.parts[1])}; make it, or name another --output_dir."
                ) from error

    def add_line(self, name: str, line: str) -> None:
        """See ``Store.add_line``: the file is written anew."""
        self.write(name, self.read(name) + f"{line}\n".encode())

    def remove(self, name: str) -> None:
        """See ``Store.remove``."""
        self.below(name)
        self._refuse_another()
        system, root = self._system()
        with self._told("deleted", name):
            try:
                system.rm_file(f"{root}/{name}")
            except FileNotFoundError:
                return

    def remove_folder(self, name: str) -> None:
        """See ``Store.remove_folder``: there are none."""

    def _system(self) -> tuple[Any, str]:
        return _opened(str(self._place))

    def _refuse_another(self) -> None:
        """Stop if another process has taken up what this one holds."""
        if self._mark and self._mark_there() != self._mark:
            self._mark = b""
            raise RunDirectoryError(
                f"Another process has taken up the run in {quoted(self._place)} since, so this one "
                "stops: one at a time may drive a run. What was saved is intact."
            )

    def _mark_there(self) -> bytes | None:
        system, root = self._system()
        with self._told("read", MARK):
            try:
                return system.cat_file(f"{root}/{MARK}")
            except FileNotFoundError:
                return None

    @contextmanager
    def _told(self, done: str, name: str = "") -> Generator[None, None, None]:
        """Tell what fails on the way to another machine in one sentence."""
        try:
            yield
        except _failures() as error:
            where = quoted(self._place / name)
            said = beginning(" ".join(plain(error).split()), _LONGEST) or type(error).__name__
            what = (
                "there is no permission"
                if isinstance(error, PermissionError)
                else "the place could not be reached"
            )
            raise StorageError(
                f"{where} cannot be {done}: {what} ({said.rstrip('.')}). What was saved before is "
                "intact; when it can be reached, go on with --resume."
            ) from error


def _told_of(mark: bytes, place: Url) -> str:
    """Say who held a run before."""
    try:
        who: Any = json.loads(mark)
        named = f"process {who['process']} of {who['machine']} since {who['since']}"
    except (ValueError, LookupError, TypeError):
        named = "another process"
    return plain(
        f"The run in {quoted(place)} was not let go by {named}. If that is still at work, it will "
        "stop when it next writes; else it was killed, and all is well."
    )


def _opened(url: str) -> tuple[Any, str]:
    """Reach the file system of a URL, and write the place as that names it."""
    protocol = url.partition(":")[0]
    try:
        fsspec = import_module("fsspec")
    except ImportError as error:
        raise RunDirectoryError(
            f"{quoted(url)} needs the package fsspec: pip install 'backlight[remote]' "
            f"{ATOMIC[protocol]}."
        ) from error
    try:
        # Listings that were kept would hide what another machine has published since.
        system, root = fsspec.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        raise RunDirectoryError(
            f"{quoted(url)} needs the package {ATOMIC[protocol]}: pip install {ATOMIC[protocol]}."
        ) from error
    except _failures() as error:
        said = beginning(" ".join(plain(error).split()), _LONGEST)
        raise StorageError(f"{quoted(url)} cannot be reached ({said}).") from error
    return system, str(root).rstrip("/")


def _failures() -> tuple[type[BaseException], ...]:
    """List the kinds of errors with which a file system says that it cannot be reached."""
    found: list[type[BaseException]] = [OSError]
    for kind in _THEIRS:
        module, _, name = kind.partition(":")
        if module in sys.modules:
            found.append(getattr(sys.modules[module], name))
    return tuple(found)
