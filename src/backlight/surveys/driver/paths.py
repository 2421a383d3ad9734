"""The paths that ``--path`` asks for: where there are some, what they cost, what they add up to."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backlight.capture.path import num_passes
from backlight.capture.record import record
from backlight.data.batches import Batch
from backlight.errors import ConfigError, UnsupportedSiteError
from backlight.models.backward_rules.subjects import rule_of
from backlight.models.blocks.rerun import Blocks
from backlight.models.sites import Site, layer_of
from backlight.models.subject import Subject
from backlight.objectives.objective import Reduction
from backlight.stats.completeness import COLUMNS
from backlight.surveys.driver.material.opening import Corpus
from backlight.surveys.driver.words.sentences import count, number
from backlight.tables import Table

_ATTENTION = ("query", "key", "value")
_MOST_PASSES = 20  # for each batch, of layers that were not named
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """How the path of each site is gone.

    Attributes:
        num_nodes: At how many points the gradient is taken.
        blocks: The model's blocks, from one of which on it is run; None to run it whole.
    """

    num_nodes: int
    blocks: Blocks | None


def plan_paths(
    num_nodes: int | None, corpus: Corpus, sites: Sequence[Site], *, layers: str, flag: str
) -> Paths | None:
    """Choose how paths are gone, and say what they cost before they are.

    Args:
        num_nodes: At how many points of each path the gradient is taken; None for no paths.
        corpus: The model and the text.
        sites: Where; each site has a path of its own.
        layers: The layers as the user wrote them.
        flag: The option that names them.

    Returns:
        The paths, None if there are none.

    Raises:
        ConfigError: If all layers together take more than 20 passes of the model for each batch,
            and were not named one by one; if gradients go back by a rule.
        UnsupportedSiteError: If there is no path to a site.
    """
    if num_nodes is None:
        return None
    _refuse_rule(corpus.subject)
    _refuse_attention(sites)
    blocks = Blocks.found_in(corpus.subject)
    cost = _Cost(num_nodes, sites, corpus.subject.num_layers if blocks is not None else None)
    passes = cost.of(cost.layers)
    if layers.strip() == "all" and cost.layers and passes > _MOST_PASSES:
        raise ConfigError(cost.refusal(flag))
    _logger.info("%s", _told(corpus, sites, num_nodes, passes))
    return Paths(num_nodes=num_nodes, blocks=blocks)


def completeness_arrays(
    changes: Mapping[str, NDArray[np.float64]],
) -> dict[str, NDArray[np.float64]]:
    """Name the changes of single passages: ``{site}/completeness``, ``[passages, 3]``."""
    return {f"{site}/completeness": passages for site, passages in changes.items()}


def weight_of(corpus: Corpus, reduction: Reduction) -> int:
    """Find what sums over the passages of a corpus are divided by, as its loss is reduced."""
    weights = {
        "sequence_mean": len(corpus.passages.tokens),
        "token_sum": corpus.passages.num_predicted,
        "batch_mean": len(corpus.batches),
    }
    return weights[reduction]


def completeness_tables(
    changes: Mapping[str, NDArray[np.float64]], *, weight: int, unit: str
) -> tuple[Table, ...]:
    """Tabulate what taking a site away does, as it was predicted and as it is.

    ``first_order``, ``path`` and ``true_change`` are the objective afterwards less that before,
    summed over passages and divided by ``weight``; ``residual`` is |path - true_change| /
    |true_change| of these sums, and ``residual_mean``, ``residual_median`` and ``residual_max`` of
    the single passages; ``first_order_residual`` the same as ``residual``, of ``first_order``. A
    passage whose true change is exactly zero has no residual.

    Args:
        changes: By site, for each passage what was predicted and what came of it.
        weight: What sums over passages are divided by: passages, predicted tokens or batches.
        unit: The objective's unit.

    Returns:
        The table, one row for each site; none without sites.
    """
    rows = [_row(site, passages, weight) for site, passages in changes.items()]
    if not rows:
        return ()
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return (Table(name="completeness", columns=columns, units=dict.fromkeys(COLUMNS, unit)),)


def _row(site: str, passages: NDArray[np.float64], weight: float) -> dict[str, float | str]:
    layer, averages = layer_of(site), passages.sum(axis=0) / weight
    missed = _residuals(averages[:2], averages[2:])
    single = _residuals(passages[:, 1], passages[:, 2])
    known = single[~np.isnan(single)]
    return {
        "site": site,
        "layer": np.nan if layer is None else layer,
        "num_passages": len(passages),
        **dict(zip(COLUMNS, averages.tolist(), strict=True)),
        "first_order_residual": float(missed[0]),
        "residual": float(missed[1]),
        "residual_mean": float(known.mean()) if len(known) else np.nan,
        "residual_median": float(np.median(known)) if len(known) else np.nan,
        "residual_max": float(known.max()) if len(known) else np.nan,
    }


def _residuals(found: NDArray[np.float64], true: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute how far numbers are from the true ones, as shares of those; NaN where these are 0."""
    size = np.abs(true)
    return np.abs(found - true) / np.where(size > 0, size, np.nan)


