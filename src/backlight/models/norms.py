"""The norms of a model of the table of families: where they are, and what each computes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from backlight.errors import UnsupportedSiteError
from backlight.models.sites import Site, kind_of, layer_of
from backlight.models.subject import Subject
from backlight.models.wiring.families import Family, family_of
from backlight.models.wiring.norm_form import NormForm

_STREAM = ("norm1", "norm1_post", "norm2", "norm2_post")
_HEADS = ("attn.q_norm", "attn.k_norm")
_OUTPUTS = frozenset((*(f"{name}.out" for name in _STREAM), *_HEADS, "final_norm.out"))
_EPS = ("variance_epsilon", "eps", "epsilon")
_EPS_IN_THE_CODE = {"OlmoLayerNorm": 1e-5}


@dataclass(frozen=True, slots=True, kw_only=True)
class NormPlace:
    """One norm of a model, with its place and its numbers.

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
        """Compute the norm's output from its formula, to be compared with the module's own."""
        split = _at_least_single(self.split(x))
        centred = split - split.mean(dim=-1, keepdim=True) if self.is_centred else split
        z = centred / (centred.square().mean(dim=-1, keepdim=True) + self.eps).sqrt()
        z = z if self.gain is None else z * self.gain.to(z.dtype)
        return (z if self.bias is None else z + self.bias.to(z.dtype)).reshape(x.shape)


def norm_places(subject: Subject, layers: Sequence[int]) -> tuple[NormPlace, ...]:
    """List the norms of some layers, and the final norm.

    Args:
        subject: The model.
        layers: Its layers.

    Returns:
        All norms of the stream, of queries and of keys, in the order of the layers; of a model that
        is not in the table, those of the stream.

    Raises:
        UnsupportedSiteError: If the architecture is not in the table of families, and none were
            found by arithmetic, or a norm is of a class that cannot be read.
    """
    family, ends = family_of(subject.model), _ends(subject.sites, layers)
    if family is not None:
        return tuple(_read(subject, family, entry, out) for entry, out in ends)
    if not subject.norms:
        raise UnsupportedSiteError(
            f"The norms of {subject.name} cannot be looked at: {type(subject.model).__name__} is "
            "not in the table of architectures, so it is not known which of its modules are norms."
        )
    fitted = ((entry, out, subject.norms.get(out.tap.module)) for entry, out in ends)
    return tuple(
        _fitted(subject, entry, out, form) for entry, out, form in fitted if form is not None
    )


def _fitted(subject: Subject, entry: Site, out: Site, form: NormForm) -> NormPlace:
    """Describe a norm of the stream by the formula that was fitted to it."""
    module = subject.model.get_submodule(form.module)
    gain = None if form.gain is None else module.get_parameter(form.gain).detach()
    return NormPlace(
        layer=layer_of(out.name),
        name=kind_of(out.name).removesuffix(".out"),
        entry=entry,
        out=out,
        is_centred=form.is_centred,
        gain=1 + _at_least_single(gain) if gain is not None and form.is_unit_offset else gain,
        bias=None if form.bias is None else module.get_parameter(form.bias).detach(),
        eps=form.eps,
        num_heads=None,
    )


def readable_norms(subject: Subject, family: Family) -> tuple[NormPlace, ...]:
    """List the norms whose formula and numbers can be read; an adapter may have wrapped others.

    Args:
        subject: The model.
        family: Its entry in the table.

    Returns:
        Those norms, in the order of the layers.
    """
    found: list[NormPlace] = []
    for entry, out in _ends(subject.sites, range(subject.num_layers)):
        with suppress(UnsupportedSiteError):
            found.append(_read(subject, family, entry, out))
    return tuple(found)


def unnamed_norms(subject: Subject, family: Family) -> list[str]:
    """List the norms in the blocks, outside their MLPs, that the table does not name.

    An entry without the norms of queries and keys, say, adds up like the right one. Here the class
    of a module is believed if it calls itself a norm. What an MLP has inside is its own matter.

    Args:
        subject: The model.
        family: Its entry in the table.

    Returns:
        Their paths.
    """
    kinds = _OUTPUTS | {"mlp.out"}
    named = {site.tap.module for name, site in subject.sites.items() if kind_of(name) in kinds}
    return [
        path
        for path, module in subject.model.named_modules()
        if path.startswith(f"{family.blocks}.")
        and "norm" in type(module).__name__.lower()
        and next(module.children(), None) is None
        and not any(path == name or path.startswith(f"{name}.") for name in named)
    ]


def norm_forms(
    model: nn.Module, family: Family, sites: Iterable[Site]
) -> dict[str, tuple[bool, str | None, float]]:
    """Describe every norm of a model as plain data.

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
    gain = "one_plus_weight" if family.norm_kind == "rms_unit_offset" else "weight"
    forms: dict[str, tuple[bool, str | None, float]] = {}
    for site in sites:
        if kind_of(site.name) not in _OUTPUTS:
            continue
        for path, part in _parts(model, site.tap.module).items():
            eps, _ = _eps_and_width(part, site)
            has_gain = getattr(part, "weight", None) is not None
            forms[path] = (family.norm_kind == "layer", gain if has_gain else None, eps)
    return forms


def _ends(sites: Mapping[str, Site], layers: Sequence[int]) -> Iterator[tuple[Site, Site]]:
    """Go through the norms of some layers and the final norm, by the sites before and behind."""
    inside = (f"layers.{layer}.{kind}" for layer in layers for kind in (*_STREAM, *_HEADS))
    for name in (*inside, "final_norm"):
        if f"{name}.out" in sites:
            yield sites[f"{name}.in"], sites[f"{name}.out"]
        elif name in sites:  # a norm of queries or keys has one site only
            out = sites[name]
            tap = replace(out.tap, side="branch")
            yield replace(out, name=f"{name}.in", tap=tap, transformer_lens=None), out


def _read(subject: Subject, family: Family, entry: Site, out: Site) -> NormPlace:
    parts = list(_parts(subject.model, out.tap.module).values())
    weight, bias = _parameter(parts, "weight"), _parameter(parts, "bias")
    if family.norm_kind == "rms_unit_offset" and weight is not None:
        weight = 1 + _at_least_single(weight)  # 1 + a small number is lost in half precision
    eps, width = _eps_and_width(parts[0], out)
    return NormPlace(
        layer=layer_of(out.name),
        name=kind_of(out.name).removesuffix(".out"),
        entry=entry,
        out=out,
        is_centred=family.norm_kind == "layer",
        gain=weight,
        bias=bias,
        eps=eps,
        num_heads=None if width == out.width else out.num_heads,
    )


def _parts(model: nn.Module, path: str) -> dict[str, Any]:
    """Find the modules that do a norm's work: StableLM has one for each head, in a list."""
    module = model.get_submodule(path)
    norms = getattr(module, "norms", None)
    if not isinstance(norms, nn.ModuleList):
        return {path: module}
    return {f"{path}.norms.{head}": norm for head, norm in enumerate(norms)}


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


def _at_least_single(values: Tensor) -> Tensor:
    """Raise half precision to float32, in which the modules themselves compute."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
