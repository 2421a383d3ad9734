"""Where in a model a dictionary belongs, and the proof that it does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from backlight.capture.record import record_activations
from backlight.capture.tape import Tape
from backlight.data.batches import Batch
from backlight.dictionaries.dictionary import Card, Dictionary
from backlight.dictionaries.normalization import Normalization
from backlight.dictionaries.quality import Quality, Reconstruction
from backlight.errors import DictionaryError, quoted
from backlight.models.sites import Site, kind_of, layer_of, resolve_sites, sites_of_layers
from backlight.models.subject import Subject

LEAST_EXPLAINED = 0.3
"""A dictionary that explains less of the variance at its site is taken to be in the wrong place."""

_TRIED = 256  # tokens, on which other causes are tried


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a dictionary sits.

    Attributes:
        layer: Its layer.
        reads: The site whose tensor it encodes.
        writes: The site whose tensor it reconstructs, and where its gradient is taken.
    """

    layer: int
    reads: Site
    writes: Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a dictionary did with some tokens of the corpus before anything was measured.

    Attributes:
        quality: How well it reconstructed them, and how sparsely.
        counts: At how many of them each feature fired; first tokens of passages included.
        num_tokens: How many they were, first tokens included.
        normalization: What the dictionary does to its input.
        widths: Of its input and of its output.
    """

    quality: Quality
    counts: Int[Tensor, " features"]
    num_tokens: int
    normalization: Normalization
    widths: tuple[int, int]


def place(card: Card, layer: int, subject: Subject, site: str | None = None) -> Place:
    """Find the sites that a dictionary reads and writes.

    Args:
        card: What its files say of it.
        layer: The layer it is for.
        subject: The model.
        site: The kind of site it reads and writes, where its files are silent or wrong.

    Returns:
        Its place.

    Raises:
        DictionaryError: If neither the files nor the caller say where it belongs, or they name a
            site of another layer.
    """
    if site is None and card.reads is None:
        raise DictionaryError(
            f"The files in {quoted(card.path)} do not say at which site of the model the "
            "dictionary "
            "belongs; name it with --site, for example --site mlp.out or --site resid.post."
        )
    reads = _site(site or card.reads, layer, subject, card)
    writes = _site(site or card.writes or card.reads, layer, subject, card)
    return Place(layer=layer, reads=reads, writes=writes)


def try_out(subject: Subject, batch: Batch, dictionary: Dictionary, where: Place) -> Trial:
    """Reconstruct a batch at the dictionary's place.

    Args:
        subject: The model.
        batch: Some passages, on the model's device.
        dictionary: In the model's number format, or float32 for half formats.
        where: Its place.

    Returns:
        What came of it.

    Raises:
        DictionaryError: If its width is not that of the site.
    """
    tape = record_activations(subject, batch, unique_sites(where.reads, where.writes))
    x, target = _tokens(tape, where.reads), _tokens(tape, where.writes)
    for width, tensor, site in (
        (dictionary.encoder.width, x, where.reads),
        (dictionary.rows.shape[1], target, where.writes),
    ):
        if width is not None and width != tensor.shape[1]:
            raise DictionaryError(
                f"The dictionary in {quoted(dictionary.card.path)} is for vectors of {width} "
                "numbers, "
                f"but {site.name} of {subject.name} has {tensor.shape[1]}: it belongs to another "
                "model or another site."
            )
    quality, counts = _quality(dictionary, x, target, _first(batch))
    return Trial(
        quality=quality,
        counts=counts,
        num_tokens=batch.num_tokens,
        normalization=dictionary.normalization,
        widths=(x.shape[1], target.shape[1]),
    )


def likely_cause(
    subject: Subject, batch: Batch, dictionary: Dictionary, where: Place, quality: Quality
) -> str:
    """Say why a dictionary reconstructs so badly: what would make it better is tried.

    Args:
        subject: The model.
        batch: The passages it was tried on.
        dictionary: The dictionary.
        where: Its place.
        quality: How well it did there.

    Returns:
        One sentence.
    """
    found = _elsewhere(subject, batch, dictionary, where)
    for factor, name in _scalings(subject, batch, dictionary, where):
        found[name] = factor
    best = max(found, key=lambda name: found[name], default="")
    if best and found[best] >= max(LEAST_EXPLAINED, quality.explained_variance + 0.1):
        return f"Likely cause: {best} (explained variance there {found[best]:.2f})."
    return (
        "No other site of its width in this layer or the next ones, and no scale of the input, "
        "explains more: the weights may be of another model or layer, untrained, or transposed."
    )


def number_format(subject: Subject) -> torch.dtype:
    """Choose in which format dictionaries compute: float64 for float64 models, else float32."""
    native = next(subject.model.parameters()).dtype
    return torch.float64 if native == torch.float64 else torch.float32


def _site(name: str | None, layer: int, subject: Subject, card: Card) -> Site:
    assert name is not None
    found = resolve_sites(name, subject.sites)
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


def unique_sites(*sites: Site) -> list[Site]:
    """Name each site once."""
    return list({site.name: site for site in sites}.values())


def _tokens(tape: Tape, site: Site) -> Tensor:
    """Take the tokens of a site side by side, without pads, as dictionaries compute."""
    values = tape.activations[site.name][tape.batch.valid]
    return values if values.dtype == torch.float64 else values.float()


def _first(batch: Batch) -> Tensor:
    first = torch.zeros_like(batch.valid)
    first[:, 0] = True
    return first[batch.valid]


def _quality(
    dictionary: Dictionary, x: Tensor, target: Tensor, first: Tensor
) -> tuple[Quality, Tensor]:
    seen = Reconstruction()
    codes = dictionary.encode(x)
    seen.update(target, dictionary.decode(codes, x), codes, first=first)
    return seen.result(), codes.counts()


def _elsewhere(
    subject: Subject, batch: Batch, dictionary: Dictionary, where: Place
) -> dict[str, float]:
    """Try the dictionary as an autoencoder at other sites of its layer, and of its neighbours."""
    kinds = ("resid.pre", "resid.mid", "resid.post", "attn.out", "attn.z", "mlp.out")
    near: Mapping[int, Sequence[str]] = {
        where.layer: (*kinds, "mlp.contribution", "attn.contribution", "norm2.out"),
        where.layer - 1: (kind_of(where.reads.name),),
        where.layer + 1: (kind_of(where.reads.name),),
    }
    names = [f"layers.{layer}.{kind}" for layer, kinds in near.items() for kind in kinds]
    sites = [subject.sites[name] for name in names if name in subject.sites]
    sites = [site for site in sites if site.tap != where.reads.tap]
    tape = record_activations(subject, batch, sites)
    found: dict[str, float] = {}
    for site in sites:
        x = _tokens(tape, site)
        fits = x.shape[1] == dictionary.rows.shape[1] == (dictionary.encoder.width or x.shape[1])
        if fits:
            x = x[:_TRIED]
            quality, _ = _quality(dictionary, x, x, _first(batch)[:_TRIED])
            found[f"it was trained at {site.name}"] = quality.explained_variance
    return found


def _scalings(
    subject: Subject, batch: Batch, dictionary: Dictionary, where: Place
) -> list[tuple[float, str]]:
    """Try the dictionary on inputs that are scaled to the usual mean norm, sqrt(width)."""
    tape = record_activations(subject, batch, unique_sites(where.reads, where.writes))
    x, target = _tokens(tape, where.reads)[:_TRIED], _tokens(tape, where.writes)[:_TRIED]
    first = _first(batch)[:_TRIED]
    scale = x.shape[1] ** 0.5 / x[~first].norm(dim=1).mean()
    quality, _ = _quality(dictionary, x * scale, target * scale, first)
    cause = (
        f"it was trained on activations scaled to the mean norm sqrt({x.shape[1]}), here times "
        f"{float(scale):.3g}, which its files do not say"
    )
    return [(quality.explained_variance, cause)]
