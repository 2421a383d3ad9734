"""``backlight sae``: which features of a sparse dictionary move the loss, over a corpus."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.dictionaries.dictionary import Dictionary
from backlight.models.sites import format_layers
from backlight.models.subject import Subject
from backlight.runs.directory import RunDirectory
from backlight.runs.results import Results, load_results
from backlight.surveys.driver.files import aggregated, write_results
from backlight.surveys.driver.model import load, settle
from backlight.surveys.driver.options import SurveyConfig
from backlight.surveys.driver.reading import same_numbers
from backlight.surveys.driver.resolving import resolve
from backlight.surveys.driver.session import (
    Clock,
    find_run,
    follow,
    print_places,
    restore_checkpoint,
)
from backlight.surveys.driver.survey import Material, begin, finished, gather
from backlight.surveys.features.measure.feature_pass import FeaturePlan
from backlight.surveys.features.measure.results import FeatureResult, feature_result
from backlight.surveys.features.measure.survey import FeatureSurvey, survey_features
from backlight.surveys.features.options import SaeConfig
from backlight.surveys.features.printed import print_features
from backlight.surveys.features.shelf import Shelf, find_source, shelve
from backlight.surveys.features.tables import (
    dictionary_table,
    feature_layer_table,
    feature_token_table,
    top_feature_table,
)

_NUM_RANKED = 100


def sae(
    config: str | Path | None = None,
    *,
    subject: Subject | None = None,
    dictionaries: Mapping[int, Dictionary] | None = None,
    **options: Any,
) -> Results:
    """Measure the gradient of the loss with respect to the features of sparse dictionaries.

    The same as the command ``backlight sae``, for notebooks and scripts; nothing is printed.

    Args:
        config: A YAML file of options, if any.
        subject: A model that is already loaded; its options then have no place here.
        dictionaries: Dictionaries that are already loaded, by layer, instead of ``sae_path``; see
            ``dictionary_from_object`` for those of other libraries.
        **options: Options by the names of the command's flags; they win over the file.

    Returns:
        The aggregated arrays, by ``layer_{i}_{mode}``; every feature's mean, standard error, rms,
        frequency and decoder norm as ``statistics``; the tables and the metadata. Its ``path`` is
        the run directory, None if nothing was written.

    Raises:
        ConfigError: If an option does not exist or does not fit, or is one for loading a model
            although there is a subject, or if there are two sources of dictionaries.
    """
    resolved = resolve(SaeConfig, config, options)
    return _survey(*settle(resolved, subject), dictionaries)


def run(config: SaeConfig) -> None:
    """Carry out ``backlight sae`` and print what was found and where it went.

    Args:
        config: Its options.
    """
    results = _survey(config, load, None)
    print_features(config, results)
    if results.path is not None:
        print_places(RunDirectory(results.path), "sae")


def _survey(
    config: SaeConfig,
    load: Callable[[SurveyConfig], Subject],
    given: Mapping[int, Dictionary] | None,
) -> Results:
    clock = Clock()
    found = find_run(config, "sae")
    done = finished(config, found)
    if done is not None:
        return load_results(done.path)
    source = find_source(config, given)

    material = gather(config, lambda: load(config), clock)
    shelf = shelve(config, material, source)
    clock.lap("sae_loading")
    directory = begin(
        config,
        "sae",
        _directory_name(config, shelf),
        material,
        found,
        dictionaries={str(layer): shelf.origin(layer) for layer in shelf.places},
    )
    plan = _plan(config)
    state = _measure(config, plan, material, shelf, directory)
    clock.lap("gradient_computation")

    by_layer = {
        layer: feature_result(
            features,
            shelf.load(layer),
            where=shelf.places[layer],
            trial=shelf.trials[layer],
            plan=plan,
            modes=config.modes,
            num_ranked=_NUM_RANKED,
        )
        for layer, features in state.layers.items()
    }
    results = _results(config, material, by_layer, shelf, directory)
    clock.lap("projection")
    if directory is not None:
        from backlight.surveys.features import figures

        drawn = figures.draw(results)
        write_results(directory, config, results, clock, drawn, extra=_extra(config))
    return results


def _directory_name(config: SaeConfig, shelf: Shelf) -> str:
    """Name the run directory as the seed's tool does."""
    model = config.model_file_name
    return (
        f"sae_features_model_{model}_num_samples_{config.num_samples}"
        f"_batch_size_{config.batch_size}_layers_{format_layers(tuple(shelf.places))}"
    )


def _plan(config: SaeConfig) -> FeaturePlan:
    return FeaturePlan(
        splice=config.splice,
        quantity=config.aggregate_by,
        active_only=config.active_only,
        absolute="mean_abs" in config.modes,
        stride=config.stride,
        reduction=config.loss_reduction,
    )


def _measure(
    config: SaeConfig,
    plan: FeaturePlan,
    material: Material,
    shelf: Shelf,
    directory: RunDirectory | None,
) -> FeatureSurvey:
    sizes = {layer: (len(trial.counts), trial.widths[1]) for layer, trial in shelf.trials.items()}
    state = FeatureSurvey(plan, sizes)
    if directory is not None:
        restore_checkpoint(directory, state.restore)
    follow(
        survey_features(
            material.subject,
            material.passages,
            material.batches,
            state,
            places=list(shelf.places.values()),
            trials=shelf.trials,
            load=shelf.load,
            plan=plan,
            chunk_bytes=config.chunk_bytes,
        ),
        state,
        directory,
        title=f"{config.aggregate_by} of features, {len(sizes)} layers, splice {config.splice}",
        total_tokens=material.passages.num_tokens * len(sizes),
        done_tokens=state.num_steps,
        unit="tokens x layers",
    )
    return state


def _results(
    config: SaeConfig,
    material: Material,
    by_layer: Mapping[int, FeatureResult],
    shelf: Shelf,
    directory: RunDirectory | None,
) -> Results:
    quantity, passages = config.aggregate_by, material.passages
    decode = material.subject.tokenizer.decode
    tables = (
        feature_layer_table(by_layer, quantity, config.modes),
        dictionary_table(by_layer),
        top_feature_table(by_layer, quantity, passages, decode),
        feature_token_table(by_layer, quantity, passages, decode),
    )
    return Results(
        path=None if directory is None else directory.path,
        data=aggregated(config, {layer: found.statistics for layer, found in by_layer.items()}),
        statistics=_statistics(by_layer),
        metadata={
            "num_tokens": next(iter(by_layer.values())).num_tokens,
            "text": passages.account(),
            **material.subject.note,
            **shelf.notes,
        },
        tables={table.name: table for table in tables},
        config=same_numbers(config) if directory is None else directory.config(),
    )


def _statistics(by_layer: Mapping[int, FeatureResult]) -> dict[str, NDArray[np.float64]]:
    return {
        f"layer_{layer}_{name}": values
        for layer, found in by_layer.items()
        for name, values in found.statistics.items()
    }


def _extra(config: SaeConfig) -> dict[str, Any]:
    return {
        "sae_path": config.sae_path,
        "splice": config.splice,
        "position_stride": config.stride,
        "active_only": config.active_only,
    }
