"""The dictionaries of a survey: found, put in their places, and proven there."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch

from backlight.data.batches import Batch
from backlight.dictionaries.collection import find_dictionaries
from backlight.dictionaries.dictionary import Card, Dictionary
from backlight.errors import ConfigError, DictionaryError, quoted
from backlight.models.sites import format_layers, parse_layers
from backlight.models.subject import Subject
from backlight.surveys.driver.opening import Corpus
from backlight.surveys.features.measure.placement import (
    LEAST_EXPLAINED,
    Place,
    Trial,
    likely_cause,
    number_format,
    place,
    try_out,
)
from backlight.surveys.features.options import SaeConfig

_logger = logging.getLogger(__name__)


@runtime_checkable
class Source(Protocol):
    """Where dictionaries come from."""

    @property
    def cards(self) -> Mapping[int, Card]:
        """What their files say of them, by layer in ascending order."""
        ...

    def load(self, layer: int, *, dtype: torch.dtype, device: torch.device) -> Dictionary:
        """Give the dictionary of one layer."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """The dictionaries that are surveyed.

    Attributes:
        cards: What their files say of them, by layer in ascending order.
        places: Where they sit.
        load: Gives a layer's dictionary.
        trials: How each did on the first batch.
        notes: What a reader of the numbers must know of them.
    """

    cards: Mapping[int, Card]
    places: Mapping[int, Place]
    load: Callable[[int], Dictionary]
    trials: dict[int, Trial] = field(default_factory=dict[int, Trial])
    notes: dict[str, Any] = field(default_factory=dict[str, Any])

    def origin(self, layer: int) -> dict[str, Any]:
        """Describe a dictionary by its card and by what it does, so that another is noticed."""
        card = {name: told for name, told in asdict(self.cards[layer]).items() if told is not None}
        quality = asdict(self.trials[layer].quality)
        where = self.places[layer]
        return {
            **card,
            "reads": where.reads.name,
            "writes": where.writes.name,
            **{name: _rounded(value) for name, value in quality.items()},
        }


@dataclass(frozen=True, slots=True)
class _Given:
    dictionaries: Mapping[int, Dictionary]

    @property
    def cards(self) -> Mapping[int, Card]:
        return {layer: dictionary.card for layer, dictionary in self.dictionaries.items()}

    def load(self, layer: int, *, dtype: torch.dtype, device: torch.device) -> Dictionary:
        del dtype, device
        return self.dictionaries[layer]


def find_source(config: SaeConfig, given: Mapping[int, Dictionary] | None) -> Source:
    """Find the dictionaries that some options mean; no weights are read.

    Args:
        config: The options.
        given: Dictionaries that are already loaded, by layer.

    Returns:
        Where they come from.

    Raises:
        ConfigError: If nobody says which dictionaries, or both options and caller do.
    """
    if given is None:
        if config.sae_path is None:
            raise ConfigError(
                "Say which dictionaries to use: --sae_path FOLDER (or a hub id, or smollm2, which "
                "is shipped); `backlight train-sae` makes one for a model that has none."
            )
        return find_dictionaries(config.sae_path)
    if config.sae_path is not None:
        raise ConfigError("Both dictionaries and sae_path are given; leave one out.")
    if not given:
        raise ConfigError("dictionaries is empty: give at least one, by its layer.")
    return _Given({layer: given[layer] for layer in sorted(given)})


def shelve(config: SaeConfig, material: Corpus, source: Source) -> Shelf:
    """Choose the layers, find each dictionary's place, and try it on the first batch.

    Args:
        config: The options.
        material: What is surveyed.
        source: Where the dictionaries come from.

    Returns:
        The dictionaries, proven.

    Raises:
        DictionaryError: If one is missing, does not fit, or reconstructs badly.
    """
    subject, cards = material.subject, source.cards
    layers = _layers(config, subject, cards)
    places = {layer: place(cards[layer], layer, subject, config.site) for layer in layers}
    shelf = Shelf(
        cards={layer: cards[layer] for layer in layers},
        places=places,
        load=partial(source.load, dtype=number_format(subject), device=subject.device),
    )
    batch = Batch.of(material.passages, material.batches[0]).to(subject.device)
    for layer, where in places.items():
        dictionary = shelf.load(layer)
        trial = try_out(subject, batch, dictionary, where)
        shelf.trials[layer] = trial
        fault = _fault(config, subject, batch, dictionary, where, trial)
        if fault is not None:
            shelf.notes.setdefault("poor_reconstruction", {})[str(layer)] = fault
    told = {card.model for card in shelf.cards.values() if card.model is not None}
    others = sorted(model for model in told if not _is_called(subject, model))
    if others:
        shelf.notes["dictionaries_of_other_models"] = others
        _logger.warning(
            "The dictionaries say that they were trained on %s, and this is %s.",
            " and ".join(others),
            subject.name,
        )
    return shelf


def _layers(config: SaeConfig, subject: Subject, cards: Mapping[int, Card]) -> tuple[int, ...]:
    there = format_layers(tuple(cards))
    beyond = [layer for layer in cards if layer >= subject.num_layers]
    if beyond:
        raise DictionaryError(
            f"There are dictionaries for layers {format_layers(beyond)}, but {subject.name} has "
            f"{subject.num_layers} layers, 0 to {subject.num_layers - 1}: they belong to another "
            "model."
        )
    asked = parse_layers(config.layers, subject.num_layers)
    if config.layers.strip() == "all":
        if 1 < len(cards) < len(asked):
            missing = [layer for layer in asked if layer not in cards]
            _logger.warning("There is no dictionary for layers %s.", format_layers(missing))
        return tuple(cards)
    missing = [layer for layer in asked if layer not in cards]
    if missing:
        raise DictionaryError(
            f"There is no dictionary for layers {', '.join(map(str, missing))} in "
            f"{quoted(config.sae_path)}, only for layers {there}; name those with --layers."
        )
    return asked


def _fault(
    config: SaeConfig,
    subject: Subject,
    batch: Batch,
    dictionary: Dictionary,
    where: Place,
    trial: Trial,
) -> str | None:
    """Say what is wrong with a dictionary that reconstructs badly, or refuse it."""
    quality = trial.quality
    if not quality.explained_variance < LEAST_EXPLAINED:
        return None
    told = (
        f"The dictionary in {quoted(dictionary.card.path)} explains "
        f"{quality.explained_variance:.2f} of "
        f"the variance at {where.writes.name} ({quality.explained_variance_with_first:.2f} with "
        f"first tokens), with {quality.l0:.0f} features per token. "
        f"{likely_cause(subject, batch, dictionary, where, quality)}"
    )
    if not config.allow_poor_reconstruction:
        raise DictionaryError(f"{told} To go on all the same: --allow_poor_reconstruction.")
    _logger.warning("%s", told)
    return told


def _is_called(subject: Subject, model: str) -> bool:
    """Tell whether a name means this model: its last part stands in one of the model's names."""
    own = f"{subject.name} {subject.facts.get('note', '')}".lower()
    return model.rstrip("/").rpartition("/")[2].lower() in own


def _rounded(value: float) -> float | None:
    return None if value != value else round(value, 6)
