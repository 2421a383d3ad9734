"""Dictionaries on disk or on the hub, one for each layer, found before any weight is read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from backlight.dictionaries.dictionary import Card, Dictionary
from backlight.dictionaries.formats import format_of
from backlight.dictionaries.search import Candidate, search
from backlight.errors import DictionaryError, quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """The dictionaries of some layers, none of them read yet.

    Attributes:
        cards: What the files of each say, by layer, in ascending order.
        weights: Gives the file of weights of each, fetching it first if it is on the hub.
    """

    cards: Mapping[int, Card]
    weights: Mapping[int, Callable[[], Path]]

    def load(self, layer: int, *, dtype: torch.dtype, device: torch.device) -> Dictionary:
        """Read the dictionary of one layer.

        Args:
            layer: One of the layers of ``cards``.
            dtype: The number format to convert to.
            device: Where to put it.

        Returns:
            The dictionary.

        Raises:
            DictionaryError: If there is none for that layer, or it cannot be read.
        """
        if layer not in self.cards:
            there = ", ".join(map(str, self.cards))
            raise DictionaryError(f"There is no dictionary for layer {layer}, only for {there}.")
        file = self.weights[layer]()
        dictionary = format_of(file).read(file, dtype=dtype, device=device)
        return replace(dictionary, card=self.cards[layer])


def find_dictionaries(path: str | Path) -> Collection:
    """Find dictionaries in any of the formats, and the layer of each.

    The layer stands in a dictionary's own files, in the names of its folders (``layer_3``,
    ``mlp_out_layer_3/trainer_0``, ``layers.3.mlp``, ``blocks.3.hook_mlp_out``), or in both.

    Args:
        path: A dictionary's folder or its file of weights; a folder of such folders; a pattern
            with ``{layer}`` for the number, such as ``saes/mlp_out_layer_{layer}/trainer_0``; a
            repository on the hub, ``owner/name``, or a folder or pattern inside it,
            ``owner/name/folder``; or ``smollm2``, which is shipped.

    Returns:
        The dictionaries, at most one for each layer.

    Raises:
        DictionaryError: If there are none, two for one layer, or one without a layer.
    """
    found: dict[int, list[tuple[Card, Candidate]]] = {}
    for candidate in search(str(path)):
        card, layer = _card(candidate)
        found.setdefault(layer, []).append((card, candidate))
    for layer, there in found.items():
        if len(there) > 1:
            raise DictionaryError(
                f"{quoted(path)} holds {len(there)} dictionaries for layer {layer}: "
                f"{_listed([candidate for _, candidate in there])}; name one of them, or a pattern "
                "such as FOLDER/layer_{layer}/NAME."
            )
    return Collection(
        cards={layer: found[layer][0][0] for layer in sorted(found)},
        weights={layer: found[layer][0][1].fetch for layer in sorted(found)},
    )


def read_dictionary(path: str | Path, *, dtype: torch.dtype, device: torch.device) -> Dictionary:
    """Read one dictionary, which need not say its layer.

    Args:
        path: As for ``find_dictionaries``, where there must be one alone.
        dtype: The number format to convert to.
        device: Where to put it.

    Returns:
        The dictionary.

    Raises:
        DictionaryError: If there is none, more than one, or it cannot be read.
    """
    candidates = search(str(path))
    if len(candidates) > 1:
        raise DictionaryError(
            f"{quoted(path)} holds {len(candidates)} dictionaries: {_listed(candidates)}; name one."
        )
    file = candidates[0].fetch()
    return format_of(file).read(file, dtype=dtype, device=device)


def _card(candidate: Candidate) -> tuple[Card, int]:
    """Read a dictionary's card and settle its layer."""
    card = format_of(candidate.file).card(candidate.file)
    named, told = candidate.layer, card.layer
    layer = named if told is None else told
    if layer is None:
        raise DictionaryError(
            f"Nothing says to which layer {quoted(candidate.file)} belongs: name its folder after "
            "the layer, such as layer_3."
        )
    if named is not None and named != layer:
        raise DictionaryError(
            f"{quoted(candidate.file)} is in a folder of layer {named}, but its own files say "
            "layer "
            f"{layer}; rename the folder or mend the file."
        )
    return replace(card, layer=layer), layer


def _listed(candidates: list[Candidate]) -> str:
    names = [str(candidate.file) for candidate in candidates]
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
