"""A survey of layers, made ready to run."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from backlight.capture.curvature import num_passes
from backlight.errors import ConfigError
from backlight.models.backward_rules.subjects import rule_of
from backlight.models.sites import Site, format_layers, layer_of
from backlight.models.streams import Way
from backlight.models.subject import Subject
from backlight.stats.aggregate import Mode
from backlight.stats.completeness import Completeness
from backlight.surveys.driver.material.opening import Corpus, Opening
from backlight.surveys.driver.measurement import Measurement
from backlight.surveys.driver.paths import Paths, plan_paths
from backlight.surveys.driver.relative import warned_ways
from backlight.surveys.driver.shards.sharding import Sharding
from backlight.surveys.driver.shards.stopping import Stopping
from backlight.surveys.driver.sites import survey_sites
from backlight.surveys.driver.words.sentences import count, with_error
from backlight.surveys.layers.measure.precision import errors_of
from backlight.surveys.layers.measure.profile import Profile, profile, recorder_of
from backlight.surveys.layers.options import LayersConfig

_logger = logging.getLogger(__name__)


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
    numbers = [layer for site in sites if (layer := layer_of(site.name)) is not None]
    layers = format_layers(numbers)
    if options.aggregate_by == "hessian_diagonal":
        _refuse_rule(corpus.subject)
        _tell_passes(numbers, corpus.subject.num_layers, options.num_probes)
    paths = plan_paths(options.path, corpus, sites, layers=options.layers, flag="--layers")
    ways, reason = warned_ways(corpus.subject, sites, shown=_shown(options))
    fresh = partial(_nothing, paths, sites, corpus, ways, options.modes)
    state = fresh()
    recorder = recorder_of(
        corpus.subject,
        sites,
        quantity=options.aggregate_by,
        reduction=options.loss_reduction,
        paths=paths,
        ways=ways,
        num_probes=options.num_probes,
        seed=options.seed,
    )

    steps = partial(profile, recorder, corpus.passages, sites=sites, quantity=options.aggregate_by)
    return LayersMeasurement(
        corpus=corpus,
        run_name=f"layer_activations_model_{options.model_file_name}_num_samples_"
        f"{options.num_samples}_batch_size_{opening.options.batch_size}_layers_{layers}",
        title=f"{options.aggregate_by} at {options.site}, {count(len(sites), 'layer')}"
        + ("" if paths is None else f", {count(paths.num_nodes, 'node')}")
        + ("" if options.precision is None else f", at most, to {100 * options.precision:.3g} %"),
        state=state,
        plan=LayersPlan(sites=sites, no_warning=reason),
        found=partial(_found, state, sites, options.modes[-1]),
        sharding=Sharding.of(
            corpus.passages,
            corpus.batches,
            shards=corpus.shards,
            fresh=fresh,
            steps=steps,
            seen=lambda state: state.loss.num_batches,
            stopping=Stopping.of(
                options, corpus, errors_of(sites, options.modes[-1], options.precision_of)
            ),
        ),
    )


def _nothing(
    paths: Paths | None,
    sites: Sequence[Site],
    corpus: Corpus,
    ways: Mapping[str, Way],
    modes: Sequence[Mode],
) -> Profile:
    """Make a profile that has seen nothing."""
    if paths is None:
        return Profile(None, ways, modes)
    completeness = Completeness([site.name for site in sites], len(corpus.passages.tokens))
    return Profile(completeness, ways, modes)


def _refuse_rule(subject: Subject) -> None:
    rule = rule_of(subject)
    if rule != "true":
        raise ConfigError(
            f"A Hessian has derivatives of derivatives, which the rule {rule} does not give. Use "
            "--backward true, or another --aggregate_by."
        )


def _shown(options: LayersConfig) -> str:
    """Name what takes the place of plain gradients; empty if nothing does."""
    if options.aggregate_by in ("fisher", "hessian_diagonal"):
        return f"what is measured is {options.aggregate_by}"
    return "" if options.path is None else "gradients are averages along paths"


def _tell_passes(layers: Sequence[int], num_layers: int, num_probes: int) -> None:
    """Say how many passes the probes will take, and how they could be fewer."""
    _logger.info(
        "%s at %s: about %.1f forward and backward passes for each batch; fewer --layers, or "
        "layers nearer the loss, take fewer.",
        count(num_probes, "probe"),
        count(len(layers), "layer"),
        1 + num_passes(layers, num_layers, num_probes),
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
