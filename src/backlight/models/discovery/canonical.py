"""A subject with the canonical sites that were found of it."""

from dataclasses import replace

from backlight.models.discovery.naming import sites_of
from backlight.models.discovery.wiring import Discovery, Layer
from backlight.models.subject import Subject
from backlight.models.wiring.families import Wiring


def with_canonical_sites(subject: Subject, found: Discovery) -> Subject:
    """Give a subject canonical sites besides the paths of its modules.

    Args:
        subject: The model, with module paths as sites.
        found: How it is wired, proven.

    Returns:
        The subject with more sites. Where a path of a module is spelt as a canonical name, the name
        means the canonical site. If modules count more layers than there are blocks, the number of
        layers stays theirs.
    """
    canonical = {site.name: site for site in sites_of(found)}
    has_more = subject.num_layers > len(found.blocks)
    return replace(
        subject,
        sites={**canonical, **{k: s for k, s in subject.sites.items() if k not in canonical}},
        num_layers=subject.num_layers if has_more else len(found.blocks),
        wiring=None if has_more else _wiring(found),
        norms=found.norms,
    )


def _wiring(found: Discovery) -> Wiring | None:
    """Name the wiring, if all layers share one and gradients can be told apart in each."""
    wirings: set[Wiring | None] = {
        layer.wiring if isinstance(layer, Layer) and layer.is_closed else None
        for layer in found.layers
    }
    is_plain = all(
        isinstance(layer, Layer)
        and [term.mixes for addition in layer.additions for term in addition.terms]
        == ["attention", "none"]
        for layer in found.layers
    )
    return wirings.pop() if len(wirings) == 1 and is_plain else None
