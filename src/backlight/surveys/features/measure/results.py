"""From what was seen of a layer's features to numbers for each of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from backlight.stats.aggregate import Mode
from backlight.stats.base import as_array
from backlight.stats.first_order import Weighing
from backlight.stats.top import TopResult
from backlight.surveys.features.measure.features import LayerFeatures, Vector
from backlight.surveys.features.measure.placed import PlacedDictionary


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureResult:
    """What was found of one layer's features.

    Attributes:
        placed: The dictionary.
        num_tokens: How many tokens were looked at.
        num_sequences: In how many passages these were.
        statistics: By name, one number for each feature: ``mean``, ``mean_se``, ``rms`` and, where
            it was asked for, ``mean_abs`` and ``mean_abs_se``; ``frequency``, the share of tokens
            at which it fires; ``decoder_norm``. Over all tokens looked at, or only those where the
            feature fires. Where it is known, over all tokens looked at, how far the prediction of
            setting it to zero can be believed: ``relative_size``, ``predicted_change``,
            ``warning_index`` and ``likely_wrong``.
        ranked: The features that have the largest absolute values of any mode, in the order of the
            first mode, the largest first.
        ranks: The place of each of these among all features, by mode; 1 is the largest.
        contexts: The tokens where each ranked feature mattered most.
        loss: Nats per predicted token (with the reconstruction in place under ``replace``); None
            if no loss was computed.
        groups: Sums over groups of passages, if they are kept; see ``LayerFeatures.group_sums``.
        activity: How often and how strongly features fire, by name; see ``Activity.result``.
            Nothing if not all tokens were encoded.
    """

    placed: PlacedDictionary
    num_tokens: int
    num_sequences: int
    statistics: Mapping[str, Vector]
    ranked: NDArray[np.int64]
    ranks: Mapping[Mode, NDArray[np.int64]]
    contexts: TopResult
    loss: float | None
    groups: Mapping[str, NDArray[np.float32]]
    activity: Mapping[str, NDArray[Any]]


def feature_result(
    features: LayerFeatures,
    placed: PlacedDictionary,
    *,
    modes: Sequence[Mode],
    num_ranked: int,
    weighing: Weighing = "sequence_mean",
) -> FeatureResult:
    """Compute all statistics of a layer's features.

    How often features fire is told over all tokens looked at, or, if these were not encoded, over
    those on which the dictionary was tried.

    Args:
        features: What was seen.
        placed: The layer's dictionary.
        modes: The statistics that rank features.
        num_ranked: How many of the largest are kept for each mode.
        weighing: What predicted changes are averaged over.

    Returns:
        The numbers.
    """
    rows = placed.load().rows
    statistics = features.statistics(rows)
    statistics["frequency"] = (
        placed.fidelity.counts.cpu().numpy() / placed.fidelity.num_tokens
        if features.counts is None
        else features.counts / features.num_tokens
    )
    statistics["decoder_norm"] = as_array(torch.linalg.vector_norm(rows, dim=1))
    if features.warnings is not None:
        statistics |= features.warnings.result(weighing).columns()
    places: dict[Mode, NDArray[np.int64]] = {mode: _places(statistics[mode]) for mode in modes}
    kept = np.any([place <= num_ranked for place in places.values()], axis=0)
    ranked = np.flatnonzero(kept & ~np.isnan(statistics[modes[0]]))
    ranked = ranked[np.argsort(places[modes[0]][ranked])]
    return FeatureResult(
        placed=placed,
        num_tokens=features.num_tokens,
        num_sequences=features.num_sequences,
        statistics=statistics,
        ranked=ranked,
        ranks={mode: place[ranked] for mode, place in places.items()},
        contexts=features.contexts(rows, ranked),
        loss=features.nats / features.num_predicted if features.num_predicted else None,
        groups=features.group_sums(rows),
        activity={} if features.activity is None else features.activity.result(),
    )


def _places(values: Vector) -> NDArray[np.int64]:
    """Number values by their size, the largest 1, those that are not known last."""
    order = np.argsort(-np.nan_to_num(np.abs(values), nan=-1.0), kind="stable")
    places = np.empty(len(values), dtype=np.int64)
    places[order] = np.arange(1, len(values) + 1)
    return places
