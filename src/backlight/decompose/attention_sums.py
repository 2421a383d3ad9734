"""What attention does to a gradient, in sums by sequence and head: what is streamed."""

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

    @classmethod
    def nothing(
        cls, num_sequences: int, num_heads: int, *, device: torch.device
    ) -> "AttentionSums":
        """Return zeros to add to.

        Args:
            num_sequences: How many sequences there are.
            num_heads: How many query heads there are.
            device: Where to sum.

        Returns:
            The sums of sequences of which nothing was seen yet.
        """
        shapes: dict[str, tuple[int, ...]] = {field.name: (num_heads,) for field in fields(cls)}
        shapes |= dict.fromkeys(
            ("num_queries", "num_choices", "log_visible", "inverse_visible"), ()
        )
        shapes["pairs_by_distance"] = (NUM_BINS,)
        shapes["scores_square_by_distance"] = (num_heads, NUM_BINS)
        return cls(
            **{
                name: wide(torch.zeros(num_sequences, *shape, device=device))
                for name, shape in shapes.items()
            }
        )

    def fractions(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return what is divided by what, for each sequence and head.

        Sums above over sums below the line are, of the heads: ``*_square``, a gradient's mean
        square over queries, but ``shrink_square``, the energy at scores over that at weights, and
        ``even_shrink_square``, the most that even rows can pass of it; ``entropy``, ``largest`` and
        ``*_weight``, means over queries, ``even_*`` those of even rows; ``saturation_share``, of
        queries with a choice; ``query_key_share``, of the energy at queries, keys and values;
        ``first_*_share``, of the energy at scores, keys or values, what is at the first key.
        """
        queries = self.num_queries.unsqueeze(-1).expand_as(self.z_square)
        choices = self.num_choices.unsqueeze(-1).expand_as(self.z_square)
        squares = ("z", "v", "weights", "scores", "q", "k")
        reaching = self.q_square + self.k_square
        return {
            **{f"{name}_square": (getattr(self, f"{name}_square"), queries) for name in squares},
            "shrink_square": (self.scores_square, self.weights_square),
            "even_shrink_square": (self.even_square, self.weights_square),
            "entropy": (self.entropy, queries),
            "even_entropy": (self.log_visible.unsqueeze(-1).expand_as(queries), queries),
            "largest": (self.largest, queries),
            "even_largest": (self.inverse_visible.unsqueeze(-1).expand_as(queries), queries),
            "saturation_share": (self.num_saturated, choices),
            "query_key_share": (reaching, reaching + self.v_square),
            "first_scores_share": (self.first_scores_square, self.scores_square),
            "first_k_share": (self.first_k_square, self.k_square),
            "first_v_share": (self.first_v_square, self.v_square),
            "first_weight": (self.first_weight, queries),
            "sink_weight": (self.sink_weight, queries),
        }
