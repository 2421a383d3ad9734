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
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from logging import getLogger
from typing import Any, final

from backlight.atomic import is_scratch, scratch_name
from backlight.errors import RunDirectoryError, StorageError, beginning, quoted
from backlight.foreign.text import plain
from backlight.runs.files import what_to_do
from backlight.runs.places import fault_of
from backlight.runs.reaching import failures, reason_and_remedy
from backlight.runs.stores import Store
from backlight.runs.urls import ATOMIC, Url

MARK = ".held"
"""Says which process took the run up last."""

_LONGEST = 300  # letters of what a library says
_logger = getLogger(__name__)


@final
class Remote(Store):
    """A place on a file system where files are published at once."""

    def __init__(self, place: Url) -> None:
        self._place, self._mark, self.begun = place, b"", False

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
                    f"{quoted(self._place)} cannot be written: there is no bucket "
                    f"{quoted(self._place.parts[1])}. {what_to_do('make it', begun=self.begun)}"
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
        return _opened(self._place)

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
        except failures() as error:
            is_own = name == MARK or is_scratch(name)
            raise _unreachable(
                self._place if is_own else self._place / name, done, error, begun=self.begun
            ) from error


def _unreachable(
    place: Url, done: str, error: BaseException, *, begun: bool | None
) -> StorageError:
    """Make the error for what fails on the way to another machine."""
    said = beginning(" ".join(plain(error).split()), _LONGEST) or type(error).__name__
    reason, remedy = reason_and_remedy(error, place)
    is_read = done == "read" and not begun  # nobody was to write there yet
    return StorageError(
        f"{quoted(place)} cannot be {done}: {reason} ({said.rstrip('.')}). "
        f"{what_to_do(remedy, begun=None if is_read else begun)}"
    )


def _told_of(mark: bytes, place: Url) -> str:
    """Say who held a run before."""
    try:
        who: Any = json.loads(mark)
        named = f"process {who['process']} of {who['machine']} since {who['since']}"
    except (ValueError, LookupError, TypeError):
        named = "another process"
    return plain(
        f"The run in {quoted(place)} was not let go by {named}. If that is still at work, it will "
        "stop when it next writes; if it was killed, nothing needs to be done."
    )


def _opened(place: Url) -> tuple[Any, str]:
    """Reach the file system of a URL, and write the place as that names it."""
    url = str(place)
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
    except (ValueError, *failures()) as error:
        raise _unreachable(place, "opened", error, begun=None) from error
    return system, str(root).rstrip("/")
