"""Cross-layer transcoders: what they write, how well they reconstruct, and what is refused.

A feature of layer i reads the residual stream before the MLP of layer i and writes to the outputs
of the MLPs of layers i, i + 1, ... (Ameisen et al., "Circuit Tracing: Revealing Computational
Graphs in Language Models", 2025). So an MLP's output is reconstructed by the features of all layers
up to it together.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.capture.record import record_activations
from backlight.capture.tape import Tape
from backlight.data.batches import Batch
from backlight.dictionaries.collection import Collection
from backlight.dictionaries.dictionary import Dictionary
from backlight.dictionaries.quality import Reconstruction
from backlight.errors import ConfigError, DictionaryError, quoted
from backlight.models.sites import Site, kind_of, resolve_sites
from backlight.models.subject import Subject
from backlight.surveys.features.measure.fidelity import (
    LEAST_EXPLAINED,
    Fidelity,
    SiteTokens,
    check_width,
    tokens_at,
    unique_sites,
)
from backlight.surveys.features.options import SaeConfig


def check_asked(options: SaeConfig, source: Collection) -> None:
    """Refuse what has no exact answer for a cross-layer transcoder.

    Args:
        options: What is asked.
        source: The dictionaries.

    Raises:
        ConfigError: If some of them are layers of a cross-layer transcoder, and what is asked is of
            dictionaries that write to one site.
    """
    if not any(card.is_cross_layer for card in source.cards.values()):
        return
    if options.splice == "replace" and options.aggregate_by != "values":
        raise ConfigError(
            "--splice replace puts the reconstruction of one layer in its place, and what a "
            "cross-layer transcoder reconstructs there is made of features of all earlier layers "
            "too, while those of this layer go on to later ones; use --splice error."
        )
    if options.path is not None:
        raise ConfigError(
            "--path leads one site from zero to what it is, and a feature of a cross-layer "
            "transcoder writes to several sites at once, which have no common path; leave it out."
        )
    if options.site is not None:
        raise ConfigError(
            "A cross-layer transcoder reads one site and writes to others, so --site cannot name "
            "them; its config.yaml does."
        )


def later_sites(subject: Subject, writes: Site, layer: int) -> tuple[Site, ...]:
    """Find the sites of later layers that the features of a layer write to.

    Args:
        subject: The model.
        writes: The site of their own layer.
        layer: That layer.

    Returns:
        The site of the same kind of each later layer.
    """
    names = (
        f"layers.{later}.{kind_of(writes.name)}" for later in range(layer + 1, subject.num_layers)
    )
    return tuple(resolve_sites(name, subject.sites)[0] for name in names)


def check_cross_layer(
    subject: Subject,
    batch: Batch,
    load: Callable[[int], Dictionary],
    sites: Mapping[int, tuple[Site, Site]],
) -> dict[int, Fidelity]:
    """Reconstruct a batch at the sites of a cross-layer transcoder, layer by layer.

    Each layer is read once, and what it writes is added to what is reconstructed at all sites.

    Args:
        subject: The model.
        batch: Some passages, on the model's device.
        load: Reads a layer, in the model's number format or float32 for half formats.
        sites: What each layer from 0 on reads, and the first site it writes; may be empty.

    Returns:
        How well the features of all layers up to it reconstruct each layer's own site.

    Raises:
        DictionaryError: If its width or its number of layers is not that of the model.
    """
    if not sites:
        return {}
    tape = record_activations(
        subject, batch, unique_sites(*(s for pair in sites.values() for s in pair))
    )
    tokens = {layer: tokens_at(tape, *pair) for layer, pair in sites.items()}
    made = {layer: torch.zeros_like(each.target) for layer, each in tokens.items()}
    found: dict[int, Fidelity] = {}
    for layer, (reads, writes) in sites.items():
        dictionary, own = load(layer), tokens[layer]
        _check_shape(subject, dictionary, layer, reads, writes, own)
        codes = dictionary.encode(own.x)
        parts = dictionary.decode(codes, own.x).split(own.target.shape[1], dim=1)
        for later, part in enumerate(parts, start=layer):
            if later in made:
                made[later] += part
        seen = Reconstruction()
        seen.update(own.target, made[layer], codes, first=own.first)
        found[layer] = Fidelity(
            quality=seen.result(),
            counts=codes.counts(),
            num_tokens=batch.num_tokens,
            normalization=dictionary.normalization,
            widths=(own.x.shape[1], dictionary.rows.shape[1]),
            fault=_fault(seen, dictionary, writes),
        )
    return found


def joined_gradients(tape: Tape, sites: Sequence[Site]) -> Float[Tensor, "*tokens width"] | None:
    """Put the gradients at some sites side by side, as they stand in a decoder's rows.

    Args:
        tape: With the gradients of all of the sites, or of none.
        sites: At least one.

    Returns:
        The gradients; None if no loss was differentiated.
    """
    found = [tape.gradients[site.name] for site in sites if tape.gradients]
    if len(found) < 2:
        return next(iter(found), None)
    return torch.cat(found, dim=-1)


def _check_shape(
    subject: Subject,
    dictionary: Dictionary,
    layer: int,
    reads: Site,
    writes: Site,
    tokens: SiteTokens,
) -> None:
    check_width(subject, dictionary, dictionary.encoder.width, tokens.x, reads)
    width = tokens.target.shape[1]
    number, rest = divmod(dictionary.rows.shape[1], width)
    if rest or number != subject.num_layers - layer:
        raise DictionaryError(
            f"The cross-layer transcoder in {quoted(dictionary.card.path)} has rows of "
            f"{dictionary.rows.shape[1]} numbers, while from {writes.name} on {subject.name} has "
            f"{subject.num_layers - layer} layers of {width}: it belongs to another model."
        )


def _fault(seen: Reconstruction, dictionary: Dictionary, writes: Site) -> str | None:
    quality = seen.result()
    if not quality.explained_variance < LEAST_EXPLAINED:
        return None
    return (
        f"The cross-layer transcoder explains {quality.explained_variance:.2f} of the variance at "
        f"{writes.name} ({quality.explained_variance_with_first:.2f} with first tokens) by the "
        f"features of all layers up to it; those of {quoted(dictionary.card.path)} are "
        f"{quality.l0:.0f} per token. The weights may be of another model, or untrained."
    )
