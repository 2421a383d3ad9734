"""Names of the places in a model where a tensor passes, and how layers are written."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from backlight.errors import UnknownLayerError, UnknownSiteError, UnsupportedSiteError, quoted

Side = Literal["output", "input", "branch", "query", "key", "value", "logits"]

_LAYER = re.compile(r"(?<![^.])(\d+)(?![^.])")
_LAYER_SITE = re.compile(r"^layers\.\d+\.(?P<kind>.+)$")
_OF_BLOCKS = re.compile(
    r"^(layers\.(\d+|\*)\.)?(resid|norm[12]|norm[12]_post|attn|mixer|mlp)\.[^.]+$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tap:
    """Where a site's tensor passes through the modules of one model.

    Attributes:
        module: The module's path, as in ``named_modules``.
        side: ``output`` and ``input`` are the tensor itself, whose gradient is the total
            derivative. ``branch`` is the module's input as this module alone sees it: its gradient
            is only what returns through the module. ``query``, ``key`` and ``value`` are what the
            attention module hands to the attention function. ``logits`` are never held.
        axes: Which axes of the tensor are batch and positions, where it is no row for each token.
        member: Which part of the module's output it is (a place, a key or a field); None for the
            output itself, or the first of a tuple.
        written: The tensor is written into in place after it has passed, so a copy takes its place.
        multiplier: The site is this times the tensor (a residual multiplier), so its gradient is
            the tensor's divided by it.
        inside: The module itself uses the tensor before it returns it, so the graph must begin
            where the module is entered, and nothing can take the tensor's place.
    """

    module: str
    side: Side
    axes: tuple[int, int] = (0, 1)
    member: str | int | None = None
    written: bool = False
    multiplier: float = 1.0
    inside: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A named place in a model where a tensor passes.

    Attributes:
        name: The canonical name, such as ``layers.3.mlp.out``.
        tap: Where the tensor passes.
        width: Its numbers per token, heads laid side by side; None where only a probe can tell.
        num_heads: Into how many heads its width is divided; 1 where it is not.
        transformers: The path of the Transformers module, or None if it has none.
        transformer_lens: The name of the hook in TransformerLens, or None if it has none.
        problem: Why its tensor cannot be looked at, None if it can.
        refused: Foreign names that look like this site and are another tensor, with the reason.
    """

    name: str
    tap: Tap
    width: int | None
    num_heads: int = 1
    transformers: str | None = None
    transformer_lens: str | None = None
    problem: str | None = None
    refused: Mapping[str, str] = field(default_factory=dict[str, str])


def layer_of(name: str) -> int | None:
    """Find the number of the layer in a site's name; None if the site belongs to no layer."""
    match = _LAYER.search(name)
    return int(match[1]) if match else None


def kind_of(name: str) -> str:
    """Name what a site is within its layer: ``mlp.out`` for ``layers.3.mlp.out``.

    Args:
        name: The site's name.

    Returns:
        The kind; of a plain module path the path, with ``*`` for the number of the layer.
    """
    match = _LAYER_SITE.match(name)
    return match["kind"] if match else any_layer(name)


def any_layer(name: str) -> str:
    """Write ``*`` for the number of the layer in a name."""
    return _LAYER.sub("*", name, count=1)


