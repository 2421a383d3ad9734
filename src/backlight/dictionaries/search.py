"""Where dictionaries may be: folders, patterns, what is shipped, the hub."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from glob import escape
from importlib.resources import files
from pathlib import Path, PurePath, PurePosixPath
from types import MappingProxyType

from backlight.dictionaries import hub
from backlight.dictionaries.formats import is_dictionary
from backlight.errors import DictionaryError, quoted
from backlight.foreign.files import expanded

_SHIPPED: Mapping[str, str] = MappingProxyType({"smollm2": "data/dictionaries/smollm2"})
_SETTINGS = ("cfg.json", "config.json")
_FILES = "sae_weights.safetensors, sae.safetensors, ae.pt, params.npz or params.safetensors"

_PLACEHOLDER = "{layer}"
_HUB_NAME = re.compile(r"(?P<repository>\w[\w.-]*/[\w.-]+)(?:/(?P<inside>.+))?")
_LAYER = re.compile(r"(?:^|[._-])(?:layers?|blocks?|h(?=\.))[._-]?(\d+)(?![0-9A-Za-z])")
_MAX_DEPTH = 6
_NAMING_FOLDERS = 3  # layer_3/width_16k/average_l0_71


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What has the name of a dictionary.

    Attributes:
        file: Its weights, which may still be on the hub; what is told beside them is here.
        layer: The layer in the names of its folders, None if there is none.
        fetch: Gives its weights, fetching them first if needed.
    """

    file: Path
    layer: int | None
    fetch: Callable[[], Path]


def search(path: str) -> list[Candidate]:
    """Find everything that has the name of a dictionary.

    Args:
        path: See ``find_dictionaries``.

    Returns:
        At least one.

    Raises:
        DictionaryError: If there is no such place, or nothing in it has such a name.
    """
    if path in _SHIPPED:
        return _local(_shipped(path))
    place = expanded(path, error=DictionaryError).absolute()
    if _PLACEHOLDER in path and (root := _fixed_part(place)).is_dir():
        return _matching(root, place.relative_to(root))
    if place.exists():
        return _local(place)
    match = _HUB_NAME.fullmatch(path.rstrip("/"))
    if match is None or ".." in path.split("/"):
        raise DictionaryError(
            f"There is no folder {quoted(path)}: name one that holds dictionaries, a "
            "repository on the "
            f"hub (owner/name), or {' or '.join(_SHIPPED)}."
        )
    return _on_hub(match["repository"], match["inside"] or "")


def _shipped(name: str) -> Path:
    folder = Path(str(files("backlight"))) / _SHIPPED[name]
    if not folder.is_dir():
        raise DictionaryError(
            f"This copy of backlight comes without the dictionaries of {name}: install it from its "
            "wheel, or name a folder."
        )
    return folder


def _local(place: Path) -> list[Candidate]:
    found = [place] if place.is_file() and is_dictionary(place) else list(_weights_below(place))
    if not found:
        raise _nothing(str(place))
    return [_here(file, _layer_named(file)) for file in found]


def _matching(root: Path, pattern: PurePath) -> list[Candidate]:
    """Find dictionaries in the folders that fit a pattern, which tells the layer of each."""
    regex = _regex(pattern.as_posix())
    found: list[Candidate] = []
    for place in sorted(root.glob(escape(str(pattern)).replace(_PLACEHOLDER, "*"))):
        match = regex.fullmatch(place.relative_to(root).as_posix())
        if match is not None:
            layer = int(match["layer"])
            inside = [place] if is_dictionary(place) else _weights_below(place)
            found += [_here(file, layer) for file in inside]
    if not found:
        raise _nothing(str(root / pattern))
    return found


def _on_hub(repository: str, inside: str) -> list[Candidate]:
    """Find dictionaries by the names of a repository's files; fetch what is told beside them."""
    names = hub.names_of(repository)
    regex = _regex(inside)
    fits = {name: match for name in names if (match := regex.fullmatch(name)) is not None}
    found = _outermost(name for name in fits if is_dictionary(PurePosixPath(name)))
    if not found:
        raise _nothing(f"{repository}/{inside}".rstrip("/"))
    beside = {name: _beside(name, names) for name in found}
    settings = sorted({other for others in beside.values() for other in others})
    root = hub.fetch(repository, settings) if settings else Path(repository)
    candidates: list[Candidate] = []
    for name in found:
        layer = fits[name].groupdict().get("layer")
        candidates.append(
            Candidate(
                file=root / name,
                layer=_layer_named(root / name) if layer is None else int(layer),
                fetch=partial(_fetched, repository, name, beside[name]),
            )
        )
    return candidates


def _beside(name: str, names: Iterable[str]) -> list[str]:
    """Find the settings in the folder of a dictionary, and in the one above it."""
    folders = list(PurePosixPath(name).parents)[:2]
    wanted = {str(folder / settings) for folder in folders for settings in _SETTINGS}
    return sorted(wanted.intersection(names))


def _fetched(repository: str, name: str, beside: list[str]) -> Path:
    return hub.fetch(repository, [name, *beside]) / name


def _here(file: Path, layer: int | None) -> Candidate:
    return Candidate(file=file, layer=layer, fetch=lambda: file)


def _weights_below(folder: Path, depth: int = _MAX_DEPTH) -> Iterator[Path]:
    """Walk down to the first folder with weights on each way: checkpoints below do not count."""
    if not folder.is_dir():
        return
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise DictionaryError(f"{quoted(folder)} cannot be read: {error.strerror}.") from error
    weights = [entry for entry in entries if entry.is_file() and is_dictionary(entry)]
    yield from weights
    if not weights and depth:
        for entry in entries:
            yield from _weights_below(entry, depth - 1)


def _outermost(names: Iterable[str]) -> list[str]:
    """Drop files of weights in folders below others."""
    paths = [PurePosixPath(name) for name in names]
    folders = {path.parent for path in paths}
    return sorted(str(path) for path in paths if folders.isdisjoint(path.parent.parents))


def _fixed_part(pattern: Path) -> Path:
    return next(parent for parent in pattern.parents if _PLACEHOLDER not in str(parent))


def _regex(pattern: str) -> re.Pattern[str]:
    """Match files and folders at a pattern and below; ``{layer}`` is a number, the same each time.

    Args:
        pattern: A path; empty for everything.

    Returns:
        The pattern, compiled.
    """
    first, *others = map(re.escape, pattern.split(_PLACEHOLDER))
    text = first
    for index, other in enumerate(others):
        text += (r"(?P<layer>\d+)" if index == 0 else r"(?P=layer)") + other
    return re.compile(f"{text}(?:/.*)?" if pattern else ".*")


def _layer_named(file: Path) -> int | None:
    """Find the layer in the names of the nearest folders, the innermost first."""
    for name in (file.stem, *reversed(file.parent.parts[-_NAMING_FOLDERS:])):
        match = _LAYER.search(name)
        if match is not None:
            return int(match[1])
    return None


def _nothing(place: str) -> DictionaryError:
    return DictionaryError(
        f"There is no dictionary in {quoted(place)}: a dictionary is a folder that holds {_FILES}."
    )
