"""A survey of dictionary features, made ready to run."""

from collections.abc import Mapping
from functools import partial

from backlight.dictionaries.dictionary import Dictionary
from backlight.models.sites import format_layers
from backlight.surveys.driver.measurement import Measurement
from backlight.surveys.driver.opening import Opening
from backlight.surveys.features.measure.feature_pass import FeaturePlan
from backlight.surveys.features.measure.survey import FeatureSurvey, survey_features
from backlight.surveys.features.options import SaeConfig
from backlight.surveys.features.shelf import Shelf, find_source, shelve

FeaturesMeasurement = Measurement[FeatureSurvey, Shelf]


def prepare(
    options: SaeConfig, opening: Opening, dictionaries: Mapping[int, Dictionary] | None = None
) -> FeaturesMeasurement:
    """Find the dictionaries, open the model and the text, and prove each dictionary at its place.

    Args:
        options: What is asked.
        opening: It opens model and text.
        dictionaries: Dictionaries that are already loaded, by layer.

    Returns:
        The survey, ready to run.
    """
    source = find_source(options, dictionaries)
    corpus = opening.corpus()
    shelf = shelve(options, corpus, source)
    opening.clock.lap("sae_loading")
    plan = plan_of(options)
    sizes = {layer: (len(trial.counts), trial.widths[1]) for layer, trial in shelf.trials.items()}
    state = FeatureSurvey(plan, sizes)
    layers = format_layers(tuple(shelf.places))
    return FeaturesMeasurement(
        corpus=corpus,
        run_name=f"sae_features_model_{options.model_file_name}_num_samples_{options.num_samples}"
        f"_batch_size_{options.batch_size}_layers_{layers}",
        title=f"{options.aggregate_by} of features, {len(sizes)} layers, splice {options.splice}",
        state=state,
        steps=partial(
            survey_features,
            corpus.subject,
            corpus.passages,
            corpus.batches,
            state,
            places=list(shelf.places.values()),
            trials=shelf.trials,
            load=shelf.load,
            plan=plan,
            chunk_bytes=options.chunk_bytes,
        ),
        plan=shelf,
        total=corpus.passages.num_tokens * len(sizes),
        done=lambda: state.num_steps,
        unit="tokens x layers",
        material={"dictionaries": {str(layer): shelf.origin(layer) for layer in shelf.places}},
    )


def plan_of(options: SaeConfig) -> FeaturePlan:
    """Return what is measured of the features."""
    return FeaturePlan(
        splice=options.splice,
        quantity=options.aggregate_by,
        active_only=options.active_only,
        absolute="mean_abs" in options.modes,
        stride=options.stride,
        reduction=options.loss_reduction,
    )
