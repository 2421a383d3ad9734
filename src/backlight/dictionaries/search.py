"""Where dictionaries may be: folders, patterns, what is shipped, the hub."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from glob import escape
from importlib.resources import files
from pathlib import Path, PurePath, PurePosixPath
from types import MappingProxyType

import torch

from backlight.dictionaries import hub
from backlight.dictionaries.dictionary import Dictionary
from backlight.dictionaries.formats.base import Format
from backlight.dictionaries.formats.circuit_tracer import CircuitTracer, decoder_of
from backlight.dictionaries.formats.dictionary_learning import DictionaryLearning
from backlight.dictionaries.formats.gemma_scope import GemmaScope
from backlight.dictionaries.formats.llama_scope import LlamaScope
from backlight.dictionaries.formats.qwen_scope import QwenScope
from backlight.dictionaries.formats.saelens import SAELens
from backlight.dictionaries.formats.sparsify import Sparsify
from backlight.errors import DictionaryError, quoted
from backlight.foreign.files import expanded

_FORMATS: tuple[Format, ...] = (
    SAELens(),
    DictionaryLearning(),
    Sparsify(),
    GemmaScope(),
    LlamaScope(),
    QwenScope(),
    CircuitTracer(),
)
_SHIPPED: Mapping[str, str] = MappingProxyType({"smollm2": "data/dictionaries/smollm2"})
_SETTINGS = ("cfg.json", "config.json", "hyperparams.json", "config.yaml")
_FILES = (
    "sae_weights.safetensors, sae.safetensors, ae.pt, params.npz, params.safetensors, "
    "checkpoints/final.safetensors, layer0.sae.pt, layer_0.safetensors or W_enc_0.safetensors"
)

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
        format: The format that has such names.
        layer: The layer in the names of its folders, None if there is none.
        fetch: Find its weights, from the hub if needed; None if they are in ``file``.
    """

    file: Path
    format: Format
    layer: int | None
    fetch: Callable[[], Path] | None = None

    def read(self, dtype: torch.dtype, device: torch.device) -> Dictionary:
        """Read it in a number format, onto a device."""
        file = self.file if self.fetch is None else self.fetch()
        return self.format.read(file, dtype=dtype, device=device)


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
            f"There is no folder {quoted(path)}: name one that holds dictionaries, a repository "
            f"on the hub (owner/name), or {' or '.join(_SHIPPED)}."
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
    found = _dictionaries_at(place)
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
            found += [_here(file, int(match["layer"])) for file in _dictionaries_at(place)]
    if not found:
        raise _nothing(str(root / pattern))
    return found


def _on_hub(repository: str, inside: str) -> list[Candidate]:
    """Find dictionaries by the names of a repository's files; fetch what is told beside them."""
    names = hub.names_of(repository)
    regex = _regex(inside)
    fits = {name: match for name in names if (match := regex.fullmatch(name)) is not None}
    found = _outermost(name for name in fits if _format_of(PurePosixPath(name)))
    if not found:
        raise _nothing(f"{repository}/{inside}".rstrip("/"))
    beside = {name: _beside(name, names) for name in found}
    settings = sorted({other for others in beside.values() for other in others})
    root = hub.fetch(repository, settings) if settings else Path(repository)

    def candidate(name: str) -> Candidate:
        told = fits[name].groupdict().get("layer")
        layer = _layer_named(root / name) if told is None else int(told)
        return replace(
            _here(root / name, layer),
            fetch=lambda: hub.fetch(repository, [*_weights_of(name), *beside[name]]) / name,
        )

    return [candidate(name) for name in found]


def _weights_of(name: str) -> list[str]:
    """List the files of a dictionary's weights, its decoder's if that is another one."""
    return list(dict.fromkeys([name, str(decoder_of(PurePosixPath(name)))]))


def _beside(name: str, names: Iterable[str]) -> list[str]:
    """Find the settings in the folder of a dictionary, and in the one above it."""
    folders = list(PurePosixPath(name).parents)[:2]
    wanted = {str(folder / settings) for folder in folders for settings in _SETTINGS}
    return sorted(wanted.intersection(names))


def _format_of(file: PurePath) -> Format | None:
    return next((each for each in _FORMATS if each.recognises(file)), None)


def _here(file: Path, layer: int | None) -> Candidate:
    known = next(each for each in _FORMATS if each.recognises(file))
    return Candidate(file=file, format=known, layer=layer)


def _dictionaries_at(place: Path) -> list[Path]:
    """List the file itself, or the files of weights below a folder."""
    if place.is_file() and _format_of(place):
        return [place]
    return list(_weights_below(place))


def _weights_below(folder: Path, depth: int = _MAX_DEPTH) -> Iterator[Path]:
    """Walk down to the first folder with weights on each way: checkpoints below do not count."""
    if not folder.is_dir():
        return
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise DictionaryError(f"{quoted(folder)} cannot be read: {error.strerror}.") from error
    weights = [entry for entry in entries if entry.is_file() and _format_of(entry)]
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
    text = first + "".join(
        (r"(?P=layer)" if index else r"(?P<layer>\d+)") + other
        for index, other in enumerate(others)
    )
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
        f"There is no dictionary in {quoted(place)}: a dictionary is a folder that holds {_FILES}. "
        "One of another form is handed over in Python: backlight.dictionary_from_object."
    )
