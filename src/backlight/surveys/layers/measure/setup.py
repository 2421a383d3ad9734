"""A survey of layers, made ready to run."""

from functools import partial

from backlight.models.sites import Site, format_layers, layer_of
from backlight.surveys.driver.measurement import Measurement
from backlight.surveys.driver.opening import Opening
from backlight.surveys.driver.sites import survey_sites
from backlight.surveys.layers.measure.profile import Profile, profile
from backlight.surveys.layers.options import LayersConfig

LayersMeasurement = Measurement[Profile, tuple[Site, ...]]
"""What it sees is a profile; where it looks are the sites, one in each layer."""


def prepare(options: LayersConfig, opening: Opening) -> LayersMeasurement:
    """Open the model and the text, and find the sites.

    Args:
        options: What is asked.
        opening: It opens them.

    Returns:
        The survey, ready to run.
    """
    corpus, state = opening.corpus(), Profile()
    sites = survey_sites(corpus.subject, options.site, options.layers)
    layers = format_layers([layer for site in sites if (layer := layer_of(site.name)) is not None])
    return LayersMeasurement(
        corpus=corpus,
        run_name=f"layer_activations_model_{options.model_file_name}_num_samples_"
        f"{options.num_samples}_batch_size_{options.batch_size}_layers_{layers}",
        title=f"{options.aggregate_by} at {options.site}, {len(sites)} layers",
        state=state,
        steps=partial(
            profile,
            corpus.subject,
            corpus.passages,
            corpus.batches,
            state,
            sites=sites,
            quantity=options.aggregate_by,
            reduction=options.loss_reduction,
        ),
        plan=sites,
        total=corpus.passages.num_tokens,
        done=lambda: corpus.num_tokens_in(state.loss.num_batches),
    )
