"""The norms of a model: where they are, and what they do to a token."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from backlight.decompose.norm import NormEnergies, layer_norm_energies, rms_norm_energies
from backlight.decompose.precision import at_least_single
from backlight.errors import UnsupportedSiteError
from backlight.models.families import Family, find_family
from backlight.models.sites import Site
from backlight.models.subject import Subject

_STREAM = ("norm1", "norm1_post", "norm2", "norm2_post")
_HEADS = ("attn.q_norm", "attn.k_norm")
_EPS = ("variance_epsilon", "eps", "epsilon")
_EPS_IN_THE_CODE = {"OlmoLayerNorm": 1e-5}


@dataclass(frozen=True, slots=True, kw_only=True)
class NormPlace:
    """One norm.

    Attributes:
        layer: The layer it is in; None for the final norm.
        name: Its name there, such as ``norm1`` or ``attn.q_norm``.
        entry: The site at its input.
        out: The site at its output.
        is_centred: It is a layer norm; if not, an RMS norm.
        gain: What it multiplies by last (1 + weight in Gemma), None if by nothing.
        bias: What it adds last, None if nothing.
        eps: What it adds under the root.
        num_heads: How many heads it normalises apart; None if it takes the whole width at once.
    """

    layer: int | None
    name: str
    entry: Site
    out: Site
    is_centred: bool
    gain: Float[Tensor, "*heads width"] | None
    bias: Float[Tensor, "*heads width"] | None
    eps: float
    num_heads: int | None

    @property
    def width(self) -> int:
        """Over how many numbers it normalises."""
        assert self.out.width is not None
        return self.out.width // (self.num_heads or 1)

    def split(
        self, values: Float[Tensor, "batch positions all"]
    ) -> Float[Tensor, "batch positions *heads width"]:
        """Divide tokens into what is normalised together."""
        return values if self.num_heads is None else values.unflatten(-1, (self.num_heads, -1))

    def apply(
        self, x: Float[Tensor, "batch positions all"]
    ) -> Float[Tensor, "batch positions all"]:
        """Do what the norm does, from its formula."""
        split = at_least_single(self.split(x))
        centred = split - split.mean(dim=-1, keepdim=True) if self.is_centred else split
        z = centred / (centred.square().mean(dim=-1, keepdim=True) + self.eps).sqrt()
        z = z if self.gain is None else z * self.gain.to(z.dtype)
        return (z if self.bias is None else z + self.bias.to(z.dtype)).reshape(x.shape)

    def energies(
        self, x: Float[Tensor, "batch positions all"], grad: Float[Tensor, "batch positions all"]
    ) -> NormEnergies:
        """Measure what the norm takes out of each token's gradient.

        Args:
            x: Its input.
            grad: The gradient at its output.

        Returns:
            Five numbers for each token, and head if there are heads.
        """
        measure = layer_norm_energies if self.is_centred else rms_norm_energies
        return measure(self.split(x), self.split(grad), self.gain, eps=self.eps)


def norm_places(subject: Subject, layers: Sequence[int]) -> tuple[NormPlace, ...]:
    """List the norms of some layers, and the final norm.

    Args:
        subject: The model.
        layers: Its layers.

    Returns:
        All norms of the stream, of queries and of keys, in the order of the layers.

    Raises:
        UnsupportedSiteError: If the architecture is not in the table of families, or a norm is of a
            class that cannot be read.
    """
    config = getattr(subject.model, "config", None)
    family = None if config is None else find_family(config)
    if family is None:
        raise UnsupportedSiteError(
            f"The norms of {subject.name} cannot be looked at: {type(subject.model).__name__} is "
            "not in the table of architectures, so it is not known which of its modules are norms."
        )
    return tuple(_places(subject, family, layers))


def norm_forms(
    model: nn.Module, family: Family, sites: Iterable[Site]
) -> dict[str, tuple[bool, str | None, float]]:
    """Say of every norm of a model, as plain data, what it does.

    Args:
        model: A Transformers model.
        family: Its entry in the table.
        sites: All its sites.

    Returns:
        By module path: whether it centres, what it multiplies by last (``weight``,
        ``one_plus_weight`` or None), and what it adds under the root.

    Raises:
        UnsupportedSiteError: If a norm is of a class that cannot be read.
    """
    ends = (*(f".{name}.out" for name in _STREAM), *(f".{name}" for name in _HEADS))
    forms: dict[str, tuple[bool, str | None, float]] = {}
    for site in sites:
        if site.name == "final_norm.out" or site.name.endswith(ends):
            path = site.tap.module
            norms = getattr(model.get_submodule(path), "norms", None)
            inside = range(len(norms)) if isinstance(norms, nn.ModuleList) else ()
            for part in [f"{path}.norms.{index}" for index in inside] or [path]:
                forms[part] = _form(model.get_submodule(part), family, site)
    return forms


def _form(module: nn.Module, family: Family, site: Site) -> tuple[bool, str | None, float]:
    gain = "one_plus_weight" if family.norm_kind == "rms_unit_offset" else "weight"
    has_gain = getattr(module, "weight", None) is not None
    eps, _ = _eps_and_width(module, site)
    return family.norm_kind == "layer", gain if has_gain else None, eps


def _places(subject: Subject, family: Family, layers: Sequence[int]) -> Iterator[NormPlace]:
    for layer in layers:
        for name in _STREAM:
            if f"layers.{layer}.{name}.out" in subject.sites:
                yield _stream_norm(subject, family, layer, name, f"layers.{layer}.{name}")
        for name in _HEADS:
            out = subject.sites.get(f"layers.{layer}.{name}")
            if out is not None:
                tap = replace(out.tap, side="branch")
                entry = replace(out, name=f"{out.name}.in", tap=tap, transformer_lens=None)
                yield _read(subject, family, layer, name, entry, out)
    if "final_norm.out" in subject.sites:
        yield _stream_norm(subject, family, None, "final_norm", "final_norm")


def _stream_norm(
    subject: Subject, family: Family, layer: int | None, name: str, site: str
) -> NormPlace:
    entry, out = subject.sites[f"{site}.in"], subject.sites[f"{site}.out"]
    return _read(subject, family, layer, name, entry, out)


def _read(
    subject: Subject, family: Family, layer: int | None, name: str, entry: Site, out: Site
) -> NormPlace:
    module = subject.model.get_submodule(out.tap.module)
    norms = getattr(module, "norms", None)  # StableLM has one norm for each head in a list
    parts = list(norms) if isinstance(norms, nn.ModuleList) else [module]
    weight, bias = _parameter(parts, "weight"), _parameter(parts, "bias")
    if family.norm_kind == "rms_unit_offset" and weight is not None:
        weight = 1 + at_least_single(weight)  # 1 + a small number is lost in half precision
    eps, width = _eps_and_width(parts[0], out)
    return NormPlace(
        layer=layer,
        name=name,
        entry=entry,
        out=out,
        is_centred=family.norm_kind == "layer",
        gain=weight,
        bias=bias,
        eps=eps,
        num_heads=None if width == out.width else out.num_heads,
    )


def _parameter(parts: Sequence[Any], name: str) -> Tensor | None:
    if getattr(parts[0], name, None) is None:
        return None
    found: list[Tensor] = [getattr(part, name).detach() for part in parts]
    return found[0] if len(found) == 1 else torch.stack(found)


def _eps_and_width(module: Any, site: Site) -> tuple[float, int]:
    kind = type(module).__name__
    eps = [getattr(module, name) for name in _EPS if hasattr(module, name)]
    eps += [_EPS_IN_THE_CODE[kind]] if kind in _EPS_IN_THE_CODE else []
    shape = getattr(module, "normalized_shape", None)
    if getattr(module, "weight", None) is not None:
        shape = module.weight.shape
    if not eps or not shape:
        raise UnsupportedSiteError(
            f"The norm at {site.name} is a {kind}, which backlight cannot read: it must have a "
            f"weight or a normalized_shape, and one of {', '.join(_EPS)}. The other views of flow "
            "can be run."
        )
    return float(eps[0]), int(shape[-1])
