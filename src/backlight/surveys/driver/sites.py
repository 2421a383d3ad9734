"""One site in each of the layers that were asked for."""

from backlight.errors import UnsupportedSiteError, quoted
from backlight.models.sites import (
    Site,
    belongs_to_no_layer,
    format_layers,
    layer_of,
    parse_layers,
    refuse_problems,
    resolve_sites,
    sites_of_layers,
)
from backlight.models.subject import Subject


def survey_sites(subject: Subject, site: str, layers: str) -> tuple[Site, ...]:
    """Find one site in each of the given layers.

    Args:
        subject: The model.
        site: A kind of site, or a pattern for one, in any dialect.
        layers: The layers as written by the user.

    Returns:
        The sites, from the first layer to the last.

    Raises:
        UnsupportedSiteError: If the site is not one for each layer.
    """
    numbers = parse_layers(layers, subject.num_layers)
    found = resolve_sites(site, subject.sites, wiring=subject.facts.get("wiring"))
    sites = sites_of_layers(found, numbers)
    by_layer = {layer_of(each.name): each for each in sites}
    if all(layer_of(each.name) is None for each in found):
        refuse_problems(found)
        raise belongs_to_no_layer(found[0], subject.sites)
    if len(by_layer) < len(sites):
        names = [each.name for each in sites if layer_of(each.name) == layer_of(sites[0].name)]
        raise UnsupportedSiteError(
            f"{quoted(site)} is more than one site in a layer ({', '.join(names[:4])}); name one."
        )
    missing = [number for number in numbers if number not in by_layer]
    if missing:
        raise UnsupportedSiteError(
            f"Layers {format_layers(missing)} have no {quoted(site)}; name the others with "
            "--layers."
        )
    return tuple(by_layer[number] for number in numbers)
