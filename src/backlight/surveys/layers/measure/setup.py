"""A survey of layers, made ready to run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from backlight.models.sites import Site, format_layers, layer_of
from backlight.stats.completeness import Completeness
from backlight.surveys.driver.measurement import Measurement
from backlight.surveys.driver.opening import Opening
from backlight.surveys.driver.paths import plan_paths
from backlight.surveys.driver.relative import warned_ways
from backlight.surveys.driver.sites import survey_sites
from backlight.surveys.driver.words.sentences import count, with_error
from backlight.surveys.layers.measure.profile import Profile, profile, recorder_of
from backlight.surveys.layers.options import LayersConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class LayersPlan:
    """Where a survey of layers looks.

    Attributes:
        sites: The sites, one in each layer.
        no_warning: Why there is no warning index; empty if there is one.
    """

    sites: Sequence[Site]
    no_warning: str = ""


LayersMeasurement = Measurement[Profile, LayersPlan]
"""What it sees is a profile."""


def prepare(options: LayersConfig, opening: Opening) -> LayersMeasurement:
    """Open the model and the text, and find the sites.

    Args:
        options: What is asked.
        opening: It opens them.

    Returns:
        The survey, ready to run.
    """
    corpus = opening.corpus()
    sites = survey_sites(corpus.subject, options.site, options.layers)
    paths = plan_paths(options.path, corpus, sites, layers=options.layers, flag="--layers")
    ways, reason = warned_ways(corpus.subject, sites, along_paths=paths is not None)
    state = Profile(
        None
        if paths is None
        else Completeness([site.name for site in sites], len(corpus.passages.tokens)),
        ways,
    )
    layers = format_layers([layer for site in sites if (layer := layer_of(site.name)) is not None])
    return LayersMeasurement(
        corpus=corpus,
        run_name=f"layer_activations_model_{options.model_file_name}_num_samples_"
        f"{options.num_samples}_batch_size_{options.batch_size}_layers_{layers}",
        title=f"{options.aggregate_by} at {options.site}, {count(len(sites), 'layer')}"
        + ("" if paths is None else f", {count(paths.num_nodes, 'node')}"),
        state=state,
        steps=partial(
            profile,
            recorder_of(
                corpus.subject,
                sites,
                quantity=options.aggregate_by,
                reduction=options.loss_reduction,
                paths=paths,
                ways=ways,
            ),
            corpus.passages,
            corpus.batches,
            state,
            sites=sites,
            quantity=options.aggregate_by,
        ),
        plan=LayersPlan(sites=sites, no_warning=reason),
        total=corpus.passages.num_tokens,
        done=lambda: corpus.num_tokens_in(state.loss.num_batches),
        found=partial(_found, state, sites, options.modes[-1]),
    )


def _found(state: Profile, sites: Sequence[Site], mode: str) -> str:
    """Name the layer of the largest statistic so far, and the loss."""
    by_site = [state.bank.summaries(site.name) for site in sites]
    place = {"mean": 0, "mean_abs": 1, "rms": 2}[mode]
    largest = max(range(len(sites)), key=lambda row: abs(by_site[row].mean[place]))
    value, error = by_site[largest].mean[place], by_site[largest].mean_se[place]
    if mode == "rms":
        value, error = value**0.5, error / (2 * value**0.5 or math.nan)
    words = mode.replace("_", " ")
    told = f"largest so far: layer {layer_of(sites[largest].name)}, {words} "
    loss = state.loss.nats_per_token
    return f"{told}{with_error(value, error)}" + ("" if loss is None else f"; loss {loss:.3f}")