@dataclass(frozen=True, slots=True)
class _Cost:
    """What paths take, in passes of the model for each batch.

    Attributes:
        num_nodes: At how many points of each path the gradient is taken.
        sites: Where.
        num_layers: How many layers the model has; None if it is run whole each time.
    """

    num_nodes: int
    sites: Sequence[Site]
    num_layers: int | None

    @property
    def layers(self) -> list[int]:
        """The layers that have a site."""
        found = {layer for site in self.sites if (layer := layer_of(site.name)) is not None}
        return sorted(found)

    def of(self, layers: Sequence[int]) -> float:
        """Count the passes for the sites of some layers, and for those that belong to none."""
        own = [layer_of(site.name) for site in self.sites]
        starts = [layer for layer in own if layer is None or layer in layers]
        if self.num_layers is None:
            return num_passes([None] * len(starts), 1, self.num_nodes)
        return num_passes(starts, self.num_layers, self.num_nodes)

    def refusal(self, flag: str) -> str:
        """Say what all layers would take, and which layers take few passes."""
        layers = self.layers
        whole = f"{flag} {layers[0]}-{layers[-1]} takes all of them all the same"
        fitting = self._fitting()
        few = ",".join(map(str, fitting))
        proposed = f"{flag} {few} takes {self.of(fitting):.0f}, " if fitting else ""
        return (
            f"--path {self.num_nodes} at {count(len(self.sites), 'site')} takes about "
            f"{self.of(layers):.0f} passes of the model for each batch, more than {_MOST_PASSES}, "
            f"since each site has a path of its own. Name the layers: {proposed}{whole}."
        )

    def _fitting(self) -> list[int]:
        """Choose the most layers, evenly spread over the depth, that take few enough passes."""
        layers = self.layers
        for most in range(len(layers) - 1, 0, -1):
            places = np.linspace(0, len(layers) - 1, most).round().astype(int)
            chosen = [layers[place] for place in places]
            if self.of(chosen) <= _MOST_PASSES:
                return chosen
        return []


def _refuse_rule(subject: Subject) -> None:
    rule = rule_of(subject)
    if rule != "true":
        raise ConfigError(
            "What --path averages adds up to the true effect because it is the derivative, which "
            f"the rule {rule} does not give. Use --backward true, or leave --path out."
        )


def _refuse_attention(sites: Sequence[Site]) -> None:
    for site in sites:
        if site.tap.side in _ATTENTION:
            raise UnsupportedSiteError(
                f"{site.name} can be looked at, but nothing can be put in its place, so there is "
                "no path to it. Leave --path out, or name attn.z, attn.out or attn.in."
            )


def _told(corpus: Corpus, sites: Sequence[Site], num_nodes: int, passes: float) -> str:
    seconds = _seconds_of_a_pass(corpus, sites[0]) * (passes + 1)
    return (
        f"Paths of {count(num_nodes, 'node')} at {count(len(sites), 'site')}: about {passes:.1f} "
        f"passes of the model for each of {count(len(corpus.batches), 'batch', 'batches')}, "
        f"besides what a run without --path takes; about {duration(seconds)}."
    )


def _seconds_of_a_pass(corpus: Corpus, site: Site) -> float:
    """Time a forward and a backward pass over the first batch, and tell how long all take."""
    batch = Batch.of(corpus.passages, corpus.batches[0]).to(corpus.subject.device)
    start = time.perf_counter()
    record(corpus.subject, batch, [site])
    return (time.perf_counter() - start) * corpus.passages.num_tokens / batch.num_tokens


def duration(seconds: float) -> str:
    """Write how long something takes, such as ``12 s`` or ``3 min``."""
    if seconds < 100:
        return f"{number(max(seconds, 1.0), 2)} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
