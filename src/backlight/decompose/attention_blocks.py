"""One sequence's backward through attention, a block of queries at a time.

The softmax of a row needs all keys of that row but no other row, so a block of whole rows stands
alone: its weights are computed again from q and k (cheaper than to have kept them), used, and
dropped. Gradients at queries belong to the block; those at keys and values add up over blocks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.decompose.attention_sums import SATURATED_BELOW
from backlight.decompose.distance import squares_by_distance
from backlight.decompose.precision import wide
from backlight.decompose.softmax import jacobian_trace, softmax_backward, visible_softmax
from backlight.decompose.visibility import CAUSAL, Visibility
from backlight.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionRule:
    """How scores and weights come from q and k.

    Attributes:
        scale: What ``q k'`` is multiplied by.
        visibility: Which keys a query sees.
        soft_cap: c of ``c tanh(r / c)`` on scaled scores, None without.
        sinks: The score of each head's sink, None without.

    Raises:
        ConfigError: A soft cap that is not positive.

    Example:
        >>> AttentionRule(scale=8**-0.5, visibility=Visibility(window=128)).visibility.causal
        True
    """

    scale: float
    visibility: Visibility = CAUSAL
    soft_cap: float | None = None
    sinks: Float[Tensor, " heads"] | None = None

    def __post_init__(self) -> None:
        """Refuse a cap by which no score is left."""
        if self.soft_cap is not None and self.soft_cap <= 0:
            raise ConfigError(
                f"A soft cap of {self.soft_cap} leaves no score; it must be positive."
            )

    def capped(self, scaled: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Turn scaled products into what enters the softmax."""
        cap = self.soft_cap
        return scaled if cap is None else (scaled / cap).tanh_().mul_(cap)

    def uncapped(
        self, grad_scores: Float[Tensor, "*shape"], scores: Float[Tensor, "*shape"]
    ) -> Float[Tensor, "*shape"]:
        """Carry a gradient from what enters the softmax to the scaled products."""
        cap = self.soft_cap
        return grad_scores if cap is None else grad_scores * (1 - (scores / cap).square())


