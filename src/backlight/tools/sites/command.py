"""``backlight sites``: every site of a model, in our names and in two foreign dialects."""

from collections.abc import Iterable

from rich.table import Table as RichTable

from backlight.models.sites import Site, any_layer, format_layers, layer_of, parse_layers
from backlight.surveys.driver.opening import load
from backlight.surveys.driver.progress import console
from backlight.tools.sites.options import SitesConfig


def run(config: SitesConfig) -> None:
    """Load a model and print its sites; layers that are alike share a line.

    Args:
        config: The options.
    """
    subject = load(config)
    numbers = parse_layers(config.layers, subject.num_layers)
    title = f"{config.model_name}: {subject.facts['architecture']}"
    shown = RichTable(title=title)
    for heading in ("site", "layers", "shape", "Transformers", "TransformerLens"):
        shown.add_column(heading, overflow="fold")
    chosen = [site for site in subject.sites.values() if layer_of(site.name) in (None, *numbers)]
    for (name, *others), layers in _grouped(chosen).items():
        span = format_layers(layers).replace("to", "-").replace("_", ",") if layers else ""
        cells = [name, span, *others]
        if len(layers) == 1:
            cells = [cell.replace("*", span, 1) for cell in cells]
        shown.add_row(*cells)
    shown.caption = (
        "Any of these names works as --site; * stands for any layer. Gradients are total "
        "derivatives, but at norm*.in, attn.in and mlp.in only what returns through that module."
    )
    shown.caption_justify = "left"
    console().print(shown)


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