def parse_layers(text: str, num_layers: int) -> tuple[int, ...]:
    """Read a list of layers such as ``0-23``, ``0,5,10``, ``0-5,7`` or ``all``.

    Args:
        text: The list as written. Ranges include both ends.
        num_layers: How many layers the model has.

    Returns:
        The layers in ascending order, each once.

    Raises:
        UnknownLayerError: If the text is no such list, or names layers that do not exist.
    """
    if text.strip() == "all":
        return tuple(range(num_layers))
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,18})\s*(?:-\s*(\d{1,18})\s*)?", part)
        if match is None:
            raise UnknownLayerError(
                f"Layers {quoted(text)} cannot be read at {quoted(part)}: write 0-23, 0,5,10, "
                "0-5,7 or all."
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UnknownLayerError(
                f"Layers {quoted(text)}: the range {part.strip()} runs backwards."
            )
        if last >= num_layers:
            raise UnknownLayerError(
                f"Layers {quoted(text)} go beyond this model: it has {num_layers} layers, "
                f"0 to {num_layers - 1}."
            )
        found.update(range(first, last + 1))
    return tuple(sorted(found))


def format_layers(layers: Sequence[int]) -> str:
    """Write layers for a file's name: ``0to23`` for a full range, else ``0_5_10``."""
    if len(layers) > 1 and list(layers) == list(range(layers[0], layers[-1] + 1)):
        return f"{layers[0]}to{layers[-1]}"
    return "_".join(map(str, layers))


def resolve_sites(
    pattern: str, sites: Mapping[str, Site], *, wiring: str | None = None
) -> tuple[Site, ...]:
    """Find the sites that a name or a pattern means, in the model's order.

    A name may be canonical (``layers.3.mlp.out``, or its kind alone, ``mlp.out``), the path of a
    Transformers module, also relative to the trunk (``model.layers.3.mlp``, ``layers.3.mlp``), or a
    TransformerLens hook (``blocks.3.hook_mlp_out``). In each, ``*`` stands for anything between
    two dots.

    Args:
        pattern: The name.
        sites: All sites of the model, in the order in which their tensors pass.
        wiring: Why its blocks have no canonical sites (``facts["wiring"]`` of its subject), None if
            they have.

    Returns:
        At least one site.

    Raises:
        UnsupportedSiteError: If the name exists in another dialect but is another tensor there.
        UnknownSiteError: If nothing has that name.
    """
    found = [site for site in sites.values() if any(_fits(name, pattern) for name in _names(site))]
    if found:
        return _one_for_each_tensor(pattern, found)
    for site in sites.values():
        for name, reason in site.refused.items():
            if any(_fits(form, pattern) for form in _path_forms(name)):
                raise UnsupportedSiteError(reason)
    is_of_blocks = wiring is not None and _OF_BLOCKS.match(pattern)
    why = f"Sites of its blocks were {wiring}".rstrip(".")
    reason = f"{why}. {_example(sites)}" if is_of_blocks else ""
    raise UnknownSiteError(pattern, _suggestions(pattern, sites), reason=reason)


def belongs_to_no_layer(site: Site, sites: Mapping[str, Site]) -> UnsupportedSiteError:
    """Say that a site that should be one in each layer is in none, and which ones are.

    Args:
        site: The site.
        sites: All sites of the model.

    Returns:
        The error, to be raised.
    """
    return UnsupportedSiteError(f"{site.name} belongs to no layer. {_example(sites)}")


def sites_of_layers(sites: Iterable[Site], layers: Sequence[int]) -> tuple[Site, ...]:
    """Keep the sites that lie in the given layers.

    Args:
        sites: Some sites.
        layers: The layers.

    Returns:
        Those that lie there.

    Raises:
        UnsupportedSiteError: If one of those cannot be looked at.
    """
    kept = tuple(site for site in sites if layer_of(site.name) in layers)
    refuse_problems(kept)
    return kept


def refuse_problems(sites: Iterable[Site]) -> None:
    """Refuse sites whose tensor cannot be looked at.

    Args:
        sites: Those that were asked for.

    Raises:
        UnsupportedSiteError: If there is one; the message says why.
    """
    for site in sites:
        if site.problem is not None:
            raise UnsupportedSiteError(site.problem)


def _names(site: Site) -> Iterator[str]:
    yield from _forms(site.name)
    if site.transformer_lens is not None:
        yield from _forms(site.transformer_lens)
    if site.transformers is not None:
        yield from _path_forms(site.transformers)


def _fits(name: str, pattern: str) -> bool:
    """Compare part by part: ``*`` stands within one, so ``model.layers.*`` is the layers alone."""
    parts, wishes = name.split("."), pattern.split(".")
    return len(parts) == len(wishes) and all(map(fnmatchcase, parts, wishes))


def _forms(name: str) -> Iterator[str]:
    """List a name whole, and what follows the number of its layer."""
    yield name
    match = _LAYER.search(name)
    if match and match.end() < len(name):
        yield name[match.end() + 1 :]


def _path_forms(path: str) -> Iterator[str]:
    """List a path in the forms of a name, also relative to each module above the blocks."""
    yield from _forms(path)
    parts = path.split(".")
    number = next((place for place, part in enumerate(parts) if part.isdigit()), len(parts))
    for start in range(1, number):
        yield ".".join(parts[start:])


def _one_for_each_tensor(pattern: str, found: Iterable[Site]) -> tuple[Site, ...]:
    """Drop second names of one tensor, unless the second name is what was asked for."""
    kept: list[Site] = []
    seen: set[Tap] = set()
    for site in found:
        asked = any(_fits(form, pattern) for form in _forms(site.name))
        if asked or site.tap not in seen:
            kept.append(site)
        seen.add(site.tap)
    return tuple(kept)


def _example(sites: Mapping[str, Site]) -> str:
    """Name a site that layers have; of a model without any say what would make one."""
    usable = [site.name for site in sites.values() if site.problem is None]
    names = {any_layer(name): kind_of(name) for name in usable if layer_of(name) is not None}
    if not names:
        return (
            "No module that can be measured has a number in its path: put the layers, or an "
            "nn.Identity behind each use of one, into an nn.ModuleList."
        )
    best = [kind for kind in ("mlp.out", "resid.post") if kind in names.values()]
    return f"Name a site that layers have, such as {' or '.join(best or list(names)[:2])}."


def _suggestions(pattern: str, sites: Mapping[str, Site]) -> list[str]:
    """List the names that a misspelt pattern is compared with: kinds, if it names no layer."""
    paths = [site.transformers for site in sites.values() if site.transformers is not None]
    if layer_of(pattern) is None:
        return list(dict.fromkeys(kind_of(name) for name in [*sites, *paths]))
    return list(dict.fromkeys([*sites, *paths]))
