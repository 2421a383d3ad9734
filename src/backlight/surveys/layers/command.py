"""``backlight layers``: what the gradient of the loss is at every layer, over a corpus."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.errors import UnsupportedSiteError, quoted
from backlight.models.sites import (
    Site,
    format_layers,
    layer_of,
    parse_layers,
    resolve_sites,
    sites_of_layers,
)
from backlight.models.subject import Subject
from backlight.runs.directory import RunDirectory
from backlight.runs.results import Results, load_results
from backlight.stats.bank import SiteResult
from backlight.surveys.driver.files import aggregated, write_results
from backlight.surveys.driver.model import load, settle
from backlight.surveys.driver.options import SurveyConfig
from backlight.surveys.driver.reading import same_numbers
from backlight.surveys.driver.resolving import resolve
from backlight.surveys.driver.session import Clock, find_run, print_places
from backlight.surveys.driver.survey import Material, begin, finished, gather, measure
from backlight.surveys.layers.measure import Profile, profile
from backlight.surveys.layers.options import LayersConfig
from backlight.surveys.layers.printed import print_layers
from backlight.surveys.layers.tables import (
    dimension_table,
    histogram_table,
    layer_table,
    site_results,
    top_token_table,
)


def layers(
    config: str | Path | None = None, *, subject: Subject | None = None, **options: Any
) -> Results:
    """Measure the gradient of the loss (or activations, or both) at every layer, over a corpus.

    The same as the command ``backlight layers``, for notebooks and scripts; nothing is printed.

    Args:
        config: A YAML file of options, if any.
        subject: A model that is already loaded; its options then have no place here.
        **options: Options by the names of the command's flags; they win over the file.

    Returns:
        The aggregated arrays, by ``layer_{i}_{mode}``, the tables and the metadata. Its ``path`` is
        the run directory, None if nothing was written.

    Raises:
        ConfigError: If an option does not exist or does not fit, or is one for loading a model
            although there is a subject.
    """
    resolved = resolve(LayersConfig, config, options)
    return _survey(*settle(resolved, subject))


def run(config: LayersConfig) -> None:
    """Carry out ``backlight layers`` and print what was found and where it went.

    Args:
        config: Its options.
    """
    results = _survey(config, load)
    print_layers(config, results)
    if results.path is not None:
        print_places(RunDirectory(results.path), "layers")


def _survey(config: LayersConfig, load: Callable[[SurveyConfig], Subject]) -> Results:
    clock = Clock()
    found = find_run(config, "layers")
    done = finished(config, found)
    if done is not None:
        return load_results(done.path)

    material = gather(config, lambda: load(config), clock)
    sites = survey_sites(material.subject, config.site, config.layers)
    directory = begin(config, "layers", _directory_name(config, sites), material, found)
    state = _measure(config, material, sites, directory)
    clock.lap("gradient_computation")

    results = _results(config, material, state, sites, directory)
    if directory is not None:
        from backlight.surveys.layers import figures

        drawn = figures.draw(results)
        write_results(directory, config, results, clock, drawn, extra={"site": config.site})
    return results


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
    found = resolve_sites(site, subject.sites)
    sites = sites_of_layers(found, numbers)
    by_layer = {layer_of(each.name): each for each in sites}
    if all(layer_of(each.name) is None for each in found):
        raise UnsupportedSiteError(
            f"{found[0].name} belongs to no layer. `backlight layers` takes a site that layers "
            "have, such as mlp.out or resid.post."
        )
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


def _directory_name(config: LayersConfig, sites: Sequence[Site]) -> str:
    """Name the run directory as the seed's tool does."""
    model = config.model_file_name
    layers = format_layers([layer for site in sites if (layer := layer_of(site.name)) is not None])
    return (
        f"layer_activations_model_{model}_num_samples_{config.num_samples}"
        f"_batch_size_{config.batch_size}_layers_{layers}"
    )


def _measure(
    config: LayersConfig,
    material: Material,
    sites: Sequence[Site],
    directory: RunDirectory | None,
) -> Profile:
    state = Profile()
    survey = partial(
        profile,
        material.subject,
        material.passages,
        material.batches,
        state,
        sites=sites,
        quantity=config.aggregate_by,
        reduction=config.loss_reduction,
    )
    title = f"{config.aggregate_by} at {config.site}, {len(sites)} layers"
    measure(material, state, survey, directory, title=title)
    return state


def _results(
    config: LayersConfig,
    material: Material,
    state: Profile,
    sites: Sequence[Site],
    directory: RunDirectory | None,
) -> Results:
    subject, passages = material.subject, material.passages
    by_layer, quantity = site_results(state, sites), config.aggregate_by
    tables = (
        layer_table(by_layer, quantity),
        dimension_table(by_layer, quantity),
        histogram_table(by_layer, quantity),
        top_token_table(by_layer, quantity, passages, subject.tokenizer.decode),
    )
    loss = state.nats / state.num_predicted if state.num_predicted else None
    return Results(
        path=None if directory is None else directory.path,
        data=aggregated(config, _statistics(config, by_layer)),
        metadata={
            "loss_nats_per_token": loss,
            "num_tokens": passages.num_tokens,
            "text": passages.account(),
            **subject.note,
        },
        tables={table.name: table for table in tables},
        config=same_numbers(config) if directory is None else directory.config(),
    )


def _statistics(
    config: LayersConfig, by_layer: Mapping[int, SiteResult]
) -> dict[int, dict[str, NDArray[np.float64]]]:
    return {
        layer: {mode: getattr(result.moments, mode) for mode in config.modes}
        for layer, result in by_layer.items()
    }
