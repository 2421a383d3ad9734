"""A run directory: a config first, a checkpoint on the way, results, a manifest last."""

import json
import logging
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from backlight.errors import RunDirectoryError
from backlight.foreign.text import plain
from backlight.runs.files import npy_bytes, npz_bytes, unwritable, write_file
from backlight.tables import Table

__all__ = ["PROVENANCE", "RunDirectory"]

PROVENANCE = "provenance"
"""The key under which a run's ``config.yaml`` says where it came from; it is not an option."""

_CONFIG, _MANIFEST, _CHECKPOINT = "config.yaml", "manifest.json", "checkpoint.npz"
_JOURNAL = ".written"
_logger = logging.getLogger(__name__)


class RunDirectory:
    """A directory that holds one run.

    ``config.yaml`` (the options and where they came from) is written when the run starts;
    ``checkpoint.npz`` holds the state of an unfinished run; ``manifest.json`` is written last, so
    its presence means that everything is there.

    Attributes:
        path: Where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written: set[str] = set()

    @staticmethod
    def create(
        path: Path,
        options: Mapping[str, Any],
        provenance: Mapping[str, Any],
        *,
        overwrite: bool = False,
    ) -> "RunDirectory":
        """Start a run in a new or empty directory, or in place of an older run.

        Args:
            path: The directory.
            options: The options of the run, all of them.
            provenance: Where they came from: command, versions, model facts, ...
            overwrite: Delete a run that is already there.

        Returns:
            The directory, with its config written.

        Raises:
            RunDirectoryError: If something is there that may not be deleted.
        """
        RunDirectory.refuse_occupied(path, replacing=overwrite)
        run = RunDirectory(path)
        if run.exists():
            run._clear()
        config = {**options, PROVENANCE: dict(provenance)}
        run.write_text(_CONFIG, _as_yaml(config))
        return run

    @staticmethod
    def refuse_occupied(path: Path, *, replacing: bool) -> None:
        """Refuse a path for a new run if something is there that may not be deleted.

        Args:
            path: Where a run is to be started.
            replacing: An older run may be deleted.

        Raises:
            RunDirectoryError: If there is a file, an older run, or files of somebody else.
        """
        if path.exists() and not path.is_dir():
            raise RunDirectoryError(f"{str(path)!r} is a file, not a directory for results.")
        is_run = RunDirectory(path).exists()
        if is_run and not replacing:
            raise RunDirectoryError(
                f"{str(path)!r} already holds a run. Give --overwrite to replace it, --resume to "
                "go on with it, or another --output_dir."
            )
        if not is_run and path.is_dir() and any(path.iterdir()):
            raise RunDirectoryError(
                f"{str(path)!r} exists and holds files that are no run of backlight; name another "
                "--output_dir."
            )

    @staticmethod
    def find_unfinished(root: Path, command: str, options: Mapping[str, Any]) -> "RunDirectory":
        """Find the newest unfinished run of a command with the same options.

        Args:
            root: The directory of run directories.
            command: The command.
            options: The options that can change a number.

        Returns:
            The run.

        Raises:
            RunDirectoryError: If there is none; the message lists the unfinished runs there are,
                with what differs.
        """
        unfinished = [
            RunDirectory(config.parent)
            for config in root.glob(f"*/{_CONFIG}")
            if not (config.parent / _MANIFEST).exists()
        ]
        runs = [run for run in unfinished if run.is_of(command)]
        runs.sort(key=lambda run: (str(run.provenance().get("started")), run.path.name))
        for run in reversed(runs):
            if not run.differences(options):
                return run
        listed = [f"{run.path} ({'; '.join(run.differences(options))})" for run in runs]
        raise RunDirectoryError(
            f"There is no unfinished run with these options in {str(root)!r}. "
            + (f"Unfinished are: {', '.join(listed)}. " if listed else "")
            + "Name one with --output_dir, or start anew without --resume."
        )

    def exists(self) -> bool:
        """Tell whether a run was started here."""
        return (self.path / _CONFIG).is_file()

    def is_of(self, command: str) -> bool:
        """Tell whether a run of a command was started here, and not something of another tool."""
        try:
            return self.provenance().get("command") == command
        except RunDirectoryError:
            return False

    @property
    def is_finished(self) -> bool:
        """Whether the run is complete."""
        return (self.path / _MANIFEST).is_file()

    def config(self) -> dict[str, Any]:
        """Read options and provenance.

        Returns:
            What ``config.yaml`` holds.

        Raises:
            RunDirectoryError: If this is not a run directory.
        """
        try:
            found = yaml.safe_load((self.path / _CONFIG).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise RunDirectoryError(
                f"{str(self.path)!r} is not a run directory: its {_CONFIG} cannot be read."
            ) from error
        if not isinstance(found, dict) or not isinstance(found.get(PROVENANCE), dict):
            raise RunDirectoryError(
                f"{str(self.path)!r} is not a run directory: its {_CONFIG} was not written by "
                "backlight."
            )
        return found

    def provenance(self) -> dict[str, Any]:
        """Read where the run came from."""
        return self.config()[PROVENANCE]

    def manifest(self) -> dict[str, Any]:
        """Read what a finished run says of itself.

        Returns:
            What ``manifest.json`` holds.

        Raises:
            RunDirectoryError: If the run is not finished, or the file is damaged.
        """
        try:
            found = json.loads((self.path / _MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunDirectoryError(
                f"{str(self.path)!r} holds no finished run: its {_MANIFEST} cannot be read."
            ) from error
        return found if isinstance(found, dict) else {}

    def differences(self, options: Mapping[str, Any]) -> list[str]:
        """Say which of some options are not those of this run, as ``name: here -> asked``."""
        here = self.config()
        return [
            f"{name}: {here.get(name)!r} -> {value!r}"
            for name, value in options.items()
            if here.get(name) != value
        ]

    def _clear(self) -> None:
        """Delete the run, but no file that it did not write itself."""
        self.config()  # refuses to delete what backlight did not write
        _logger.info("Replacing the run in %s.", self.path)
        listed = self.manifest().get("files", []) if self.is_finished else self._journal()
        for name in (_MANIFEST, *listed, _CHECKPOINT, _JOURNAL, _CONFIG):
            file = self.path / name
            if file.resolve().is_relative_to(self.path.resolve()):
                file.unlink(missing_ok=True)

    def write_bytes(self, name: str, content: bytes) -> Path:
        """Write a file, whole or not at all."""
        path = self.path / name
        if name not in self._written and name not in (_CONFIG, _CHECKPOINT, _MANIFEST):
            self._note(name)
        write_file(path, content)
        self._written.add(name)
        return path

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file, whole or not at all."""
        return self.write_bytes(name, text.encode())

    def write_json(self, name: str, content: Any) -> Path:
        """Write JSON, whole or not at all; NaN becomes null."""
        text = json.dumps(_without_nan(content), indent=2, allow_nan=False)
        return self.write_text(name, text + "\n")

    def write_array(self, name: str, array: NDArray[Any]) -> Path:
        """Write one array as ``.npy``."""
        return self.write_bytes(name, npy_bytes(array))

    def write_arrays(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> Path:
        """Write several arrays as ``.npz``."""
        return self.write_bytes(name, npz_bytes(arrays))

    def write_table(self, table: Table) -> Path:
        """Write a table as ``tables/{name}.csv``."""
        return self.write_text(f"tables/{table.name}.csv", table.to_csv())

    def save_checkpoint(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Keep the state of an unfinished run; the one before is replaced only when it is whole."""
        self.write_arrays(_CHECKPOINT, state)

    def load_checkpoint(self) -> dict[str, NDArray[Any]] | None:
        """Read the state of an unfinished run; None if there is none yet."""
        path = self.path / _CHECKPOINT
        if not path.is_file():
            return None
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return dict(arrays)
        except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
            raise RunDirectoryError(
                f"The checkpoint in {str(self.path)!r} is damaged ({error}); delete it to start "
                "this run anew."
            ) from error

    def finish(self, summary: Mapping[str, Any]) -> None:
        """List what was written in the manifest, which makes the run complete.

        Args:
            summary: What else the manifest should say.
        """
        files = sorted(self._written - {_CHECKPOINT, _MANIFEST} | {_CONFIG})
        self.write_json(_MANIFEST, {**summary, "files": files})
        for name in (_CHECKPOINT, _JOURNAL):
            (self.path / name).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Delete what a run that was killed in the middle of a write has left half-written."""
        for part in self.path.rglob(".*.part"):
            part.unlink()

    def _note(self, name: str) -> None:
        """List a file before it is written, so that an unfinished run knows what is its own."""
        if self.is_finished:
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with (self.path / _JOURNAL).open("a", encoding="utf-8") as journal:
                journal.write(f"{name}\n")
        except OSError as error:
            raise unwritable(self.path / name, error) from error

    def _journal(self) -> list[str]:
        path = self.path / _JOURNAL
        return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def _as_yaml(config: Mapping[str, Any]) -> str:
    """Write options as YAML; names that would steer who reads them are written by numbers."""
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    if plain(text, lines=True) == text:
        return text
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=False)


def _without_nan(content: Any) -> Any:
    if isinstance(content, dict):
        return {str(key): _without_nan(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_without_nan(value) for value in content]
    if isinstance(content, np.generic):
        return _without_nan(content.item())
    return None if isinstance(content, float) and not np.isfinite(content) else content
