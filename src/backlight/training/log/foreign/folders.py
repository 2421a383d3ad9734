"""From a folder that a trainer left to the log inside of it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from backlight.errors import RunDirectoryError, quoted
from backlight.training.log.foreign.text import reason
from backlight.training.log.foreign.words import LOG_FILES

_STATE = "trainer_state.json"
_WANDB = re.compile(r"^wandb$|^offline-run-|^run-20|.\.wandb$")
_EVENTS = re.compile(r"\.tfevents\.")
_NUMBERED = re.compile(r"^(?:checkpoint-|version_)(\d{1,15})$")
_HELD_OUT = frozenset({"eval", "evaluation", "val", "valid", "validation", "test"})
_MOST_ENTRIES = 20_000
_DEPTH = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A log in a folder.

    Attributes:
        files: One file, or the event files of one run.
        note: Which of several it is; empty if there was no choice.
    """

    files: Sequence[Path]
    note: str = ""


def find_log(path: Path) -> Found:
    """Find the log in a folder.

    A ``trainer_state.json`` counts before all others, since it is complete; of numbered folders
    (``checkpoint-200``, ``version_3``) the last one counts.

    Args:
        path: An output folder or a checkpoint of a trainer, a folder of a logger or of TensorBoard.

    Returns:
        The log.

    Raises:
        RunDirectoryError: If there is none, or it is not clear which one is meant.
    """
    entries = _entries(path)
    inside = [path, *(entry for entry in entries if entry.name == "lightning_logs")]
    for folder in inside:
        for finder in (_own_state, _last_numbered, _named, _events):
            found = finder(folder)
            if found is not None:
                return found
    runs = list(_event_folders(path, _DEPTH))
    if len(runs) == 1:
        return Found(files=_event_files(runs[0]), note=f"Read from {quoted(runs[0])}.")
    if runs:
        names = ", ".join(quoted(run.relative_to(path)) for run in runs[:4])
        raise RunDirectoryError(
            f"{quoted(path)} holds {len(runs)} runs of TensorBoard: {names}"
            f"{' and others' if len(runs) > 4 else ''}. Name one of these folders."
        )
    if any(_WANDB.search(entry.name) for entry in entries):
        raise RunDirectoryError(
            f"{quoted(path)} is a folder of Weights & Biases, whose format only its own package "
            "reads. Export the run's history (on its page: Export, CSV; in Python: "
            "run.history(pandas=True).to_csv) and name that file."
        )
    raise RunDirectoryError(
        f"{quoted(path)} holds no log of a training run: it has no watch.json, which "
        f"backlight.watch writes, no {_STATE}, also not in a checkpoint, no metrics.csv and no "
        "event file of TensorBoard. Name the file that holds the log."
    )


def _entries(path: Path) -> list[Path]:
    entries: list[Path] = []
    try:
        for entry in path.iterdir():
            entries.append(entry)
            if len(entries) > _MOST_ENTRIES:
                raise RunDirectoryError(
                    f"{quoted(path)} holds more than {_MOST_ENTRIES:,} files; name the log itself."
                )
    except (OSError, ValueError) as error:
        raise RunDirectoryError(f"{quoted(path)} cannot be read: {reason(error)}.") from error
    return sorted(entries)


def _own_state(path: Path) -> Found | None:
    return Found(files=[path / _STATE]) if (path / _STATE).is_file() else None


def _last_numbered(path: Path) -> Found | None:
    """Take the last of numbered folders that hold a log."""
    numbered = [
        (int(match[1]), entry)
        for entry in _entries(path)
        if (match := _NUMBERED.match(entry.name)) and entry.is_dir()
    ]
    for _, folder in sorted(numbered, reverse=True):
        for finder in (_own_state, _named, _events):
            found = finder(folder)
            if found is not None:
                other = f", the last of {len(numbered)}" if len(numbered) > 1 else ""
                return Found(files=found.files, note=f"Read from {quoted(folder.name)}{other}.")
    return None


def _named(path: Path) -> Found | None:
    for name in LOG_FILES:
        if (path / name).is_file():
            return Found(files=[path / name], note=f"Read from {name!r}.")
    return None


def _events(path: Path) -> Found | None:
    files = _event_files(path)
    return Found(files=files) if files else None


def _event_files(path: Path) -> list[Path]:
    """Return the event files of a folder in the order of the times in their names."""
    return [entry for entry in _entries(path) if _EVENTS.search(entry.name) and entry.is_file()]


def _event_folders(path: Path, depth: int) -> Iterator[Path]:
    for entry in _entries(path):
        if entry.is_dir() and not entry.is_symlink() and entry.name.casefold() not in _HELD_OUT:
            if _event_files(entry):
                yield entry
            elif depth > 1:
                yield from _event_folders(entry, depth - 1)
