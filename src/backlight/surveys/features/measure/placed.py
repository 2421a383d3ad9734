"""The dictionaries of a survey: found, put at their sites, and proven there."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from typing import Any

import torch

from backlight.data.batches import Batch
from backlight.dictionaries.collection import Collection, find_dictionaries
from backlight.dictionaries.dictionary import Card, Dictionary
from backlight.dictionaries.foreign import dictionary_from_object
from backlight.errors import ConfigError, DictionaryError, quoted
from backlight.models.sites import (
    Site,
    format_layers,
    layer_of,
    parse_layers,
    resolve_sites,
    sites_of_layers,
)
from backlight.models.streams import Way
from backlight.models.subject import Subject
from backlight.surveys.features.measure.cross_layer import check_cross_layer, later_sites
from backlight.surveys.features.measure.fidelity import Fidelity, check_fidelity
from backlight.surveys.features.options import SaeConfig

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedDictionary:
    """A dictionary at its sites in the model, proven there.

    Attributes:
        layer: Its layer.
        reads: The site whose tensor it encodes.
        writes: The site whose tensor it reconstructs, and where its gradient is taken.
        beyond: The sites of later layers that a cross-layer transcoder writes besides, in order.
        card: What its files say of it.
        fidelity: How well it reconstructs the first batch.
        load: Read it, unless it is the one that was read last: of all layers one is held.
        way: How a change of what it writes reaches the residual stream; None where its features
            are not weighed against that.
    """

    layer: int
    reads: Site
    writes: Site
    card: Card
    fidelity: Fidelity
    load: Callable[[], Dictionary]
    beyond: tuple[Site, ...] = ()
    way: Way | None = None

    @property
    def written(self) -> tuple[Site, ...]:
        """All sites that it writes, in the order in which they stand in its decoder's rows."""
        return (self.writes, *self.beyond)

    def origin(self) -> dict[str, Any]:
        """Describe it by its card and by what it does, so that another one is noticed."""
        card = {name: told for name, told in asdict(self.card).items() if told is not None}
        quality = asdict(self.fidelity.quality)
        known = {
            name: None if value != value else round(value, 6) for name, value in quality.items()
        }
        return {**card, "reads": self.reads.name, "writes": self.writes.name, **known}


