"""The log of a training run: a header, and one line for each thing that is known."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from backlight.errors import RunDirectoryError, StorageError
from backlight.runs.files import write_file
from backlight.training.history.history import History, ParameterInfo
from backlight.training.history.lines import encode_line, read_lines, whole_size
from backlight.training.history.reading import FORMAT, HEADER, LOG, assemble, read_history
from backlight.training.outlets.complaint import complain

__all__ = ["TrainingLog"]


class TrainingLog:
    """Takes records and appends them to a file; keeps in memory what cannot be written.

    Every line is handed to the system at once, so that a training that is killed loses at most the
    line that was being written. A full disk does not end the training: it is told once, and what
    follows is kept in memory.

    Attributes:
        path: The run directory; None if there is none, or once it could not be written.
    """

    def __init__(
        self,
        path: Path | None,
        parameters: Sequence[ParameterInfo],
        facts: Mapping[str, Any],
        *,
        resume: bool,
    ) -> None:
        self.path = path
        self._parameters = tuple(parameters)
        self._facts = dict(facts)
        self._written: list[dict[str, Any]] = []  # by an earlier process, or before the disk failed
        self._memory: list[dict[str, Any]] = []
        self._file: TextIO | None = None
        if path is not None:
            _refuse(path, self._parameters, resume=resume)
            self._attempt(lambda: self._open(path))

    @property
    def parameters(self) -> tuple[ParameterInfo, ...]:
        """What the header says of each parameter."""
        return self._parameters

    def describe(self, parameters: Sequence[ParameterInfo]) -> None:
        """Replace what the header says of the parameters.

        Args:
            parameters: As many as before, in the same order.
        """
        self._parameters = tuple(parameters)
        if self.path is not None:
            path = self.path
            self._attempt(lambda: self._write_header(path))

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record, or keep it if there is no file."""
        line = encode_line(record)
        if self._file is None or not self._attempt(lambda: self._append(line)):
            self._memory.append(json.loads(line))

    def history(self) -> History:
        """Put together what was written and what is kept."""
        written = self._written if self.path is None else _records(self.path)
        source = "" if self.path is None else str(self.path)
        return assemble(self._parameters, [*written, *self._memory], source=source)

    def close(self) -> None:
        """Close the file; what is recorded from now on is kept in memory."""
        if self._file is not None:
            self._attempt(self._file.close)
            self._file = None

    def _open(self, path: Path) -> None:
        self._write_header(path)
        log = path / LOG
        if log.exists():
            with log.open("r+b") as file:
                file.truncate(whole_size(file.read()))
        self._file = log.open("a", encoding="utf-8")

    def _write_header(self, path: Path) -> None:
        parameters = [
            {name: getattr(info, name) for name in info.__dataclass_fields__}
            for info in self._parameters
        ]
        header = {"format": FORMAT, **self._facts, "parameters": parameters}
        write_file(path / HEADER, (json.dumps(header, indent=1) + "\n").encode())

    def _append(self, line: str) -> None:
        assert self._file is not None, "a line for a file that is not open"
        self._file.write(line)
        self._file.flush()

    def _attempt(self, write: Callable[[], object]) -> bool:
        """Write; if that fails, complain, and go on without the file."""
        try:
            write()
        except (OSError, StorageError) as error:
            self._give_up()
            complain(f"The log of the gradients cannot be written ({error}); it is kept in memory.")
            return False
        return True

    def _give_up(self) -> None:
        path, file, self.path, self._file = self.path, self._file, None, None
        if file is not None:
            with suppress(OSError):  # that it cannot be written is told anyway
                file.close()
        if path is not None and (path / LOG).is_file():
            self._written = _records(path)


def _records(path: Path) -> list[dict[str, Any]]:
    log = path / LOG
    return [record for _, record in read_lines(log)] if log.is_file() else []


def _refuse(path: Path, parameters: Sequence[ParameterInfo], *, resume: bool) -> None:
    """Refuse a path that holds the log of another run, or is no directory."""
    if path.exists() and not path.is_dir():
        raise RunDirectoryError(f"{str(path)!r} is a file, not a directory for a log.")
    if (path / HEADER).exists() and not resume:
        raise RunDirectoryError(
            f"{str(path)!r} already holds the log of a training run. Name another directory, or "
            "say with steps_done how many steps were done, to go on with it."
        )
    if (path / HEADER).exists():
        before = {(info.name, info.shape) for info in read_history(path).parameters}
        differing = before ^ {(info.name, info.shape) for info in parameters}
        if differing:
            name, shape = min(differing)
            raise RunDirectoryError(
                f"{str(path)!r} holds the log of another model: they differ in {name} {shape}. "
                "Name another directory."
            )
