"""``backlight sites``: every site of a model, in our names and in two foreign dialects."""

from collections.abc import Iterable, Iterator

import numpy as np

from backlight.models.sites import Site, any_layer, format_layers, layer_of, parse_layers
from backlight.surveys.driver.opening import load
from backlight.surveys.driver.words.printing import Column, Shown, print_shown
from backlight.tables import Table
from backlight.tools.sites.options import SitesConfig

_HEADINGS = ("site", "layers", "shape", "Transformers", "TransformerLens")


def run(config: SitesConfig) -> None:
    """Load a model and print its sites; layers that are alike share a line.

    Args:
        config: The options.
    """
    subject = load(config)
    numbers = parse_layers(config.layers, subject.num_layers)
    chosen = [site for site in subject.sites.values() if layer_of(site.name) in (None, *numbers)]
    columns = zip(_HEADINGS, zip(*_lines(chosen), strict=True), strict=True)
    shown = Shown(
        table=Table(name="sites", columns={name: np.array(cells) for name, cells in columns}),
        columns=[Column(name, name, wraps=True) for name in _HEADINGS],
        title=f"{config.model_name}: {subject.facts['architecture']}",
        caption="Any of these names works as --site; * stands for any layer. Gradients are total "
        "derivatives, but at norm*.in, attn.in and mlp.in only what returns through that module.",
    )
    print_shown([shown])


def _lines(sites: Iterable[Site]) -> Iterator[list[str]]:
    """Write the cells of each line; the number of a layer that is alone stands in the names."""
    for (name, *others), layers in _grouped(sites).items():
        span = format_layers(layers).replace("to", "-").replace("_", ",") if layers else ""
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
