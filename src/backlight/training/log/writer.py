"""The log of a training run: a header, and one line for each thing that is known."""

import json
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TextIO
from weakref import finalize

from backlight.errors import RunDirectoryError, StorageError, quoted
from backlight.runs.files import write_file
from backlight.training.guarding.guard import attempt, message_of, warn_once
from backlight.training.log.history import History, ParameterInfo
from backlight.training.log.lines import encode_line, open_lines, whole_size
from backlight.training.log.reading import FORMAT, HEADER, LOG, assemble, read_history, records_of


class TrainingLog:
    """Takes records and appends them to a file; keeps in memory what cannot be written.

    Every line is handed to the system at once, so that a training that is killed loses at most the
    line that was being written. A full disk does not end the training: it is told once, and what
    follows is kept in memory. So it is where the file is deleted or moved.

    Attributes:
        path: The run directory; None if there is none, or once it could not be written.
        parameters: What the header says of each parameter.
    """

    def __init__(
        self,
        path: Path | None,
        parameters: Sequence[ParameterInfo],
        facts: Mapping[str, Any],
        *,
        resume: bool,
    ) -> None:
        """Open the file, behind what is there already.

        Args:
            path: The run directory; None to keep everything in memory.
            parameters: What the header says of each parameter.
            facts: What else it says.
            resume: Whether a log that is there is gone on with.

        Raises:
            RunDirectoryError: If the directory cannot be used.
        """
        self.path = path
        self.parameters = tuple(parameters)
        self._facts = dict(facts)
        self._memory: list[dict[str, Any]] = []
        self._file: TextIO | None = None
        if path is not None:
            self.parameters = _take_up(path, self.parameters, resume=resume)
            self._attempt(lambda: self._open(path))

    def describe(self, parameters: Sequence[ParameterInfo]) -> None:
        """Replace what the header says of the parameters.

        Args:
            parameters: Those as before, in the same order, and others behind them.
        """
        self.parameters = tuple(parameters)
        path = self.path
        if path is not None and (self._file is None or self._attempt(self._stay)):
            self._attempt(lambda: self._write_header(path))

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record, or keep it if there is no file."""
        line = encode_line(record)
        if self._file is None or not self._attempt(lambda: self._append(line)):
            self._memory.append(json.loads(line))

    def history(self) -> History:
        """Put together what was written and what is kept."""
        path = self.path
        written = records_of(path) if path is not None and (path / LOG).is_file() else []
        source = "" if path is None else str(path)
        return assemble(self.parameters, [*written, *self._memory], source=source)

    def close(self) -> None:
        """Close the file; what is recorded from now on is kept in memory."""
        if self._file is not None and self._attempt(self._stay):
            self._attempt(self._file.close)
            self._file = None

    def _open(self, path: Path) -> None:
        self._write_header(path)
        log = path / LOG
        self._file = open_lines(log)
        os.truncate(self._file.fileno(), whole_size(log.read_bytes()))
        finalize(self, self._file.close)  # where nobody closes the watch

    def _stay(self) -> None:
        """Make sure that the file is still where it was."""
        assert self._file is not None, "a file that is not open"
        assert self.path is not None, "a file without a place"
        here = os.fstat(self._file.fileno())
        try:
            there = (self.path / LOG).stat()
        except FileNotFoundError as error:
            raise StorageError(f"{quoted(self.path / LOG)} was deleted or moved") from error
        if (here.st_ino, here.st_dev) != (there.st_ino, there.st_dev):
            raise StorageError(f"{quoted(self.path / LOG)} was replaced")

    def _write_header(self, path: Path) -> None:
        parameters = [asdict(info) for info in self.parameters]
        header = {"format": FORMAT, **self._facts, "parameters": parameters}
        write_file(path / HEADER, (json.dumps(header, indent=1) + "\n").encode())

    def _append(self, line: str) -> None:
        self._stay()
        assert self._file is not None, "a line for a file that is not open"
        self._file.write(line)
        self._file.flush()

    def _attempt(self, write: Callable[[], object]) -> bool:
        """Write; if that fails, warn, and go on without the file."""
        error = attempt(write)
        if error is None:
            return True
        self._give_up()
        warn_once(
            f"The log of the gradients cannot be written ({message_of(error)}); it is kept in "
            "memory."
        )
        return False

    def _give_up(self) -> None:
        path, file, self.path, self._file = self.path, self._file, None, None
        written: list[dict[str, Any]] = []
        if file is not None:
            attempt(lambda: written.extend(_read_back(file)))
            attempt(file.close)
        elif path is not None:
            attempt(lambda: written.extend(records_of(path)))
        self._memory[:0] = written


def _read_back(file: TextIO) -> list[dict[str, Any]]:
    """Read what was written into a file, wherever its directory is now."""
    # Past the buffer, which still holds what could not be written.
    content = os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)
    found: list[dict[str, Any]] = []
    for line in filter(None, content.split(b"\n")):
        with suppress(ValueError):  # the last one may be torn
            found.append(json.loads(line))
    return found


def _take_up(
    path: Path, parameters: Sequence[ParameterInfo], *, resume: bool
) -> tuple[ParameterInfo, ...]:
    """Refuse a path that holds the log of another run, or is no directory.

    Args:
        path: The run directory.
        parameters: Those of the model.
        resume: Whether a log that is there is gone on with.

    Returns:
        The parameters in the order of the columns of the log that is there, those that an earlier
        process saw go included.

    Raises:
        RunDirectoryError: If it cannot be used.
    """
    if path.exists() and not path.is_dir():
        raise RunDirectoryError(f"{quoted(path)} is a file, not a directory for a log.")
    _refuse_what_is_no_log(path)
    if not (path / HEADER).exists():
        return tuple(parameters)
    if not resume:
        raise RunDirectoryError(
            f"{quoted(path)} already holds the log of a training run. Name another directory, or "
            "say with steps_done how many steps were done, to go on with it."
        )
    before = read_history(path).parameters
    ours = {(info.name, info.shape): info for info in parameters}
    theirs = {(info.name, info.shape): info for info in before}
    differing = {key for key, info in theirs.items() if not info.until and key not in ours}
    differing |= ours.keys() - theirs.keys()
    if differing:
        name, shape = min(differing)
        raise RunDirectoryError(
            f"{quoted(path)} holds the log of another model: they differ in {quoted(name)} "
            f"{shape}. Name another directory."
        )
    return tuple(
        replace(ours[key], since=old.since, elsewhere=old.elsewhere) if key in ours else old
        for key, old in theirs.items()
    )


def _refuse_what_is_no_log(path: Path) -> None:
    """Refuse a directory in which the names of a log are taken by something else."""
    for name in (HEADER, LOG):
        with suppress(FileNotFoundError):
            if not stat.S_ISREG((path / name).lstat().st_mode):
                raise RunDirectoryError(
                    f"{quoted(path / name)} is not a plain file, so the watch did not make it. "
                    "Name another directory."
                )
    if (path / LOG).exists() and not (path / HEADER).exists():
        raise RunDirectoryError(
            f"{quoted(path / LOG)} is there without the {HEADER} that the watch writes first, so "
            "it is somebody else's. Name another directory."
        )
