"""A survey of dictionary features, made ready to run."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from backlight.capture.record import record_activations
from backlight.data.batches import Batch
from backlight.dictionaries.collection import Collection
from backlight.errors import ConfigError
from backlight.models.sites import format_layers
from backlight.models.streams import Way
from backlight.models.subject import Subject
from backlight.stats.completeness import Completeness
from backlight.stats.ratio import RatioResult
from backlight.surveys.driver.material.opening import Corpus, Opening
from backlight.surveys.driver.measurement import Measurement
from backlight.surveys.driver.paths import duration, plan_paths
from backlight.surveys.driver.relative import warned_ways
from backlight.surveys.driver.shards.sharding import Sharding, tokens_of
from backlight.surveys.driver.shards.stopping import Stopping
from backlight.surveys.driver.steps import Step
from backlight.surveys.driver.words.sentences import count, with_error
from backlight.surveys.features.measure.chunks import chunks_of, enough_tokens, shards_of
from backlight.surveys.features.measure.cross_layer import check_asked
from backlight.surveys.features.measure.feature_pass import feature_pass
from backlight.surveys.features.measure.placed import (
    PlacedDictionary,
    find_source,
    place_dictionaries,
)
from backlight.surveys.features.measure.plan import FeaturePlan
from backlight.surveys.features.measure.precision import errors_of
from backlight.surveys.features.measure.survey import (
    FeatureSurvey,
    join_by_layer,
    survey_features,
)
from backlight.surveys.features.options import SaeConfig

_logger = logging.getLogger(__name__)

FeaturesMeasurement = Measurement[FeatureSurvey, list[PlacedDictionary]]


def prepare(
    options: SaeConfig, opening: Opening, dictionaries: Mapping[int, object] | None = None
) -> FeaturesMeasurement:
    """Find the dictionaries, open the model and the text, and prove each dictionary at its place.

    Args:
        options: What is asked.
        opening: It opens model and text.
        dictionaries: Dictionaries that are already loaded, by layer.

    Returns:
        The survey, ready to run.
    """
    if dictionaries is not None and (options.workers > 1 or options.cluster is not None):
        raise ConfigError(
            "workers: other processes cannot be given dictionaries in memory; write them to files "
            "and name these, or measure with workers=1."
        )
    source = find_source(options, dictionaries)
    check_asked(options, source)
    corpus = opening.corpus()
    subject = corpus.subject
    first = Batch.of(corpus.passages, corpus.batches[0]).to(subject.device)
    placed = place_dictionaries(options, source, subject, first)
    opening.clock.lap("sae_loading")
    writes = [each.writes for each in placed]
    paths = plan_paths(options.path, corpus, writes, layers=options.layers, flag="--layers")
    planned = replace(_plan(options, source), no_text=_no_text(subject))
    plan, ways = _warned(planned, options, subject, placed)
    placed = [replace(each, way=ways.get(each.writes.name)) for each in placed]
    if plan.encodes and not replace(plan, warns=False, records=False).encodes:
        flag = "--warn" if plan.warns else "--record_activity"
        _tell_cost(corpus, placed, first, plan.stride, flag)
    sharding = _sharding(options, corpus, plan, placed, is_along_paths=paths is not None)
    state = sharding.fresh()
    layers = format_layers([each.layer for each in placed])
    return FeaturesMeasurement(
        corpus=corpus,
        run_name=f"sae_features_model_{options.model_file_name}_num_samples_{options.num_samples}"
        f"_batch_size_{opening.options.batch_size}_layers_{layers}",
        title=f"{options.aggregate_by} of features, {count(len(placed), 'layer')}, splice "
        f"{options.splice}",
        state=state,
        sharding=sharding,
        plan=placed,
        unit="tokens x layers",
        found=partial(_found, state),
        material={"dictionaries": {str(each.layer): each.origin() for each in placed}},
    )


def _sharding(
    options: SaeConfig,
    corpus: Corpus,
    plan: FeaturePlan,
    placed: Sequence[PlacedDictionary],
    *,
    is_along_paths: bool,
) -> Sharding[FeatureSurvey]:
    """Cut the corpus into shards of whole chunks."""
    passages, batches = corpus.passages, corpus.batches
    going = feature_pass(corpus.subject, plan)

    def fresh(dictionaries: Sequence[PlacedDictionary] = placed) -> FeatureSurvey:
        if not is_along_paths:
            return FeatureSurvey(plan, dictionaries)
        sites = [each.writes.name for each in dictionaries]
        return FeatureSurvey(plan, dictionaries, Completeness(sites, len(passages.tokens)))

    enough = enough_tokens(_state_bytes(fresh, placed))
    room = {"chunk_bytes": options.chunk_bytes, "chunk_tokens": enough}

    def steps(batches: Sequence[Sequence[int]], state: FeatureSurvey) -> Iterator[Step]:
        return survey_features(going, passages, batches, state, dictionaries=placed, **room)

    num_tokens = tokens_of(passages, batches)
    bytes_per_position = going.bytes_per_position(placed)
    chunks = chunks_of(passages, batches, bytes_per_position, **room)
    return Sharding(
        batches=batches,
        num_tokens=[each * len(placed) for each in num_tokens],
        shards=shards_of(chunks, num_tokens, least=enough)
        if corpus.shards is None
        else corpus.shards,
        fresh=fresh,
        steps=steps,
        done=lambda state, _: state.num_steps,
        rounds=chunks,
        bytes_per_position=bytes_per_position,
        joined=partial(join_by_layer, fresh, placed),
        stopping=_stopping(options, corpus, plan, placed),
    )


def _stopping(
    options: SaeConfig, corpus: Corpus, plan: FeaturePlan, placed: Sequence[PlacedDictionary]
) -> Stopping | None:
    """Say when the features' numbers are sure enough, if that is asked."""
    if options.precision is None:
        return None
    layers = [each.layer for each in placed]
    is_dense = plan.is_dense
    errors = errors_of(layers, options.modes[-1], options.precision_of, is_dense=is_dense)
    return Stopping.of(options, corpus, errors)


