"""Where a model comes from: the hub, or a folder, which is looked at before anything is read."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers.utils.hub import cached_file

from backlight.errors import ModelError, quoted
from backlight.foreign.files import MEGABYTE, check_file, expanded, read_text

_READ = frozenset((".json", ".safetensors", ".bin", ".model", ".txt", ".jinja", ".py"))
_WEIGHTS = frozenset((".safetensors", ".bin"))
_MOST_LAYERS = 10_000
_SHIPPED = "city or smollm2"
_ADAPTER, _CONFIG = "adapter_config.json", "config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a model comes from.

    Attributes:
        name: What the user called it.
        path: What Transformers is asked for: a folder, or an id on the hub.
        folder: The folder; None for a model of the hub.
        options: ``revision``, ``trust_remote_code`` and ``local_files_only``, as Transformers calls
            them.
        unreachable: Why the hub is not asked; None if it is.
    """

    name: str
    path: str
    folder: Path | None
    options: Mapping[str, Any]
    unreachable: str | None = None

    @property
    def unfetched(self) -> str | None:
        """What to say if the system cannot give it."""
        if self.folder is not None:
            return None
        if self.unreachable is not None:
            return (
                f"The model {quoted(self.name)} is not in the local cache. {self.unreachable} Or "
                f"name a local folder that holds it, or {_SHIPPED}."
            )
        return (
            f"The model {quoted(self.name)} is not in the local cache. It could not be fetched "
            "either: check the name and the network (and, for a gated model, `hf auth login`). Or "
            f"name a local folder that holds it, or {_SHIPPED}."
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


def find_folder(model_name: str) -> Path | None:
    """Find the folder that a model's name means.

    Args:
        model_name: A path, or the id of a model on the hub.

    Returns:
        The folder; None if the name can only be that of a model on the hub.

    Raises:
        ModelError: If the name is a path at which there is no folder.
    """
    path = expanded(model_name, error=ModelError)
    try:
        if model_name and path.is_dir():
            return path
        is_file = bool(model_name) and path.exists()
    except OSError:  # longer than any path may be
        is_file = False
    if is_file:
        raise ModelError(
            f"{quoted(model_name)} is not a folder; a model is a folder with {_CONFIG} and weights."
        )
    if not model_name or model_name.startswith(("/", ".", "~")) or model_name.count("/") > 1:
        raise ModelError(
            f"There is no folder {quoted(model_name)}. Name a hub id, a folder, or {_SHIPPED}."
        )
    return None


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds no whole model, or that must not be read from.

    A pipe would never end, a number of a billion layers would fill the memory before anything
    could be said, and an adapter would be left out, or put in, without a word.

    Args:
        folder: The folder.

    Raises:
        ModelError: If there is no configuration, or only an adapter, or files are no files.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise ModelError(f"{quoted(folder)[1:-1]} cannot be read: {error.strerror}.") from error
    for path in entries:
        if path.suffix in _READ:
            most = None if path.suffix in _WEIGHTS else 512 * MEGABYTE
            check_file(path, error=ModelError, most=most)
    names = {path.name for path in entries}
    if _ADAPTER in names:
        raise ModelError(_about_adapter(folder))
    if _CONFIG not in names:
        raise ModelError(
            f"{quoted(folder)[1:-1]} cannot be loaded: it has no {_CONFIG}{_hint(entries)}."
        )
    for key, count in _layer_counts(read_object(folder / _CONFIG, most=10 * MEGABYTE)):
        if count > _MOST_LAYERS:
            raise ModelError(
                f"{quoted(folder / _CONFIG)} asks for {quoted(count)} layers ({quoted(key)}); no "
                "model has so many."
            )


def read_object(path: Path, *, most: int) -> dict[str, Any]:
    """Read a JSON file whose outermost value is an object.

    Args:
        path: The file.
        most: How many bytes it may have.

    Returns:
        The object.

    Raises:
        ModelError: If it cannot be read, is too large, or holds something else.
    """
    text = read_text(path, error=ModelError, most=most)
    try:
        # Of two equal keys the last one counts, as for Transformers; ``parse_json`` refuses them.
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{quoted(path)} is not JSON: {quoted(str(error))}.") from error
    if not isinstance(found, dict):
        raise ModelError(f"{quoted(path)} holds a {type(found).__name__}, not a JSON object.")
    return found


def _about_adapter(folder: Path) -> str:
    base = read_object(folder / _ADAPTER, most=MEGABYTE).get("base_model_name_or_path")
    return (
        f"{quoted(folder)} holds an adapter ({_ADAPTER}) for {quoted(base)}. Merge the two with "
        "peft and save the result, or load them in Python and hand the PeftModel to "
        "backlight.subject_from_transformers."
    )


def _hint(entries: list[Path]) -> str:
    models = [path.name for path in entries if (path / _CONFIG).is_file()]
    if models:
        return f"; but its folder {quoted(models[-1])} has one"
    if any(path.suffix == ".gguf" for path in entries):
        return "; GGUF files are not read, convert it with Transformers"
    return ""


def _layer_counts(config: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _layer_counts(value)
        elif isinstance(value, int) and "layer" in key:
            yield key, value
