"""Dictionaries on disk or on the hub, one for each layer, found before any weight is read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from backlight.dictionaries.dictionary import Card, Dictionary
from backlight.dictionaries.search import Candidate, search
from backlight.errors import DictionaryError, quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """The dictionaries of some layers, none of them read yet.

    Attributes:
        cards: What the files of each say, by layer, in ascending order.
        read: How the dictionary of each layer is read, in a number format and onto a device; its
            weights are fetched first if they are on the hub.
    """

    cards: Mapping[int, Card]
    read: Mapping[int, Callable[[torch.dtype, torch.device], Dictionary]]

    @staticmethod
    def of(dictionaries: Mapping[int, Dictionary]) -> "Collection":
        """Take dictionaries that are already loaded, by layer, as they are."""
        layers = sorted(dictionaries)
        return Collection(
            cards={layer: dictionaries[layer].card for layer in layers},
            read={layer: lambda *_, layer=layer: dictionaries[layer] for layer in layers},
        )

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
        return replace(self.read[layer](dtype, device), card=self.cards[layer])


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

    Examples:
        >>> import backlight, torch
        >>> found = backlight.find_dictionaries("smollm2")
        >>> list(found.cards), found.cards[15].format
        ([15], 'SAELens')
        >>> found.load(15, dtype=torch.float32, device=torch.device("cpu")).num_features
        2304
    """
    cards: dict[int, Card] = {}
    found: dict[int, list[Candidate]] = {}
    for candidate in search(str(path)):
        card, layer = _card(candidate)
        cards[layer] = card
        found.setdefault(layer, []).append(candidate)
    for layer, there in found.items():
        if len(there) > 1:
            raise DictionaryError(
                f"{quoted(path)} holds {len(there)} dictionaries for layer {layer}: "
                f"{_listed(there)}; name one of them, or a pattern such as "
                "FOLDER/layer_{layer}/NAME."
            )
    return Collection(
        cards={layer: cards[layer] for layer in sorted(found)},
        read={layer: found[layer][0].read for layer in sorted(found)},
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

    Examples:
        >>> import backlight, torch
        >>> cpu = torch.device("cpu")
        >>> sae = backlight.read_dictionary("smollm2", dtype=torch.float32, device=cpu)
        >>> codes = sae.encode(torch.zeros(5, 576))
        >>> sae.decode(codes, torch.zeros(5, 576)).shape
        torch.Size([5, 576])
    """
    candidates = search(str(path))
    if len(candidates) > 1:
        raise DictionaryError(
            f"{quoted(path)} holds {len(candidates)} dictionaries: {_listed(candidates)}; name one."
        )
    return candidates[0].read(dtype, device)


def _card(candidate: Candidate) -> tuple[Card, int]:
    """Read a dictionary's card and settle its layer."""
    card = candidate.format.card(candidate.file)
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
            f"layer {layer}; rename the folder or mend the file."
        )
    return replace(card, layer=layer), layer


def _listed(candidates: list[Candidate]) -> str:
    names = [str(candidate.file) for candidate in candidates]
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
