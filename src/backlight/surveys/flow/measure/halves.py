"""The residual additions of a block, and where the two paths through each can be read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.capture.tape import Tape
from backlight.decompose.norm import split_layer_norm_gradient, split_rms_norm_gradient
from backlight.decompose.precision import at_least_single, wide
from backlight.decompose.relative import whole_sizes
from backlight.decompose.residual import ResidualPaths
from backlight.errors import UnsupportedSiteError
from backlight.models.norms import NormPlace, norm_places
from backlight.models.sites import Site
from backlight.models.streams import Way
from backlight.models.subject import Subject
from backlight.surveys.driver.relative import weights_on


@dataclass(frozen=True, slots=True, kw_only=True)
class Half:
    """One residual addition ``y = x + f(x)``, or one of the two that a parallel block makes.

    What returns through f is read where f begins, at a site whose gradient is that of the branch
    alone; it is exactly ``dL/dx - dL/dy``, without the digits that a difference would lose.

    Attributes:
        layer: The layer.
        name: ``attention``, ``mlp``, or ``block`` for both of a parallel block.
        behind: The stream behind the addition, y.
        entries: Where f begins: all of it returns through these sites together.
        terms: What f adds, behind post-norms and multipliers; of a parallel block both, their sum.
        norm: The norm before the entries, if they stand behind one that f shares with others.
    """

    layer: int
    name: str
    behind: Site
    entries: tuple[Site, ...]
    terms: tuple[Site, ...]
    norm: NormPlace | None = None

    @property
    def sites(self) -> list[Site]:
        """Where gradients are needed."""
        return [self.behind, *self.entries, *([self.norm.entry] if self.norm else [])]

    def removed(self, tape: Tape, way: Way) -> tuple[Tensor, Tensor]:
        """Add up, over a batch, how large f is beside y, and gradient times f.

        Args:
            tape: With the gradient behind the addition, which is that at each of the terms; with
                the terms, and each token's norm behind the addition.
            way: That of the first of the terms to y.

        Returns:
            The sum over tokens of ``|f| / |y|``, and that of gradient times f.
        """
        term = torch.stack([at_least_single(tape.activations[s.name]) for s in self.terms])
        term = term.sum(dim=0)
        size = (whole_sizes(term, way.through) * weights_on(tape, way)).sum()
        gradient = at_least_single(tape.gradients[self.behind.name])
        return wide(size), wide(torch.linalg.vecdot(gradient, term)).sum()

    def paths(self, tape: Tape) -> ResidualPaths:
        """Read both paths off a tape.

        Args:
            tape: With gradients at the sites, and the activation at the norm's input.

        Returns:
            The paths at each token.
        """
        returned = torch.stack([at_least_single(tape.gradients[s.name]) for s in self.entries])
        transform = returned.sum(dim=0)
        if self.norm is not None:
            transform = _through(self.norm, tape.activations[self.norm.entry.name], transform)
        direct = at_least_single(tape.gradients[self.behind.name])
        return ResidualPaths(direct=direct, transform=transform)


def halves_of(subject: Subject, layers: Sequence[int]) -> tuple[Half, ...]:
    """List the residual additions of some layers.

    Args:
        subject: The model.
        layers: Its layers.

    Returns:
        Two for each layer; three for a parallel block: both together, and each apart.

    Raises:
        UnsupportedSiteError: If it is not known how the blocks are wired.
    """
    if subject.wiring is None:
        why = subject.facts.get(
            "wiring", "its blocks add attention and MLP in a form that this view does not know"
        )
        raise UnsupportedSiteError(
            f"The residual paths of {subject.name} cannot be told apart: {why.rstrip('.')}. "
            "`backlight layers --site resid.post` measures the stream itself."
        )
    return tuple(half for layer in layers for half in _of_layer(subject, layer))


def _of_layer(subject: Subject, layer: int) -> tuple[Half, ...]:
    sites = {
        name.removeprefix(f"layers.{layer}."): site
        for name, site in subject.sites.items()
        if name.startswith(f"layers.{layer}.")
    }
    if subject.wiring == "parallel":
        return _parallel(subject, layer, sites)
    if subject.wiring == "post_norm":
        behind, attention, mlp = ("norm1.in", "norm2.in"), "attn.in", "mlp.in"
    else:
        behind = ("resid.mid", "resid.post")
        attention = "norm1.in" if "norm1.in" in sites else "attn.in"
        mlp = "norm2.in" if "norm2.in" in sites else "mlp.in"
    entries, terms = (sites[attention], sites[mlp]), _terms(sites)
    return tuple(
        Half(layer=layer, name=name, behind=sites[y], entries=(entry,), terms=(term,))
        for name, y, entry, term in zip(("attention", "mlp"), behind, entries, terms, strict=True)
    )


def _terms(sites: Mapping[str, Site]) -> tuple[Site, Site]:
    return sites["attn.contribution"], sites["mlp.contribution"]


def _parallel(subject: Subject, layer: int, sites: Mapping[str, Site]) -> tuple[Half, ...]:
    half, terms = partial(Half, layer=layer, behind=sites["resid.post"]), _terms(sites)
    if "norm1.in" not in sites:  # both read the stream itself
        first, second = sites["attn.in"], sites["mlp.in"]
    else:
        first, second = sites["norm1.in"], sites.get("norm2.in")
    if second is not None:
        return (
            half(name="block", entries=(first, second), terms=terms),
            half(name="attention", entries=(first,), terms=terms[:1]),
            half(name="mlp", entries=(second,), terms=terms[1:]),
        )
    # Backward, a norm is linear: what each reader of its output sends back can go through alone.
    norm = next(place for place in norm_places(subject, [layer]) if place.name == "norm1")
    return (
        half(name="block", entries=(first,), terms=terms),
        half(name="attention", entries=(sites["attn.in"],), terms=terms[:1], norm=norm),
        half(name="mlp", entries=(sites["mlp.in"],), terms=terms[1:], norm=norm),
    )


def _through(
    norm: NormPlace, x: Float[Tensor, "*tokens width"], grad: Float[Tensor, "*tokens width"]
) -> Float[Tensor, "*tokens width"]:
    split = split_layer_norm_gradient if norm.is_centred else split_rms_norm_gradient
    return split(x, grad, norm.gain, eps=norm.eps).total
