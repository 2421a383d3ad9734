"""Which sites and positions a config means."""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from backlight.errors import UnsupportedSiteError, quoted
from backlight.models.sites import (
    Site,
    format_layers,
    kind_of,
    layer_of,
    parse_layers,
    resolve_sites,
    sites_of_layers,
)
from backlight.models.subject import Subject
from backlight.objectives.grid import ANSWER, Grid

_DIGIT = re.compile(r"_digit\d+$")


def choose_sites(subject: Subject, patterns: str, layers: str) -> tuple[Site, ...]:
    """Find the sites of some kinds in some layers.

    Args:
        subject: The model.
        patterns: Kinds with commas between them, or patterns, in any dialect.
        layers: The layers as written by the user.

    Returns:
        The sites, kind after kind, each from the first layer to the last.

    Raises:
        UnknownLayerError: If a layer does not exist.
        UnknownSiteError: If a site does not exist.
        UnsupportedSiteError: If a layer that was asked for does not have a site, or it is logits.
    """
    numbers = parse_layers(layers, subject.num_layers)
    chosen: dict[str, Site] = {}
    for pattern in patterns.split(","):
        found = resolve_sites(pattern.strip(), subject.sites, wiring=subject.facts.get("wiring"))
        if any(site.tap.side == "logits" for site in found):
            raise UnsupportedSiteError(
                "The logits of all tokens are never held, so their gradient cannot be looked at; "
                "final_norm.out is the last site before them."
            )
        own = sites_of_layers(found, numbers)
        alone = tuple(site for site in found if layer_of(site.name) is None)
        missing = set(numbers) - {layer_of(site.name) for site in own}
        if own and missing:
            raise UnsupportedSiteError(
                f"Layers {format_layers(sorted(missing))} have no {quoted(pattern.strip())}; "
                "leave them "
                "out of --target_layers."
            )
        chosen |= {site.name: site for site in (*own, *alone)}
    return tuple(sorted(chosen.values(), key=_by_kind(list(chosen))))


def choose_positions(grid: Grid, names: str) -> tuple[Grid, tuple[int, ...]]:
    """Find the positions at which whole vectors are kept.

    Args:
        grid: The positions of the prompts.
        names: Names with commas between them; ``auto`` is the last token of each field and of the
            prompt, ``all`` every position of the prompt.

    Returns:
        The positions, called as they were asked for, and the columns of those that were, in the
        order of the text.

    Raises:
        PromptError: If there is no such position.
    """
    columns = [index for index, each in enumerate(grid.positions) if each.piece != ANSWER]
    if names == "all":
        return grid, tuple(columns)
    if names == "auto":
        return grid, tuple(_last_of_fields(grid, columns))
    asked = {grid.find(name.strip()): name.strip() for name in names.split(",")}
    for name in asked.values():
        grid = grid.called(name)
    return grid, tuple(sorted(asked))


def _by_kind(names: Sequence[str]) -> Callable[[Site], tuple[int, int]]:
    kinds = list(dict.fromkeys(kind_of(name) for name in names))
    return lambda site: (kinds.index(kind_of(site.name)), names.index(site.name))


def _last_of_fields(grid: Grid, columns: Sequence[int]) -> Iterator[int]:
    """Find the last column of each field, of a city that of its last digit, and the last of all."""
    fields = [_DIGIT.sub("", each.piece) if each.is_field else None for each in grid.positions]
    for field, run in groupby(columns, key=lambda column: fields[column]):
        members = list(run)
        if field is not None or members[-1] == columns[-1]:
            yield members[-1]