def _state_bytes(
    fresh: Callable[[Sequence[PlacedDictionary]], FeatureSurvey],
    placed: Sequence[PlacedDictionary],
) -> int:
    """Count the bytes of a state; of layers that are alike, one is looked at."""
    by_shape: dict[tuple[int, ...], int] = {}
    total = 0
    for each in placed:
        shape = (len(each.fidelity.counts), *each.fidelity.widths, each.way is None)
        if shape not in by_shape:
            state = fresh([each]).state()
            by_shape[shape] = sum(array.nbytes for array in state.values())
        total += by_shape[shape]
    return total


def _found(state: FeatureSurvey) -> str:
    """Name the feature of the largest size so far, and the loss."""
    told = [
        _largest(layer, found) for layer, each in state.layers.items() if (found := each.sizes())
    ]
    _, largest = max(told, default=(0.0, ""))
    nats = sum(each.nats for each in state.layers.values())
    predicted = sum(each.num_predicted for each in state.layers.values())
    loss = f"loss {nats / predicted:.3f}" if predicted else ""
    return "; ".join(filter(None, [largest, loss]))


def _largest(layer: int, sizes: RatioResult) -> tuple[float, str]:
    feature = int(np.nan_to_num(sizes.ratio).argmax())
    size = float(sizes.ratio[feature])
    if not size > 0:  # nothing was seen of the layer yet
        return 0.0, ""
    told = with_error(size, float(sizes.se[feature]))
    return size, f"largest so far: feature {feature} of layer {layer}, mean abs {told}"


def _warned(
    plan: FeaturePlan,
    options: SaeConfig,
    subject: Subject,
    placed: Sequence[PlacedDictionary],
) -> tuple[FeaturePlan, Mapping[str, Way]]:
    """Find the residual streams that features are weighed against, or why they are not."""
    shown = "" if options.path is None else "gradients are averages along paths"
    if not plan.encodes:
        shown = "tokens are not encoded, which --warn does"
    if any(each.card.is_cross_layer for each in placed):
        shown = "features of a cross-layer transcoder add to the residual stream at several layers"
    ways, reason = warned_ways(subject, [each.writes for each in placed], shown=shown)
    if reason and plan.warns:
        raise ConfigError(f"There is no warning index: {reason}. Leave --warn out.")
    return replace(plan, no_warning=reason), {} if reason else ways


def _no_text(subject: Subject) -> tuple[int, ...]:
    """List the tokenizer's tokens for beginning, end and padding; any tokenizer may lack them."""
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    ids = (getattr(subject.tokenizer, name, None) for name in names)
    return tuple(sorted({each for each in ids if isinstance(each, int)}))


def _tell_cost(
    corpus: Corpus, placed: Sequence[PlacedDictionary], batch: Batch, stride: int, flag: str
) -> None:
    """Say how long encoding will take, by what the first batch takes at the first dictionary."""
    x = record_activations(corpus.subject, batch, [placed[0].reads])
    tokens = x.activations[placed[0].reads.name][batch.valid]
    dictionary = placed[0].load()
    start = time.perf_counter()
    dictionary.encode(tokens.to(dictionary.rows.dtype))
    num_tokens = sum(-(-len(tokens) // stride) for tokens in corpus.passages.tokens)
    seconds = (time.perf_counter() - start) / batch.num_tokens * num_tokens
    widths = [len(each.fidelity.counts) for each in placed]
    _logger.info(
        "%s encodes %s in %s: about %s, besides what a run without it takes.",
        flag,
        count(num_tokens, "token"),
        count(len(placed), "layer"),
        duration(seconds * sum(widths) / widths[0]),
    )


def _plan(options: SaeConfig, source: Collection) -> FeaturePlan:
    across = any(card.is_cross_layer for card in source.cards.values())  # takes all products anyway
    if across and options.keep_groups:
        raise ConfigError("keep_groups: of cross-layer transcoders no groups of passages are kept.")
    return FeaturePlan(
        splice=options.splice,
        quantity=options.aggregate_by,
        active_only=options.active_only,
        absolute=across or "mean_abs" in options.modes,
        stride=options.stride,
        reduction=options.loss_reduction,
        num_nodes=options.path,
        warns=options.warn,
        records=options.record_activity,
        grouped=options.modes if options.keep_groups else (),
    )
