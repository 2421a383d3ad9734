"""Where a model comes from: a folder, or the hub."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers.utils.hub import cached_file

from backlight.errors import quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a model comes from.

    Attributes:
        name: What the user called it.
        path: What Transformers is asked for: a folder, or an id on the hub.
        folder: The folder; None for a model of the hub.
        options: ``revision`` and ``trust_remote_code``, as Transformers calls them.
    """

    name: str
    path: str
    folder: Path | None
    options: Mapping[str, Any]

    @property
    def unfetched(self) -> str | None:
        """What to say if the system cannot give it."""
        if self.folder is not None:
            return None
        return (
            f"The model {quoted(self.name)} is neither in the local cache nor could it be fetched "
            "from the hub. Check the name and the network (and, for a gated model, `hf auth "
            "login`), or name a local folder, or smollm2."
        )

    @property
    def commit(self) -> str | None:
        """The commit of a model of the hub: the name of its folder in the cache."""
        known = None if self.folder is not None else self.find("config.json")
        return None if known is None else known.parent.name

    @property
    def failed(self) -> str:
        """How a sentence begins that says that something went wrong."""
        return f"{quoted(self.name)[1:-1]} cannot be loaded"

    def find(self, name: str) -> Path | None:
        """Find one of the model's files on this machine."""
        if self.folder is not None:
            path = self.folder / name
            return path if path.is_file() else None
        revision = self.options["revision"]
        found = cached_file(
            self.path,
            name,
            revision=revision,
            local_files_only=True,
            _raise_exceptions_for_missing_entries=False,
        )
        return None if found is None else Path(found)
