"""How well a dictionary reconstructs its site before anything is measured, and why if it is bad."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from backlight.capture.record import record_activations
from backlight.capture.tape import Tape
from backlight.data.batches import Batch
from backlight.dictionaries.dictionary import Dictionary
from backlight.dictionaries.normalization import Normalization
from backlight.dictionaries.quality import Quality, Reconstruction
from backlight.errors import DictionaryError, quoted
from backlight.models.sites import Site, kind_of, layer_of
from backlight.models.subject import Subject

LEAST_EXPLAINED = 0.3
"""A dictionary that explains less of the variance at its site is taken to be in the wrong place."""

_NUM_TRIED = 256  # tokens, on which other causes are tried
_KINDS = (
    *("resid.pre", "resid.mid", "resid.post", "attn.out", "attn.z", "mlp.out"),
    *("mlp.contribution", "attn.contribution", "norm2.out"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """What a dictionary made of one batch of the corpus before anything was measured.

    Attributes:
        quality: How well it reconstructed the tokens, and how sparsely.
        counts: At how many of them each feature fired; first tokens of passages included.
        num_tokens: How many they were, first tokens included.
        normalization: What the dictionary does to its input.
        widths: The widths of its input and its output.
        fault: What is wrong, and the likely cause, if it explains too little; None if it does not.
    """

    quality: Quality
    counts: Int[Tensor, " features"]
    num_tokens: int
    normalization: Normalization
    widths: tuple[int, int]
    fault: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteTokens:
    """The tokens of a batch at the two sites of a dictionary, side by side and without pads.

    Attributes:
        x: At the site that it encodes.
        target: At the site that it reconstructs.
        first: Which of them are the first of their passage.
    """

    x: Float[Tensor, "tokens input_width"]
    target: Float[Tensor, "tokens output_width"]
    first: Bool[Tensor, " tokens"]

    def reconstructed(self, dictionary: Dictionary) -> tuple[Quality, Int[Tensor, " features"]]:
        """Return how well a dictionary reconstructs them, and how often each feature fires."""
        seen, codes = Reconstruction(), dictionary.encode(self.x)
        seen.update(self.target, dictionary.decode(codes, self.x), codes, first=self.first)
        return seen.result(), codes.counts()

    def some(self) -> "SiteTokens":
        """Return as many of them as other causes are tried on."""
        few = slice(_NUM_TRIED)
        return SiteTokens(x=self.x[few], target=self.target[few], first=self.first[few])


def check_fidelity(
    subject: Subject, batch: Batch, dictionary: Dictionary, *, reads: Site, writes: Site
) -> Fidelity:
    """Reconstruct a batch with a dictionary at its sites.

    Args:
        subject: The model.
        batch: Some passages, on the model's device.
        dictionary: In the model's number format, or float32 for half formats.
        reads: The site whose tensor it encodes.
        writes: The site whose tensor it reconstructs.

    Returns:
        How well it did, with the likely cause if it did badly.

    Raises:
        DictionaryError: If its width is not that of the site.
    """
    tape = record_activations(subject, batch, unique_sites(reads, writes))
    tokens = tokens_at(tape, reads, writes)
    check_width(subject, dictionary, dictionary.encoder.width, tokens.x, reads)
    check_width(subject, dictionary, dictionary.rows.shape[1], tokens.target, writes)
    quality, counts = tokens.reconstructed(dictionary)
    found = Fidelity(
        quality=quality,
        counts=counts,
        num_tokens=batch.num_tokens,
        normalization=dictionary.normalization,
        widths=(tokens.x.shape[1], tokens.target.shape[1]),
    )
    if not quality.explained_variance < LEAST_EXPLAINED:
        return found
    cause = likely_cause(subject, batch, dictionary, reads=reads, writes=writes, quality=quality)
    fault = (
        f"The dictionary in {quoted(dictionary.card.path)} explains "
        f"{quality.explained_variance:.2f} of the variance at {writes.name} "
        f"({quality.explained_variance_with_first:.2f} with first tokens), with {quality.l0:.0f} "
        f"features per token. {cause}"
    )
    return replace(found, fault=fault)


def check_width(
    subject: Subject, dictionary: Dictionary, width: int | None, tensor: Tensor, site: Site
) -> None:
    """Refuse a dictionary that is for vectors of another width than those of a site.

    Args:
        subject: The model.
        dictionary: The dictionary.
        width: The width of its vectors; None if it is not known.
        tensor: Those of the site, ``[tokens, width]``.
        site: The site.

    Raises:
        DictionaryError: If they differ.
    """
    if width is not None and width != tensor.shape[1]:
        raise DictionaryError(
            f"The dictionary in {quoted(dictionary.card.path)} is for vectors of {width} "
            f"numbers, but {site.name} of {subject.name} has {tensor.shape[1]}: it belongs to "
            "another model or another site."
        )


def likely_cause(
    subject: Subject,
    batch: Batch,
    dictionary: Dictionary,
    *,
    reads: Site,
    writes: Site,
    quality: Quality,
) -> str:
    """Try what would make a dictionary reconstruct better, and name the best of it.

    Args:
        subject: The model.
        batch: The passages it was tried on.
        dictionary: The dictionary.
        reads: The site whose tensor it encodes.
        writes: The site whose tensor it reconstructs.
        quality: How well it did there.

    Returns:
        One sentence.
    """
    tape = record_activations(subject, batch, unique_sites(reads, writes))
    found = {
        **_elsewhere(subject, batch, dictionary, reads),
        **_rescaled(dictionary, tokens_at(tape, reads, writes).some()),
    }
    best = max(found, key=lambda name: found[name])
    if found[best] >= max(LEAST_EXPLAINED, quality.explained_variance + 0.1):
        return f"Likely cause: {best} (explained variance there {found[best]:.2f})."
    return (
        "No other site of its width in this layer or the next ones, and no scale of the input, "
        "explains more: the weights may be of another model or layer, untrained, or transposed."
    )


def unique_sites(*sites: Site) -> list[Site]:
    """Name each site once."""
    return list({site.name: site for site in sites}.values())


def tokens_at(tape: Tape, reads: Site, writes: Site) -> SiteTokens:
    """Take the tokens at two sites, in the number format in which dictionaries compute.

    Args:
        tape: With the activations there.
        reads: The site that a dictionary encodes.
        writes: The site that it reconstructs.

    Returns:
        The tokens, without pads.
    """
    valid = tape.batch.valid
    x, target = (tape.activations[site.name][valid] for site in (reads, writes))
    first = torch.zeros_like(valid)
    first[:, 0] = True
    if x.dtype != torch.float64:
        x, target = x.float(), target.float()
    return SiteTokens(x=x, target=target, first=first[valid])


def _elsewhere(
    subject: Subject, batch: Batch, dictionary: Dictionary, reads: Site
) -> dict[str, float]:
    """Try the dictionary as an autoencoder at other sites of its layer, and of its neighbours."""
    own, kind = layer_of(reads.name) or 0, kind_of(reads.name)
    names = [f"layers.{own}.{each}" for each in _KINDS]
    names += [f"layers.{layer}.{kind}" for layer in (own - 1, own + 1)]
    near = [subject.sites[name] for name in names if name in subject.sites]
    near = [site for site in near if site.tap != reads.tap]
    tape = record_activations(subject, batch, near)
    found: dict[str, float] = {}
    for site in near:
        tokens = tokens_at(tape, site, site).some()
        width = tokens.x.shape[1]
        if width == dictionary.rows.shape[1] == (dictionary.encoder.width or width):
            quality, _ = tokens.reconstructed(dictionary)
            found[f"it was trained at {site.name}"] = quality.explained_variance
    return found


def _rescaled(dictionary: Dictionary, tokens: SiteTokens) -> dict[str, float]:
    """Try the dictionary on inputs that are scaled to the usual mean norm, sqrt(width)."""
    width = tokens.x.shape[1]
    scale = width**0.5 / tokens.x[~tokens.first].norm(dim=1).mean()
    scaled = replace(tokens, x=tokens.x * scale, target=tokens.target * scale)
    quality, _ = scaled.reconstructed(dictionary)
    cause = (
        f"it was trained on activations scaled to the mean norm sqrt({width}), here times "
        f"{float(scale):.3g}, which its files do not say"
    )
    return {cause: quality.explained_variance}
