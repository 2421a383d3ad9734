"""What files about a site and a position are called."""

from backlight.models.sites import kind_of, layer_of


def key_of(site: str, position: str, first_kind: str) -> str:
    """Name what is written about a site and position, such as ``layer_3_comma``.

    Args:
        site: The site.
        position: The position.
        first_kind: The kind of site that is meant where a name has none.

    Returns:
        The name, with the kind of site (``layer_3_mlp.out_comma``) if it is another.
    """
    layer, kind = layer_of(site), kind_of(site)
    if layer is None:
        return f"{site}_{position}"
    return f"layer_{layer}_{position}" if kind == first_kind else f"layer_{layer}_{kind}_{position}"
