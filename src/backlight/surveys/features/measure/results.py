"""From what was seen of a layer's features to numbers for each of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from backlight.dictionaries.dictionary import Card, Dictionary
from backlight.stats.aggregate import Mode
from backlight.stats.base import as_array
from backlight.stats.top import TopResult
from backlight.surveys.features.measure.feature_pass import FeaturePlan
from backlight.surveys.features.measure.placement import Place, Trial
from backlight.surveys.features.measure.survey import LayerFeatures

Vector = NDArray[np.float64]

_NUM_CONTEXTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureResult:
    """What was found of one layer's features.

    Attributes:
        place: Where the dictionary sits.
        card: What its files say of it.
        trial: How it did before anything was measured.
        num_tokens: How many tokens were looked at.
        num_sequences: In how many passages these were.
        statistics: By name, one number for each feature: ``mean``, ``mean_se``, ``rms`` and, where
            it was asked for, ``mean_abs`` and ``mean_abs_se``; ``frequency``, the share of tokens
            at which it fires; ``decoder_norm``. Over all tokens looked at, or only those where the
            feature fires.
        frequency_tokens: Of how many tokens ``frequency`` is a share.
        ranked: The features that have the largest absolute values of any mode, in the order of the
            first mode, the largest first.
        ranks: The place of each of these among all features, by mode; 1 is the largest.
        contexts: The tokens where each ranked feature mattered most.
        loss: Nats per predicted token (with the reconstruction in place under ``replace``); None
            if no loss was computed.
    """

    place: Place
    card: Card
    trial: Trial
    num_tokens: int
    num_sequences: int
    statistics: Mapping[str, Vector]
    frequency_tokens: int
    ranked: NDArray[np.int64]
    ranks: Mapping[Mode, NDArray[np.int64]]
    contexts: TopResult
    loss: float | None


def feature_result(
    features: LayerFeatures,
    dictionary: Dictionary,
    *,
    where: Place,
    trial: Trial,
    plan: FeaturePlan,
    modes: Sequence[Mode],
    num_ranked: int,
) -> FeatureResult:
    """Compute all statistics of a layer's features.

    Args:
        features: What was seen.
        dictionary: The layer's dictionary.
        where: Its place.
        trial: How it did when it was tried.
        plan: What was measured.
        modes: The statistics that rank features.
        num_ranked: How many of the largest are kept for each mode.

    Returns:
        The numbers.
    """
    statistics = _moments(features, dictionary)
    counts, frequency_tokens = features.counts, features.num_tokens
    if counts is None:
        counts, frequency_tokens = trial.counts.cpu().numpy(), trial.num_tokens
    statistics["frequency"] = counts / frequency_tokens
    statistics["decoder_norm"] = as_array(torch.linalg.vector_norm(dictionary.rows, dim=1))
    places: dict[Mode, NDArray[np.int64]] = {mode: _places(statistics[mode]) for mode in modes}
    kept = np.any([place <= num_ranked for place in places.values()], axis=0)
    ranked = np.flatnonzero(kept & ~np.isnan(statistics[modes[0]]))
    ranked = ranked[np.argsort(places[modes[0]][ranked])]
    return FeatureResult(
        place=where,
        card=dictionary.card,
        trial=trial,
        num_tokens=features.num_tokens,
        num_sequences=features.num_sequences,
        statistics=statistics,
        frequency_tokens=frequency_tokens,
        ranked=ranked,
        ranks={mode: place[ranked] for mode, place in places.items()},
        contexts=_contexts(features, dictionary, ranked),
        loss=features.nats / features.num_predicted if plan.takes_gradients else None,
    )


def _places(values: Vector) -> NDArray[np.int64]:
    """Number values by their size, the largest 1, those that are not known last."""
    order = np.argsort(-np.nan_to_num(np.abs(values), nan=-1.0), kind="stable")
    places = np.empty(len(values), dtype=np.int64)
    places[order] = np.arange(1, len(values) + 1)
    return places


def _moments(features: LayerFeatures, dictionary: Dictionary) -> dict[str, Vector]:
    if features.sparse is not None:
        found = features.sparse.result()
        return {
            "mean": found.mean.ratio,
            "mean_se": found.mean.se,
            "rms": found.rms,
            "mean_abs": found.mean_abs.ratio,
            "mean_abs_se": found.mean_abs.se,
        }
    assert features.moment is not None
    along = features.moment.along(dictionary.rows)
    statistics = {"mean": along.mean, "mean_se": along.mean_se, "rms": along.rms}
    if features.absolute is not None:
        absolute = features.absolute.result()
        statistics |= {"mean_abs": absolute.ratio, "mean_abs_se": absolute.se}
    return statistics


def _contexts(
    features: LayerFeatures, dictionary: Dictionary, ranked: NDArray[np.int64]
) -> TopResult:
    """Find the tokens where each ranked feature mattered most."""
    if features.sparse is not None:
        top = features.sparse.result().top
        return TopResult(
            values=top.values[ranked],
            passages=top.passages[ranked],
            positions=top.positions[ranked],
        )
    assert features.largest is not None
    return _among(features.largest.result(), dictionary, ranked)


def _among(longest: TopResult, dictionary: Dictionary, ranked: NDArray[np.int64]) -> TopResult:
    rows = as_array(dictionary.rows[torch.from_numpy(ranked).to(dictionary.rows.device)])
    products = rows @ longest.values.astype(np.float64).T
    order = np.argsort(-np.abs(products), axis=1, kind="stable")[:, :_NUM_CONTEXTS]
    return TopResult(
        values=np.take_along_axis(products, order, axis=1),
        passages=longest.passages[order],
        positions=longest.positions[order],
    )