def find_source(config: SaeConfig, given: Mapping[int, object] | None) -> Collection:
    """Find the dictionaries that some options mean; no weights are read.

    Args:
        config: The options.
        given: Dictionaries that are already loaded, ours or another library's, by layer.

    Returns:
        Where they come from.

    Raises:
        ConfigError: If nobody says which dictionaries, or both options and caller do.
        DictionaryError: If an object of another library is no dictionary.
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
    return Collection.of({layer: _own(each, layer) for layer, each in given.items()})


def _own(given: object, layer: int) -> Dictionary:
    return given if isinstance(given, Dictionary) else dictionary_from_object(given, layer=layer)


def place_dictionaries(
    config: SaeConfig, source: Collection, subject: Subject, batch: Batch
) -> list[PlacedDictionary]:
    """Choose the layers, find the sites of each dictionary, and prove it on a batch.

    Args:
        config: The options.
        source: Where the dictionaries come from.
        subject: The model.
        batch: Some passages of the corpus, on the model's device.

    Returns:
        The dictionaries, from the first layer to the last.

    Raises:
        DictionaryError: If one is missing, does not fit, or reconstructs badly.
    """
    cards = source.cards
    layers = _layers(config, subject, cards)
    sites = {layer: sites_of(cards[layer], layer, subject, config.site) for layer in layers}
    held = lru_cache(maxsize=1)(
        partial(source.load, dtype=number_format(subject), device=subject.device)
    )
    across = {layer: card for layer, card in cards.items() if card.is_cross_layer}
    found = check_cross_layer(subject, batch, held, _sites_up_to(layers, across, subject))
    placed: list[PlacedDictionary] = []
    for layer, (reads, writes) in sites.items():
        load = partial(held, layer)
        if layer in across:
            fidelity, beyond = found[layer], later_sites(subject, writes, layer)
        else:
            fidelity = check_fidelity(subject, batch, load(), reads=reads, writes=writes)
            beyond = ()
        _refuse_or_warn(config, fidelity)
        placed.append(
            PlacedDictionary(
                layer=layer,
                reads=reads,
                writes=writes,
                card=cards[layer],
                fidelity=fidelity,
                load=load,
                beyond=beyond,
            )
        )
    others = _other_models(subject, placed)
    if others:
        _logger.warning(
            "The dictionaries say that they were trained on %s, and this is %s.",
            " and ".join(others),
            subject.name,
        )
    return placed


def _sites_up_to(
    layers: Sequence[int], across: Mapping[int, Card], subject: Subject
) -> dict[int, tuple[Site, Site]]:
    """Find the sites of a cross-layer transcoder up to the last layer that is asked for."""
    wanted = [layer for layer in layers if layer in across]
    up_to = range(max(wanted) + 1 if wanted else 0)
    missing = [layer for layer in up_to if layer not in across]
    if missing:
        raise DictionaryError(
            f"What a cross-layer transcoder reconstructs at layer {up_to[-1]} is made of features "
            f"of all layers up to it, and there is nothing for layers {format_layers(missing)}."
        )
    return {layer: sites_of(across[layer], layer, subject) for layer in up_to}


def notes_of(subject: Subject, dictionaries: Sequence[PlacedDictionary]) -> dict[str, Any]:
    """Collect what a reader of the numbers must know of the dictionaries.

    Args:
        subject: The model.
        dictionaries: The dictionaries.

    Returns:
        Those that reconstruct badly, and the other models that they were trained on, if any.
    """
    poor = {str(each.layer): each.fidelity.fault for each in dictionaries if each.fidelity.fault}
    notes = {
        "poor_reconstruction": poor,
        "dictionaries_of_other_models": _other_models(subject, dictionaries),
    }
    return {name: note for name, note in notes.items() if note}


def sites_of(
    card: Card, layer: int, subject: Subject, site: str | None = None
) -> tuple[Site, Site]:
    """Find the sites that a dictionary reads and writes.

    Args:
        card: What its files say of it.
        layer: The layer it is for.
        subject: The model.
        site: The kind of site it reads and writes, where its files are silent or wrong.

    Returns:
        The site that it reads, and the site that it writes.

    Raises:
        DictionaryError: If neither the files nor the caller say where it belongs, or they name a
            site of another layer.
    """
    reads = site or card.reads
    if reads is None:
        raise DictionaryError(
            f"Nothing in {quoted(card.path)} says at which site of the model the "
            "dictionary belongs; name it with --site, for example --site mlp.out or --site "
            "resid.post."
        )
    writes = site or card.writes or reads
    return _site(reads, layer, subject, card), _site(writes, layer, subject, card)


def kept_widths(dictionaries: Sequence[PlacedDictionary]) -> int:
    """Count the numbers of a token that are kept while dictionaries go by.

    Args:
        dictionaries: The dictionaries.

    Returns:
        Those at the sites that each reads and writes, later layers' sites with those layers; and
        once more the gradients that are put side by side, which is done for a layer at a time.
    """
    widths = [each.fidelity.widths for each in dictionaries]
    joined = max(each.fidelity.widths[1] if each.beyond else 0 for each in dictionaries)
    sites = [len(each.written) for each in dictionaries]
    return joined + sum(
        read + written // number for (read, written), number in zip(widths, sites, strict=True)
    )


def number_format(subject: Subject) -> torch.dtype:
    """Choose in which format dictionaries compute: float64 for float64 models, else float32."""
    native = next(subject.model.parameters()).dtype
    return torch.float64 if native == torch.float64 else torch.float32


def _site(name: str, layer: int, subject: Subject, card: Card) -> Site:
    found = resolve_sites(name, subject.sites, wiring=subject.facts.get("wiring"))
    own = sites_of_layers(found, [layer])
    if len(own) == 1:
        return own[0]
    if own:
        raise DictionaryError(
            f"{quoted(name)} is more than one site of layer {layer} "
            f"({', '.join(site.name for site in own[:4])}); name one with --site."
        )
    others = layer_of(found[0].name)
    raise DictionaryError(
        f"The dictionary in {quoted(card.path)} was taken for layer {layer}, but it belongs to "
        + (f"layer {others} ({found[0].name})." if others is not None else f"{found[0].name}.")
    )


def _layers(config: SaeConfig, subject: Subject, cards: Mapping[int, Card]) -> Sequence[int]:
    beyond = [layer for layer in cards if layer >= subject.num_layers]
    if beyond:
        raise DictionaryError(
            f"There are dictionaries for layers {format_layers(beyond)}, but {subject.name} has "
            f"{subject.num_layers} layers, 0 to {subject.num_layers - 1}: they belong to another "
            "model."
        )
    asked = parse_layers(config.layers, subject.num_layers)
    missing = [layer for layer in asked if layer not in cards]
    if config.layers.strip() == "all":
        if missing and len(cards) > 1:
            _logger.warning("There is no dictionary for layers %s.", format_layers(missing))
        return tuple(cards)
    if missing:
        raise DictionaryError(
            f"There is no dictionary for layers {', '.join(map(str, missing))} in "
            f"{quoted(config.sae_path)}, only for layers {format_layers(tuple(cards))}; name those "
            "with --layers."
        )
    return asked


def _refuse_or_warn(config: SaeConfig, fidelity: Fidelity) -> None:
    if fidelity.fault is None:
        return
    if not config.allow_poor_reconstruction:
        raise DictionaryError(
            f"{fidelity.fault} To go on all the same: --allow_poor_reconstruction."
        )
    _logger.warning("%s", fidelity.fault)


def _other_models(subject: Subject, dictionaries: Sequence[PlacedDictionary]) -> list[str]:
    """Find the models, other than this one, that dictionaries say they were trained on."""
    # A name means this model if its last part stands in one of the model's names.
    own = f"{subject.name} {subject.facts.get('note', '')}".lower()
    told = {each.card.model for each in dictionaries if each.card.model is not None}
    return sorted(
        model for model in told if model.rstrip("/").rpartition("/")[2].lower() not in own
    )