@final
class SequenceBackward:
    """Gradients at the queries, keys and values of one sequence, and sums of what was on the way.

    Args:
        rule: How weights come from q and k.
        q: Queries of one sequence without pads.
        k: Its keys.
        v: Its values.
        grad_z: The gradient at the heads' outputs.
        sums: Where statistics are added, by the names of ``AttentionSums``.

    Attributes:
        grad_q: The gradient at the queries.
        grad_k: Each query head's own part of the gradient at the keys.
        grad_v: Each query head's own part of the gradient at the values.
        grad_sinks: The gradient at the sinks' scores.
    """

    def __init__(
        self,
        rule: AttentionRule,
        *,
        q: Float[Tensor, "heads positions head_width"],
        k: Float[Tensor, "key_heads keys head_width"],
        v: Float[Tensor, "key_heads keys value_width"],
        grad_z: Float[Tensor, "heads positions value_width"],
        sums: Mapping[str, Tensor],
    ) -> None:
        self._rule, self._q, self._k, self._v, self._grad_z = rule, q, k, v, grad_z
        self.grad_q = torch.zeros_like(q)
        self.grad_k = k.new_zeros(len(q), *k.shape[1:])
        self.grad_v = v.new_zeros(len(q), *v.shape[1:])
        self.grad_sinks = wide(q.new_zeros(len(q)))
        self._sums = sums

    def take(self, start: int, stop: int) -> None:
        """Go back through some neighbouring queries.

        Args:
            start: The first query.
            stop: One behind the last query.
        """
        rule, rows = self._rule, slice(start, stop)
        low, high = rule.visibility.reach(start, stop, self._k.shape[1])
        seen, q, grad_z = slice(low, high), self._q[:, rows] * rule.scale, self._grad_z[:, rows]
        # Keys that no query of the block sees are left out at once: a window costs its own width.
        visible = rule.visibility.visible(start, stop, low, high, device=q.device)
        scores = rule.capped(_products(q, self._k[:, seen]))
        weights, sink_weights = visible_softmax(scores, visible, rule.sinks)
        grad_weights = _products(grad_z, self._v[:, seen]).mul_(visible)
        grad_scores, averages = softmax_backward(weights, grad_weights)
        grad_scaled = rule.uncapped(grad_scores, scores)
        self.grad_v[:, seen] += weights.mT @ grad_z
        self.grad_q[:, rows] = rule.scale * _mixtures(grad_scaled, self._k[:, seen])
        self.grad_k[:, seen] += grad_scaled.mT @ q
        # A sink has no value behind it: its gradient is what the sum over the row leaves to it.
        self.grad_sinks -= wide(sink_weights * averages).sum(dim=-1)
        lead = start + rule.visibility.offset - low
        self._measure_pairs(grad_scores, visible, lead=lead, shows_first=low == 0)
        self._measure_rows(weights, sink_weights, grad_weights, visible, shows_first=low == 0)

    def close(self) -> None:
        """Add what is known when all blocks are done: the squares of whole gradients."""
        gradients = {
            "z_square": self._grad_z,
            "v_square": self.grad_v,
            "q_square": self.grad_q,
            "k_square": self.grad_k,
            "first_v_square": self.grad_v[:, :1],
            "first_k_square": self.grad_k[:, :1],
        }
        for name, gradient in gradients.items():
            self._add(name, torch.linalg.vecdot(gradient, gradient))

    def _measure_pairs(
        self, grad_scores: Tensor, visible: Tensor, *, lead: int, shows_first: bool
    ) -> None:
        """Add the gradient at the scores, by how far apart query and key are."""
        by_distance = squares_by_distance(grad_scores, lead=lead)
        pairs = squares_by_distance(visible.to(grad_scores.dtype), lead=lead)
        self._sums["scores_square_by_distance"].add_(by_distance)
        self._sums["pairs_by_distance"].add_(pairs)
        self._add("scores_square", by_distance)
        if shows_first:
            self._add("first_scores_square", grad_scores[..., 0].square())

    def _measure_rows(
        self,
        weights: Tensor,
        sink_weights: Tensor,
        grad_weights: Tensor,
        visible: Tensor,
        *,
        shows_first: bool,
    ) -> None:
        """Add what can be said of each query's row of weights, beside a row of even weights."""
        num_visible = visible.sum(dim=-1).to(weights.dtype)
        choice = num_visible >= 2
        trace = jacobian_trace(weights, sink_weights)
        square = torch.linalg.vecdot(grad_weights, grad_weights)
        entropies = torch.special.entr(weights).sum(dim=-1) + torch.special.entr(sink_weights)
        self._add("num_queries", torch.ones_like(num_visible))
        self._add("num_choices", choice)
        self._add("log_visible", num_visible.log())
        self._add("inverse_visible", num_visible.reciprocal())
        self._add("weights_square", square)
        # The Jacobian of a row of 1/n is (1 - 11'/n) / n, whose largest singular value is 1/n.
        self._add("even_square", square / num_visible.square())
        self._add("entropy", entropies)
        self._add("largest", weights.amax(dim=-1))
        self._add("num_saturated", (trace < SATURATED_BELOW) & choice)
        self._add("sink_weight", sink_weights)
        if shows_first:
            self._add("first_weight", weights[..., 0])

    def _add(self, name: str, by_query: Tensor) -> None:
        numbers = by_query.float() if by_query.dtype == torch.bool else by_query
        self._sums[name].add_(wide(numbers).sum(dim=-1))


def _products(rows: Tensor, keys: Tensor) -> Tensor:
    """Multiply each head's rows with the keys it shares, without repeating these."""
    folded = rows.reshape(len(keys), -1, rows.shape[-1])
    return (folded @ keys.mT).view(*rows.shape[:-1], keys.shape[1])


def _mixtures(pairs: Tensor, keys: Tensor) -> Tensor:
    """Add up, for each row, the keys its head shares, with a number for each."""
    folded = pairs.reshape(len(keys), -1, pairs.shape[-1])
    return (folded @ keys).view(*pairs.shape[:-1], keys.shape[-1])
