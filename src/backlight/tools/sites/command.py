"""``backlight sites``: every site of a model, in our names and in two foreign dialects."""

import re
from collections.abc import Iterable, Iterator

import numpy as np

from backlight.models.sites import Site, any_layer, format_layers, layer_of, parse_layers
from backlight.surveys.driver.material.opening import load
from backlight.surveys.driver.words.printing import Column, Shown, print_shown
from backlight.tables import Table
from backlight.tools.sites.options import SitesConfig

_ANY_NUMBER = re.compile(r"(?<=[a-z])\.\d+")
_HEADINGS = ("site", "layers", "shape", "Transformers", "TransformerLens")


def run(config: SitesConfig) -> None:
    """Load a model and print its sites; layers that are alike share a line.

    Args:
        config: The options.
    """
    subject = load(config)
    numbers = parse_layers(config.layers, subject.num_layers)
    listed = [site for site in subject.sites.values() if layer_of(site.name) in (None, *numbers)]
    chosen = [site for site in listed if site.problem is None]
    columns = zip(_HEADINGS, zip(*_lines(chosen), strict=True), strict=True)
    shown = Shown(
        table=Table(name="sites", columns={name: np.array(cells) for name, cells in columns}),
        columns=[Column(name, name, wraps=True) for name in _HEADINGS],
        title=f"{config.model_name}: {subject.facts['architecture']}",
        caption="Any of these names works as --site; * stands for any layer. Gradients are total "
        "derivatives, but at norm*.in, attn.in and mlp.in only what returns through that module.",
    )
    print_shown([shown, *_refused(listed, subject.facts.get("wiring"))])


def _refused(sites: Iterable[Site], wiring: str | None) -> Iterator[Shown]:
    """Show what cannot be looked at, each with the reason; layers with one reason share a line."""
    reasons: dict[tuple[str, str], list[int]] = {}
    for site in sites:
        if site.problem is not None:
            layer = layer_of(site.name)
            key = (any_layer(site.name), _ANY_NUMBER.sub(".*", site.problem))
            reasons.setdefault(key, []).extend([] if layer is None else [layer])
    lines = [("resid, attn, mlp", "", wiring)] if wiring is not None else []
    lines += [(name, _span(layers), reason) for (name, reason), layers in reasons.items()]
    if lines:
        headings = ("not to be looked at", "layers", "why")
        columns = zip(headings, zip(*lines, strict=True), strict=True)
        yield Shown(
            table=Table(name="refused", columns={name: np.array(cells) for name, cells in columns}),
            columns=[Column(name, name, wraps=True) for name in headings],
            title="What could not be proven of this model",
        )


def _span(layers: list[int]) -> str:
    return format_layers(layers).replace("to", "-").replace("_", ",") if layers else ""


def _lines(sites: Iterable[Site]) -> Iterator[list[str]]:
    """Write the cells of each line; the number of a layer that is alone stands in the names."""
    for (name, *others), layers in _grouped(sites).items():
        span = _span(layers)
        cells = [name, span, *others]
        yield [cell.replace("*", span, 1) for cell in cells] if len(layers) == 1 else cells


def _grouped(sites: Iterable[Site]) -> dict[tuple[str, ...], list[int]]:
    """Find the layers of each line: name, shape and the two foreign names, ``*`` for the layer."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for site in sites:
        shape = f"[batch, positions, {site.width}]"
        names = (site.name, shape, site.transformers or "-", site.transformer_lens or "-")
        layer = layer_of(site.name)
        layers = groups.setdefault(tuple(map(any_layer, names)), [])
        layers += [] if layer is None else [layer]
    return groups
