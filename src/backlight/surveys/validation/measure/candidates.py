"""Which units a run has, which of them are its largest, and in which order they are tested."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from backlight.dictionaries.normalization import scale_of
from backlight.errors import ConfigError
from backlight.models.sites import Site, layer_of, parse_layers
from backlight.models.subject import Subject
from backlight.surveys.driver.measurement import Measurement
from backlight.surveys.features.measure.placed import PlacedDictionary, number_format
from backlight.surveys.tokens.measure.setup import TokensPlan
from backlight.surveys.validation.measure.sample import Sample
from backlight.surveys.validation.measure.target import Target
from backlight.surveys.validation.measure.units import (
    Chosen,
    Feature,
    Part,
    Place,
    Unit,
    number_of,
)

_MOST_OF_A_LAYER = 200  # units of one kind in one layer, half of them the largest
_Each = TypeVar("_Each")
_Make = Callable[[int, Chosen], Unit]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A run and its survey, opened again.

    Attributes:
        target: The run.
        measurement: Its survey: with the model, the text, and where it looked.
    """

    target: Target
    measurement: Measurement[Any, Any]

    @property
    def command(self) -> str:
        """What it is a run of."""
        return self.target.command

    @property
    def options(self) -> Any:
        """Its options."""
        return self.target.options


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Where the units of a run are.

    Attributes:
        sites: Where something can be changed, by the kind of unit.
        reads: What else must be known there.
    """

    sites: Mapping[str, Sequence[Site]]
    reads: Sequence[Site] = ()

    def of(self, kinds: Sequence[str]) -> list[Site]:
        """List all sites of some kinds, each once, and what is read."""
        own = chain.from_iterable(self.sites[kind] for kind in kinds)
        return list({site.name: site for site in chain(own, self.reads)}.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What is to be tested.

    Attributes:
        units: The units in their order.
        silent: The layers of which no feature fires in the passages.
    """

    units: Sequence[Unit]
    silent: Sequence[int]


def field_of(opened: Opened) -> Field:
    """Find where the units of a run are.

    Args:
        opened: The run.

    Returns:
        The sites by the kind of unit, the run's own kinds.
    """
    plan, subject = opened.measurement.plan, opened.measurement.corpus.subject
    if opened.command == "layers":
        return Field(sites={"dimension": plan.sites, **_heads(plan.sites), "site": plan.sites})
    if opened.command == "sae":
        if any(placed.beyond for placed in plan):
            raise ConfigError(
                "The run is of a cross-layer transcoder, whose features write at several sites; "
                "what is tested here is a change at one site."
            )
        writes = [placed.writes for placed in plan]
        reads = [placed.reads for placed in plan]
        return Field(sites={"feature": writes, "site": writes}, reads=reads)
    if opened.command == "tokens":
        return Field(sites={"position": plan.sites, **_heads(plan.sites), "site": plan.sites})
    return Field(sites=_of_flow(subject, opened.options.layers))


def chosen_kinds(field: Field, asked: Sequence[str]) -> list[str]:
    """Choose the kinds of units: those that were asked for, or all that the run has.

    Args:
        field: Where the run's units are.
        asked: Kinds; none for all.

    Returns:
        The kinds.

    Raises:
        ConfigError: If the run has none of a kind that was asked for.
    """
    for kind in asked:
        if kind not in field.sites:
            raise ConfigError(
                f"The run has no units of the kind {kind}, only {', '.join(field.sites)}."
            )
    return list(asked or field.sites)


def plan_of(
    opened: Opened, sample: Sample, field: Field, kinds: Sequence[str], *, seed: int, most: int
) -> Planned:
    """List the units in the order in which they are tested.

    Whole sites, all of them, take turns with the others until there are no more. The others come in
    rounds: in each, of each kind and layer one of the largest and one drawn at random, in random
    order; so whenever the time is over, half of those that were tested are among the largest, and
    all layers have their share.

    Args:
        opened: The run.
        sample: The passages.
        field: Where the run's units are.
        kinds: The kinds of units.
        seed: Determines what is drawn.
        most: How many units are listed at most.

    Returns:
        The units.

    Raises:
        ConfigError: If there are none.
    """
    random = np.random.default_rng([seed, 3])
    whole = [_whole(site) for site in field.sites["site"]] if "site" in kinds else []
    strata: list[Iterator[Unit]] = []
    silent: list[int] = []
    for kind in kinds:
        if kind != "site":
            for layer, largest, everything, make in _strata(opened, sample, field, kind):
                silent += [] if everything else [layer]
                strata.append(_halves(largest, everything, make, random))
    rounds = _rounds(strata, random)
    order = (whole[place] for place in random.permutation(len(whole)))
    turns = chain.from_iterable(zip_longest(order, rounds))
    units = list(islice((unit for unit in turns if unit is not None), most))
    if not units:
        raise ConfigError(
            f"No feature of the run fires in the {len(sample.batch.passages)} passages that were "
            "drawn, so there is nothing to test. Take more of them (--passages), or longer ones "
            "(--passage_length)."
        )
    return Planned(units=units, silent=silent)


def _heads(sites: Sequence[Site]) -> dict[str, Sequence[Site]]:
    split = [site for site in sites if site.num_heads > 1]
    return {"head": split} if split else {}


def _of_flow(subject: Subject, layers: str) -> dict[str, Sequence[Site]]:
    numbers = parse_layers(layers, subject.num_layers)

    def there(*kinds: str) -> list[Site]:
        names = (f"layers.{layer}.{kind}" for layer in numbers for kind in kinds)
        found = (subject.sites[name] for name in names if name in subject.sites)
        return [site for site in found if site.problem is None]

    return {**_heads(there("attn.z")), "site": there("attn.out", "mlp.out")}


