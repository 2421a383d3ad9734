"""What can be changed by itself: a dimension, a head, a feature, a whole output, a position."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from backlight.models.sites import Site, layer_of
from backlight.surveys.validation.measure.sample import Sample
from backlight.surveys.validation.names import NO_LAYER

Chosen = Literal["largest", "random", "all"]
"""How a unit came to be tested: it is one of the largest, drawn at random, or all are tested."""


def number_of(site: Site) -> int:
    """Return the layer of a site; -1 if it belongs to none."""
    layer = layer_of(site.name)
    return NO_LAYER if layer is None else layer


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit(ABC):
    """Something that can be changed by itself.

    Attributes:
        kind: What it is.
        site: Where it is.
        index: Which one it is there; -1 for the whole.
        chosen: How it came to be tested.
    """

    kind: str
    site: Site
    index: int
    chosen: Chosen

    @property
    def layer(self) -> int:
        """Its layer; -1 if it belongs to none."""
        return number_of(self.site)

    @property
    def called(self) -> str:
        """The position of prompts that it is at; empty if it is at all of them."""
        return ""

    def mask(self, sample: Sample) -> Bool[Tensor, "batch positions"]:
        """Return at which tokens it is changed."""
        return sample.batch.valid

    @abstractmethod
    def change(self, sample: Sample, ablation: str) -> Float[Tensor, "batch positions width"]:
        """Compute the change of the site's tensor; exactly zero where it is not changed.

        Args:
            sample: The passages.
            ablation: What takes the unit's place: ``zero``, ``mean`` or ``resample``.

        Returns:
            What is added to the tensor.
        """


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Part(Unit):
    """Some neighbouring numbers of a site's tensor: a dimension, a head, or all of them.

    Attributes:
        start: The first of them.
        stop: One past the last.
    """

    start: int
    stop: int

    def change(self, sample: Sample, ablation: str) -> Float[Tensor, "batch positions width"]:
        """See ``Unit.change``."""
        x = sample.tape.activations[self.site.name]
        own, mask = x[..., self.start : self.stop], self.mask(sample)
        delta = torch.zeros_like(x)
        delta[..., self.start : self.stop] = _towards(own, mask, sample, ablation)
        return delta


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Place(Unit):
    """The whole tensor of a site at one position of prompts.

    Attributes:
        position: The position's name.
        starts: Its first token in each prompt of the sample.
        stops: One past its last.
    """

    position: str
    starts: Int[Tensor, " batch"]
    stops: Int[Tensor, " batch"]

    @property
    def called(self) -> str:
        """See ``Unit.called``."""
        return self.position

    def mask(self, sample: Sample) -> Bool[Tensor, "batch positions"]:
        """See ``Unit.mask``."""
        valid = sample.batch.valid
        places = torch.arange(valid.shape[1], device=valid.device)
        starts, stops = (each.to(valid.device)[:, None] for each in (self.starts, self.stops))
        return valid & (places >= starts) & (places < stops)

    def change(self, sample: Sample, ablation: str) -> Float[Tensor, "batch positions width"]:
        """See ``Unit.change``."""
        x, mask = sample.tape.activations[self.site.name], self.mask(sample)
        return _towards(x, mask, sample, ablation)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Feature(Unit):
    """A feature of a sparse dictionary; the rest of the activation stays as it is.

    Attributes:
        values: How strongly it fires at each token.
        row: What it adds to the site's tensor, its decoder's row.
        scale: What each token's reconstruction is multiplied by.
    """

    values: Float[Tensor, "batch positions"]
    row: Float[Tensor, " width"]
    scale: Float[Tensor, "batch positions"]

    def change(self, sample: Sample, ablation: str) -> Float[Tensor, "batch positions width"]:
        """See ``Unit.change``."""
        own = self.values[..., None]
        change = _towards(own, self.mask(sample), sample, ablation) * self.scale[..., None]
        return (change * self.row).to(sample.tape.activations[self.site.name].dtype)


def _towards(
    own: Float[Tensor, "batch positions part"],
    mask: Bool[Tensor, "batch positions"],
    sample: Sample,
    ablation: str,
) -> Float[Tensor, "batch positions part"]:
    """Compute what leads from the unit's own values to those that take their place."""
    if ablation == "zero":
        other = torch.zeros_like(own)
    elif ablation == "mean":
        known = own[mask]
        mean = known.double().mean(dim=0) if len(known) else torch.zeros_like(own[0, 0])
        other = mean.to(own.dtype).expand_as(own)
    else:
        other = _of_donors(own, mask, sample)
    return (other - own).masked_fill(~mask[..., None], 0.0)


def _of_donors(
    own: Float[Tensor, "batch positions part"],
    mask: Bool[Tensor, "batch positions"],
    sample: Sample,
) -> Float[Tensor, "batch positions part"]:
    """Take the values of another passage: its first token's for the first, and so on, around."""
    other = own.clone()
    for row, donor in enumerate(sample.donors.tolist()):
        taken, given = mask[row].nonzero()[:, 0], mask[donor].nonzero()[:, 0]
        if len(taken) and len(given):
            around = given[torch.arange(len(taken), device=given.device) % len(given)]
            other[row, taken] = own[donor, around]
    return other
