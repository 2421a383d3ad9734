"""A run directory: a config first, a checkpoint on the way, results, a manifest last."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from numpy.typing import NDArray

from backlight.errors import RunDirectoryError, StorageError, quoted
from backlight.runs.checkpoint import pack, unpack
from backlight.runs.config import CONFIG, PROVENANCE, config_text, read_config
from backlight.runs.files import (
    digest_of,
    json_text,
    npy_bytes,
    npz_bytes,
    unwritable,
)
from backlight.runs.ledger import MANIFEST, Ledger, is_blank
from backlight.runs.opening import store_of
from backlight.runs.places import fault_of
from backlight.runs.shelves import Folder
from backlight.runs.states import FOLDER
from backlight.runs.urls import Place
from backlight.tables import Table

_CHECKPOINT = "checkpoint.npz"
_logger = logging.getLogger(__name__)


class RunDirectory:
    """A directory that holds one run.

    ``config.yaml`` (the options and where they came from) is written when the run starts;
    ``checkpoint.npz`` holds the state of an unfinished run; ``manifest.json`` is written last, so
    its presence means that everything is there. It lists every file with its SHA-256; until then
    ``.written`` lists them. What is in neither is not the run's, and is never written or deleted.

    Attributes:
        path: Where it is.
    """

    def __init__(self, path: PurePath) -> None:
        self._store = store_of(path)
        self.path = self._store.place
        self._digests: dict[str, str] = {}
        self._ledger = Ledger(self._store)
        self._held: object = None

    @staticmethod
    def create(
        path: PurePath,
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
            RunDirectoryError: If something is there that may not be deleted, or another process
                writes there.
            StorageError: If it cannot be made.
        """
        RunDirectory.refuse_occupied(path, replacing=overwrite)
        run = RunDirectory(path)
        try:
            run._store.make()
            run._held = run._store.hold()
            RunDirectory.refuse_occupied(path, replacing=overwrite)  # nobody was quicker
            if run.exists():
                run._clear()
            run._store.sweep()
        except OSError as error:
            raise unwritable(run.path, error, begun=False) from error
        run._ledger.begin({CONFIG})
        run.write_text(CONFIG, config_text(options, provenance))
        run._store.begun = True
        return run

    @staticmethod
    def refuse_occupied(path: PurePath, *, replacing: bool) -> None:
        """Refuse a path for a new run if something is there that may not be deleted.

        Args:
            path: Where a run is to be started.
            replacing: An older run may be deleted.

        Raises:
            RunDirectoryError: If there is a file, an older run, or files of somebody else, or if
                nothing can be written there.
        """
        run = RunDirectory(path)
        run._store.refuse()
        path, store = run.path, run._store
        if run.exists():
            if not replacing:
                raise RunDirectoryError(
                    f"{quoted(path)} already holds a run. Give --overwrite to replace it, "
                    "--resume to go on with it, or another --output_dir."
                )
            run._ledger.refuse_changed_places()
        elif not is_blank(store):
            if store.has(CONFIG):
                run.config()  # says what is wrong with it
                if store.has(MANIFEST):
                    run.manifest()
            raise RunDirectoryError(
                f"{quoted(path)} exists and holds files that are no run of backlight; name "
                "another --output_dir."
            )

    def exists(self) -> bool:
        """Find out whether backlight started a run here: a config alone may be anybody's."""
        try:
            return self._store.has(CONFIG) and CONFIG in self._ledger.names()
        except OSError:  # the path is no possible one, which refuse_occupied says
            return False

    def is_of(self, command: str) -> bool:
        """Find out whether a run of a command was started here, not something of another tool."""
        try:
            return self.provenance().get("command") == command
        except RunDirectoryError:
            return False

    @property
    def is_finished(self) -> bool:
        """Whether the run is complete."""
        return self._ledger.is_finished

    def config(self) -> dict[str, Any]:
        """Read options and provenance; raises a RunDirectoryError if this is no run directory."""
        return read_config(self._store)

    def provenance(self) -> dict[str, Any]:
        """Read where the run came from."""
        return self.config()[PROVENANCE]

    def manifest(self) -> dict[str, Any]:
        """Read what a finished run says of itself: ``files``, their ``sha256`` by name, and more.

        Returns:
            The manifest as it was when this object read it first, or wrote it last.

        Raises:
            RunDirectoryError: If the run is not finished, or the file is damaged.
        """
        return self._ledger.manifest()

    def differences(self, options: Mapping[str, Any]) -> list[str]:
        """List which of some options are not those of this run, as ``name: here -> asked``."""
        here = self.config()
        return [
            f"{name}: {quoted(here.get(name))} -> {quoted(value)}"
            for name, value in options.items()
            if here.get(name) != value
        ]

    def take_up(self) -> None:
        """Go on with a run, or with its figures: no other process may, and scraps are deleted.

        Raises:
            RunDirectoryError: If another process writes it, or a file of it is no longer one.
            StorageError: If nothing can be written there.
        """
        self._store.begun = None if self.is_finished else True
        try:
            self._held = self._store.hold()
            self._ledger.forget()
            self._ledger.refuse_changed_places()
            self._store.sweep()
        except OSError as error:
            raise unwritable(self.path, error, begun=self._store.begun) from error
        if not self.is_finished:
            self._ledger.begin(self._ledger.names())  # whole, if its last line was cut

    def read(self, name: str) -> bytes:
        """Read a file of a finished run, if it is as the run wrote it.

        Args:
            name: The file.

        Returns:
            Its content.

        Raises:
            RunDirectoryError: If it is not of the run, is not there, or was changed since.
        """
        known = self.manifest()["sha256"].get(name)
        if known is None or fault_of(name) is not None:
            raise RunDirectoryError(
                f"The run in {quoted(self.path)} lists no file {quoted(name)}: it is another "
                "kind of run, or its manifest was edited."
            )
        content = self._store.read(name)
        if digest_of(content) != known:
            raise RunDirectoryError(
                f"{quoted(self.path / name)} is not as the run wrote it: it was edited, cut "
                "or damaged. Put the original back, or measure again with --overwrite."
            )
        return content

    def write_bytes(self, name: str, content: bytes) -> Place:
        """Write a file, whole or not at all.

        Args:
            name: The file's name in the directory, which may come from anywhere.
            content: What to write.

        Returns:
            The file.

        Raises:
            RunDirectoryError: If the name means something outside of the directory, or there is
                a file of that name that is not the run's.
            StorageError: If it cannot be written, or the run directory is no longer there.
        """
        path = self._store.below(name)
        if name != CONFIG and not self._store.has(CONFIG):
            raise StorageError(
                f"{quoted(path)} cannot be written: the run directory was moved or deleted while "
                f"the run was going on (its {CONFIG} is gone). Put it back and go on with --resume."
            )
        if name not in self._ledger.names():
            if self._store.is_taken(name):
                raise RunDirectoryError(
                    f"{quoted(path)} is there already and was not written by this run; move "
                    "it away, or name another --output_dir."
                )
            self._ledger.note(name)
        self._store.write(name, content)
        if name not in (_CHECKPOINT, MANIFEST):  # which the manifest does not list
            self._digests[name] = digest_of(content)
        return path

    def write_text(self, name: str, text: str) -> Place:
        """Write a text file, whole or not at all."""
        return self.write_bytes(name, text.encode())

    def write_json(self, name: str, content: Any) -> Place:
        """Write JSON, whole or not at all; NaN becomes null."""
        return self.write_text(name, json_text(content))

    def write_array(self, name: str, array: NDArray[Any]) -> Place:
        """Write one array as ``.npy``."""
        return self.write_bytes(name, npy_bytes(array))

    def write_arrays(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> Place:
        """Write several arrays as ``.npz``."""
        return self.write_bytes(name, npz_bytes(arrays))

    def write_table(self, table: Table) -> Place:
        """Write a table as ``tables/{name}.csv``."""
        return self.write_text(f"tables/{table.name}.csv", table.to_csv())

    def save_checkpoint(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Keep the state of an unfinished run; the one before is replaced only when it is whole."""
        there = self._store.has(CONFIG)
        owner = self.owner() if there else ""  # writing says it is gone
        self.write_bytes(_CHECKPOINT, npz_bytes(pack(state, owner)))

    def owner(self) -> str:
        """Compute the SHA-256 of ``config.yaml``, which tells the states of this run apart."""
        return digest_of(self._store.read(CONFIG))

    def written(self) -> set[str]:
        """List the files that the run wrote, or was about to write."""
        return self._ledger.names()

    def shelf(self, names: Iterable[str]) -> Folder:
        """Make room for the states of shards, which go away when the run is finished.

        Args:
            names: Every name that a state can have; all are listed before the first is written, so
                that workers, who do not hold the run, may write them.

        Returns:
            Where states are put; raises a StorageError if there is no room.
        """
        names = frozenset(names)
        if not names <= self._ledger.names():
            self._ledger.begin(names | self._ledger.names())
        return Folder(self._store, names)

    def states(self, names: Iterable[str]) -> Folder:
        """Return where states of shards are, for who does not hold the run."""
        self._store.begun = True
        return Folder(self._store, names)

    def load_checkpoint(self) -> dict[str, NDArray[Any]] | None:
        """Read the state of an unfinished run; None if there is none yet.

        Returns:
            The state, as it was kept, bit by bit.

        Raises:
            RunDirectoryError: If it is damaged, was edited, or is of another run.
        """
        path = self.path / _CHECKPOINT
        if not self._store.is_taken(_CHECKPOINT):
            return None
        owner = self.owner()
        try:
            return unpack(self._store.read(_CHECKPOINT), owner, path)
        except (RunDirectoryError, ValueError) as error:
            raise self.damaged_checkpoint(error) from error

    def damaged_checkpoint(self, reason: Exception) -> RunDirectoryError:
        """Make the error for a state of an unfinished run that cannot be taken up."""
        return RunDirectoryError(
            f"The checkpoint in {quoted(self.path)} is damaged, or was kept by another version of "
            f"backlight ({reason}), so the run cannot be gone on with. Start it anew: give "
            "--overwrite instead of --resume."
        )

    def finish(self, summary: Mapping[str, Any]) -> None:
        """List what was written in the manifest, which makes the run complete.

        Args:
            summary: What else the manifest should say.
        """
        before = self.manifest()["sha256"] if self.is_finished else {}
        passing = {_CHECKPOINT, *(name for name in self._ledger.names() if _is_state(name))}
        names = self._ledger.names() - {*passing, MANIFEST}
        written = {**before, **self._digests}
        digests = {
            name: written[name] if name in written else digest_of(self._store.read(name))
            for name in sorted(self._store.present(names))
        }
        self.write_json(MANIFEST, {**summary, "files": list(digests), "sha256": digests})
        for name in sorted(passing & self._ledger.names()):
            self._store.remove(name)
        self._store.remove_folder(FOLDER)
        self._ledger.close()
        self._store.let_go()
        self._held = None

    def list_again(self) -> None:
        """Write the manifest anew after files of a finished run were drawn again."""
        manifest = self.manifest()
        self.finish({key: manifest[key] for key in manifest if key not in ("files", "sha256")})

    def _clear(self) -> None:
        """Delete the run, but no file that it did not write itself; kill it where you like."""
        _logger.info("Replacing the run in %s.", self.path)
        self._ledger.begin(self._ledger.names())  # what is deleted from now on is an unfinished run
        for name in (MANIFEST, *sorted(self._ledger.names() - {MANIFEST, CONFIG})):
            self._store.remove(name)


def _is_state(name: str) -> bool:
    return name.startswith(f"{FOLDER}/")
