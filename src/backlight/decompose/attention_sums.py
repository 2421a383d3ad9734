"""What attention does to a gradient, in sums by sequence and head: what is streamed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.decompose.distance import NUM_BINS
from backlight.decompose.precision import wide

SATURATED_BELOW = 0.01
"""A row is saturated if the trace of its softmax Jacobian, 1 - sum a^2, is below this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionSums:
    """Sums over the queries of each sequence, in float64; pads are no queries and no keys.

    ``*_square`` are sums of squared gradients. Those at keys and values are of each query head's
    own part, before the heads that share a key are added. Entropy, largest weight and trace are of
    the whole softmax row, in which a sink is one more column; the largest weight is a key's.
    Properties are of all sequences together.

    Attributes:
        num_queries: Queries.
        num_choices: Queries that see at least two keys.
        log_visible: The sum of log n over queries, n the keys they see: the entropy of even rows.
        inverse_visible: The sum of 1/n: the weights of even rows.
        pairs_by_distance: How many pairs of query and visible key there are in each distance bin.
        z_square: The gradient at the head's output.
        v_square: The gradient at the values.
        weights_square: The gradient at the weights of visible keys.
        scores_square: The gradient at what enters the softmax.
        even_square: The sum over queries of ``|grad weights|^2 / n^2``.
        q_square: The gradient at the queries.
        k_square: The gradient at the keys.
        scores_square_by_distance: ``scores_square`` in each distance bin.
        first_scores_square: The part of ``scores_square`` at the first key.
        first_v_square: The part of ``v_square`` at the first key.
        first_k_square: The part of ``k_square`` at the first key.
        first_weight: The sum of the weights of the first key.
        sink_weight: The sum of the weights of the sink; zero without.
        entropy: The sum of the entropies of the rows, in nats.
        largest: The sum of the rows' largest weights.
        num_saturated: Queries with a choice whose row is saturated.
    """

    num_queries: Float[Tensor, " sequences"]
    num_choices: Float[Tensor, " sequences"]
    log_visible: Float[Tensor, " sequences"]
    inverse_visible: Float[Tensor, " sequences"]
    pairs_by_distance: Float[Tensor, "sequences bins"]
    z_square: Float[Tensor, "sequences heads"]
    v_square: Float[Tensor, "sequences heads"]
    weights_square: Float[Tensor, "sequences heads"]
    scores_square: Float[Tensor, "sequences heads"]
    even_square: Float[Tensor, "sequences heads"]
    q_square: Float[Tensor, "sequences heads"]
    k_square: Float[Tensor, "sequences heads"]
    scores_square_by_distance: Float[Tensor, "sequences heads bins"]
    first_scores_square: Float[Tensor, "sequences heads"]
    first_v_square: Float[Tensor, "sequences heads"]
    first_k_square: Float[Tensor, "sequences heads"]
    first_weight: Float[Tensor, "sequences heads"]
    sink_weight: Float[Tensor, "sequences heads"]
    entropy: Float[Tensor, "sequences heads"]
    largest: Float[Tensor, "sequences heads"]
    num_saturated: Float[Tensor, "sequences heads"]

    @property
    def shrink(self) -> Float[Tensor, " heads"]:
        """The Frobenius norm of the gradient at scores over that at weights, on visible pairs."""
        return (self.scores_square.sum(dim=0) / self.weights_square.sum(dim=0)).sqrt()

    @property
    def even_shrink(self) -> Float[Tensor, " heads"]:
        """The same if every row passed 1/n: the most that rows of even weights can pass."""
        return (self.even_square.sum(dim=0) / self.weights_square.sum(dim=0)).sqrt()

    @property
    def mean_entropy(self) -> Float[Tensor, " heads"]:
        """The mean entropy of a row, in nats."""
        return self.entropy.sum(dim=0) / self.num_queries.sum()

    @property
    def mean_largest(self) -> Float[Tensor, " heads"]:
        """The mean of the rows' largest weights."""
        return self.largest.sum(dim=0) / self.num_queries.sum()

    @property
    def saturation_share(self) -> Float[Tensor, " heads"]:
        """The share of saturated rows among those with a choice."""
        return self.num_saturated.sum(dim=0) / self.num_choices.sum()

    @property
    def query_key_share(self) -> Float[Tensor, " heads"]:
        """Energy at queries and keys over energy at queries, keys and values."""
        scores = (self.q_square + self.k_square).sum(dim=0)
        return scores / (scores + self.v_square.sum(dim=0))

    @property
    def first_share(self) -> Float[Tensor, " heads"]:
        """The share of the energy at the scores that the first key carries."""
        return self.first_scores_square.sum(dim=0) / self.scores_square.sum(dim=0)

    @property
    def distance_shares(self) -> Float[Tensor, "heads bins"]:
        """The share of the energy at the scores in each distance bin."""
        by_distance = self.scores_square_by_distance.sum(dim=0)
        return by_distance / by_distance.sum(dim=-1, keepdim=True)


def nothing_summed(num_heads: int, device: torch.device) -> dict[str, Tensor]:
    """Give the sums of a sequence of which nothing was seen yet, without the axis of sequences.

    Args:
        num_heads: How many query heads there are.
        device: Where to sum.

    Returns:
        Zeros, by the names of ``AttentionSums``.
    """
    without_heads = ("num_queries", "num_choices", "log_visible", "inverse_visible")
    zeros = {
        field.name: torch.zeros(() if field.name in without_heads else num_heads, device=device)
        for field in fields(AttentionSums)
    }
    zeros["pairs_by_distance"] = torch.zeros(NUM_BINS, device=device)
    zeros["scores_square_by_distance"] = torch.zeros(num_heads, NUM_BINS, device=device)
    return {name: wide(tensor) for name, tensor in zeros.items()}


def stack_sums(sequences: Sequence[Mapping[str, Tensor]]) -> AttentionSums:
    """Put the sums of single sequences one after the other.

    Args:
        sequences: What ``nothing_summed`` gave, with something added; one at least.

    Returns:
        The same, with the axis of sequences.
    """
    names = sequences[0]
    return AttentionSums(
        **{name: torch.stack([sums[name] for sums in sequences]) for name in names}
    )


def join_attention_sums(parts: Sequence[AttentionSums]) -> AttentionSums:
    """Put the sequences of several batches one after the other.

    Args:
        parts: Of the same layer; one at least.

    Returns:
        The sums of all their sequences, in order.
    """
    names = [field.name for field in fields(AttentionSums)]
    return AttentionSums(
        **{name: torch.cat([getattr(part, name) for part in parts]) for name in names}
    )