def _whole(site: Site) -> Unit:
    width = site.width
    assert width is not None, "a site that is measured has a width"
    return Part(kind="site", site=site, index=-1, chosen="all", start=0, stop=width)


def _strata(
    opened: Opened, sample: Sample, field: Field, kind: str
) -> Iterator[tuple[int, Sequence[int], Sequence[int], _Make]]:
    """Go through the layers: its number, units from the largest on, all, and how one is made."""
    if kind == "feature":
        for placed in opened.measurement.plan:
            yield (placed.layer, *_features(opened, sample, placed))
        return
    for site in field.sites[kind]:
        if kind == "dimension":
            make, count = _dimension(site), sample.tape.activations[site.name].shape[-1]
            sizes = _ranked_by_run(opened, site, count)
        elif kind == "head":
            make, count = _head(site, sample.tape.activations[site.name].shape[-1]), site.num_heads
            sizes = _predicted(sample, make, count)
        else:
            make, count = _place(opened.measurement.plan, sample, site)
            sizes = _predicted(sample, make, count)
        yield number_of(site), np.argsort(-sizes, kind="stable").tolist(), list(range(count)), make


def _dimension(site: Site) -> _Make:
    return lambda index, chosen: Part(
        kind="dimension", site=site, index=index, chosen=chosen, start=index, stop=index + 1
    )


def _head(site: Site, width: int) -> _Make:
    step = width // site.num_heads
    return lambda index, chosen: Part(
        kind="head",
        site=site,
        index=index,
        chosen=chosen,
        start=step * index,
        stop=step * (index + 1),
    )


def _place(plan: TokensPlan, sample: Sample, site: Site) -> tuple[_Make, int]:
    grid, members = plan.prompts.grid, list(sample.batch.passages)
    targets = list(plan.targets)

    def make(index: int, chosen: Chosen) -> Unit:
        column = targets[index]
        return Place(
            kind="position",
            site=site,
            index=index,
            chosen=chosen,
            position=grid.positions[column].name,
            starts=torch.from_numpy(grid.starts[members, column]),
            stops=torch.from_numpy(grid.stops[members, column]),
        )

    return make, len(targets)


def _ranked_by_run(opened: Opened, site: Site, count: int) -> NDArray[np.float64]:
    """Return the run's own number of each dimension, by which it ranks them."""
    table, mode = opened.target.tables["dimensions"], opened.target.mode
    own = table["layer"] == layer_of(site.name)
    sizes = np.zeros(count)
    sizes[table["dimension"][own]] = np.abs(np.nan_to_num(table[mode][own]))
    return sizes


def _predicted(sample: Sample, make: _Make, count: int) -> NDArray[np.float64]:
    """Return how large a change the gradient predicts if a unit is set to zero."""
    units = (make(index, "largest") for index in range(count))
    sums = [sample.predicted(unit.site, unit.change(sample, "zero")).sum() for unit in units]
    return np.abs(np.array(sums))


def _features(
    opened: Opened, sample: Sample, placed: PlacedDictionary
) -> tuple[Sequence[int], Sequence[int], _Make]:
    """Encode the passages with one dictionary, and keep what its candidates need."""
    dictionary, valid = placed.load(), sample.batch.valid
    x = sample.tape.activations[placed.reads.name].to(number_format(sample.subject))
    codes = dictionary.encode(x[valid])
    fires = codes.counts().cpu().numpy() > 0
    numbers = opened.target.statistics[f"layer_{placed.layer}_{opened.target.mode}"]
    sizes = np.abs(np.nan_to_num(numbers))
    order = np.argsort(-sizes, kind="stable")
    scale = torch.broadcast_to(
        torch.as_tensor(scale_of(dictionary.normalization, x), device=x.device), (*x.shape[:2], 1)
    )[..., 0].to(x.dtype)
    rows = dictionary.rows

    def make(index: int, chosen: Chosen) -> Unit:
        values = torch.zeros(valid.shape, dtype=x.dtype, device=x.device)
        own = codes.features == index
        at = valid.nonzero()[codes.tokens[own]]
        values[at[:, 0], at[:, 1]] = codes.values[own]
        return Feature(
            kind="feature",
            site=placed.writes,
            index=index,
            chosen=chosen,
            values=values,
            row=rows[index].clone(),
            scale=scale,
        )

    # A feature that fires nowhere in these passages changes nothing there, as is predicted.
    return order[fires[order]].tolist(), np.flatnonzero(fires).tolist(), make


def _halves(
    largest: Sequence[int], everything: Sequence[int], make: _Make, random: np.random.Generator
) -> Iterator[Unit]:
    """Take turns: one of the largest, one drawn at random; no unit twice."""
    shuffled = [everything[place] for place in random.permutation(len(everything))]
    made: list[Unit] = []
    seen: set[int] = set()
    for pair in zip(largest, shuffled, strict=True):
        for index, chosen in zip(pair, ("largest", "random"), strict=True):
            if index not in seen and len(made) < _MOST_OF_A_LAYER:
                seen.add(index)
                made.append(make(index, chosen))
    return iter(made)


def _rounds(strata: Sequence[Iterator[Unit]], random: np.random.Generator) -> Iterator[Unit]:
    """Go through all strata at once, two units of each in every round, in random order."""
    pairs: list[Iterator[Any]] = [zip_longest(*[iter(each)] * 2) for each in strata]
    for layer in zip_longest(*pairs, fillvalue=()):
        units = [unit for pair in layer for unit in pair if unit is not None]
        yield from (units[place] for place in random.permutation(len(units)))
