"""The weights as a model's files hold them: names, shapes and number formats, not yet read."""

import pickle
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from backlight.errors import ModelError, quoted
from backlight.foreign.files import MEGABYTE, open_foreign
from backlight.models.loading.source import read_object

# The order in which Transformers looks for weights: the first that is there is read.
_NAMES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
FORMATS = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
_EXPERT = re.compile(r"^(?P<before>.*\bexperts\.)(?P<number>\d{1,9})(?P<after>\..*)$")
_CODES = {dtype: code for code, dtype in FORMATS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A tensor as a file holds it.

    Attributes:
        shape: Its shape.
        format: The code of its number format in safetensors, such as ``F32``.
    """

    shape: tuple[int, ...]
    format: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """All tensors that a model's files hold.

    Attributes:
        tensors: Each by its name in the files.
        unread: Other files of the folder with weights, which Transformers does not read.
        files: The file of each.
    """

    tensors: Mapping[str, Stored]
    unread: tuple[str, ...] = ()
    files: Mapping[str, Path] = field(default_factory=dict[str, Path])

    @property
    def num_numbers(self) -> int:
        """How many numbers there are in all tensors together."""
        return sum(prod(stored.shape) for stored in self.tensors.values())

    @property
    def dtype(self) -> torch.dtype:
        """The narrowest number format of torch that loses nothing of what is stored."""
        found = {FORMATS[s.format] for s in self.tensors.values() if s.format in FORMATS}
        # float16 and bfloat16 together need float32: neither holds all numbers of the other.
        return reduce(torch.promote_types, found) if found else torch.float32

    def unusual(self) -> Iterator[tuple[str, str]]:
        """Go through the tensors that are not in a plain floating format, with the format."""
        for name, stored in self.tensors.items():
            if stored.format not in FORMATS:
                yield name, stored.format


def take_inventory(folder: Path, *, chosen: str | None = None) -> Inventory:
    """Look through the weights that Transformers will read from a folder.

    Args:
        folder: The folder.
        chosen: The file that the configuration names, if it names one.

    Returns:
        What they are.

    Raises:
        ModelError: If there are none, or one of the files is missing, damaged or elsewhere, or two
            files hold one weight.
    """
    if chosen is not None and (Path(chosen).name != chosen or not (folder / chosen).is_file()):
        raise ModelError(
            f"{quoted(folder / 'config.json')} asks for the weights {quoted(chosen)} "
            "(transformers_weights), which do not lie beside it."
        )
    there = [name for name in (chosen, *_NAMES) if name and (folder / name).is_file()]
    if not there:
        raise ModelError(
            f"{quoted(folder)} has no weights: none of {', '.join(_NAMES)} is there{_hint(folder)}."
        )
    first = folder / there[0]
    files = _shards(first) if first.suffix == ".json" else [first]
    tensors: dict[str, Stored] = {}
    places: dict[str, Path] = {}
    for file in files:
        found = _open(file)
        for name in found.keys() & tensors.keys():
            raise ModelError(
                f"{quoted(folder)} holds {quoted(name)} in two of its files, so it is not clear "
                "which is meant. Save the model anew."
            )
        tensors |= found
        places |= dict.fromkeys(found, file)
    if not tensors:
        raise ModelError(f"{quoted(first)} holds no weights.")
    same = {first.name, first.name.removesuffix(".index.json")}
    unread = tuple(name for name in there[1:] if name not in same)
    return Inventory(tensors=tensors, unread=unread, files=places)


def check_experts(inventory: Inventory, name: str) -> None:
    """Check that the experts of each layer are numbered from 0 without a gap, and are alike.

    Transformers stacks those that it finds: with one missing and one too many it would go on with
    others in their places.

    Args:
        inventory: What the files hold.
        name: What the user called the model.

    Raises:
        ModelError: If one is missing, or has another shape than the first.
    """
    groups: defaultdict[tuple[str, str], dict[int, str]] = defaultdict(dict)
    for key in inventory.tensors:
        match = _EXPERT.match(key)
        if match is not None:
            groups[match["before"], match["after"]][int(match["number"])] = key
    for (before, after), keys in groups.items():
        for number in range(max(keys) + 1):
            if number not in keys:
                raise ModelError(
                    f"{quoted(f'{before}{number}{after}')} is missing in the files of {name}, "
                    f"which hold experts up to {max(keys)}. The files are not complete."
                )
        shape = inventory.tensors[keys[0]].shape
        for key in keys.values():
            if inventory.tensors[key].shape != shape:
                raise ModelError(
                    f"{quoted(key)} of {name} is {list(inventory.tensors[key].shape)}, but the "
                    f"first expert beside it is {list(shape)}."
                )


def _hint(folder: Path) -> str:
    others = sorted(
        path.name
        for path in folder.iterdir()
        if path.suffix in (".safetensors", ".bin", ".gguf", ".h5", ".msgpack", ".pt", ".pth")
    )
    return f"; there is {quoted(others[0])}, which is not read" if others else ""


def _shards(index: Path) -> list[Path]:
    """Read an index of shards; every shard that it names must lie beside it.

    Args:
        index: The index file.

    Returns:
        The shards.

    Raises:
        ModelError: If the index is not one, or names what is not there.
    """
    found = read_object(index, most=256 * MEGABYTE)
    places = found.get("weight_map")
    if not isinstance(places, dict) or not places:
        raise ModelError(f"{quoted(index)} has no weight_map that says which file holds what.")
    for name in places.values():
        if not isinstance(name, str) or not name or Path(name).name != name:
            raise ModelError(f"{quoted(index)} names files that do not lie beside it.")
    names: list[str] = list(dict.fromkeys(places.values()))
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise ModelError(
            f"{quoted(index)} names {quoted(missing[0])}, which is not there ({len(missing)} of "
            f"{len(names)} files are missing). Fetch the model again."
        )
    if not isinstance(found.get("metadata"), dict):
        raise ModelError(
            f"{quoted(index)} has no metadata, without which Transformers does not read the "
            'files. Add "metadata": {} beside weight_map.'
        )
    return [index.parent / name for name in names]


def _open(file: Path) -> dict[str, Stored]:
    open_foreign(file, error=ModelError).close()  # may it be read at all
    return _safetensors(file) if file.suffix == ".safetensors" else _pickled(file)


def _safetensors(file: Path) -> dict[str, Stored]:
    try:
        with safe_open(file, framework="pt") as tensors:
            slices: Iterable[tuple[str, Any]] = [
                (name, tensors.get_slice(name))
                for name in tensors.keys()  # noqa: SIM118
            ]
            return {
                name: Stored(shape=tuple(part.get_shape()), format=str(part.get_dtype()))
                for name, part in slices
            }
    except (SafetensorError, OSError, ValueError) as error:
        pointer = file.stat().st_size < 1024 and file.read_bytes().startswith(b"version https://")
        hint = (
            "it is a pointer of Git LFS, fetch the file itself"
            if pointer
            else f"{quoted(str(error))[1:-1]}; fetch it again"
        )
        raise ModelError(f"{quoted(file)} is damaged: {hint}.") from error


def _pickled(file: Path) -> dict[str, Stored]:
    try:
        # On the meta device shapes and formats are read, but no numbers.
        found = torch.load(file, map_location="meta", weights_only=True)
    except (OSError, EOFError, ValueError, LookupError, RuntimeError, TypeError) as error:
        raise ModelError(f"{quoted(file)} is damaged; fetch it again.") from error
    except (pickle.UnpicklingError, AttributeError) as error:
        raise ModelError(
            f"{quoted(file)} is damaged, or holds more than tensors; backlight never runs code "
            "from a file. Save the model as safetensors."
        ) from error
    if not isinstance(found, dict):
        raise ModelError(f"{quoted(file)} holds a {type(found).__name__}, not named weights.")
    odd = [name for name, value in found.items() if not isinstance(value, Tensor)]
    odd += [name for name in found if not isinstance(name, str)]
    if odd:
        raise ModelError(
            f"{quoted(file)} holds {quoted(odd[0])} beside weights, or instead of them. Save the "
            "state_dict of the model itself."
        )
    return {
        name: Stored(shape=tuple(value.shape), format=_CODES.get(value.dtype, str(value.dtype)))
        for name, value in found.items()
    }
