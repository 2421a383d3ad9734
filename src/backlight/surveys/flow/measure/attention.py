"""What attention does to the gradient, layer by layer and head by head, summed over a corpus."""

from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor

from backlight.capture.attention import attention_module
from backlight.capture.tape import Tape
from backlight.decompose.attention import AttentionGradient, attention_backward
from backlight.decompose.attention_blocks import AttentionRule
from backlight.decompose.attention_sums import AttentionSums
from backlight.decompose.distance import NUM_BINS
from backlight.decompose.visibility import Visibility
from backlight.models.subject import AttentionCall, Subject
from backlight.stats.ratio import Fraction, NamedRatios
from backlight.surveys.flow.measure.view import View

_NAMES = (
    *("z_square", "v_square", "weights_square", "scores_square", "q_square", "k_square"),
    *("shrink_square", "even_shrink_square", "entropy", "even_entropy", "largest", "even_largest"),
    *("saturation_share", "query_key_share", "first_scores_share", "first_k_share"),
    *("first_v_share", "first_weight", "sink_weight"),
)
_DISTANCES = ("share", "pairs")


@final
class AttentionView(View):
    """The gradient on its way through the attention of some layers.

    Attributes:
        heads: How many heads each layer has.
        ratios: What was measured of each head.
        distances: Each head's share of the scores' gradient, and of pairs, by distance.
    """

    def __init__(self, subject: Subject, layers: Sequence[int]) -> None:
        """Find the heads.

        Args:
            subject: The model.
            layers: Its layers to look at.

        Raises:
            UnsupportedSiteError: If the attention of the model does not go through the interface.
        """
        for layer in layers:
            attention_module(subject, layer)
        self.sites = [subject.sites[f"layers.{layer}.attn.z"] for layer in layers]
        self.attention_layers = tuple(layers)
        self.heads = {layer: site.num_heads for layer, site in zip(layers, self.sites, strict=True)}
        num_heads = sum(self.heads.values())
        self.ratios = NamedRatios(_NAMES, num_heads)
        self.distances = NamedRatios(_DISTANCES, num_heads * NUM_BINS)
        super().__init__(parts={"ratios": self.ratios, "distances": self.distances})

    def update(self, tape: Tape, calls: Mapping[int, AttentionCall]) -> None:
        """Take in a batch.

        Args:
            tape: With gradients at the sites.
            calls: What attended in the layers.
        """
        found = [
            attention_gradient(tape, layer, calls[layer]).sums for layer in self.attention_layers
        ]
        self.ratios.update(_side_by_side([sums.fractions() for sums in found]))
        self.distances.update(_side_by_side([_distances(sums) for sums in found]))


def attention_gradient(tape: Tape, layer: int, call: AttentionCall) -> AttentionGradient:
    """Carry the gradient at one layer's heads back through its attention.

    Args:
        tape: With a gradient at the layer's ``attn.z``.
        layer: The layer.
        call: What attended there, without a mask.

    Returns:
        The gradients at queries, keys and values, and what happened on the way.
    """
    heads = call.query.shape[1]
    grad_z = tape.gradients[f"layers.{layer}.attn.z"].unflatten(-1, (heads, -1)).transpose(1, 2)
    return attention_backward(
        call.query,
        call.key,
        call.value,
        grad_z,
        AttentionRule(
            scale=call.scale,
            visibility=Visibility(window=call.window),
            soft_cap=call.cap,
            sinks=call.sinks,
        ),
        lengths=tape.batch.lengths,
    )


def _distances(sums: AttentionSums) -> dict[str, Fraction]:
    energy = sums.scores_square_by_distance
    pairs = sums.pairs_by_distance.unsqueeze(1).expand_as(energy)
    return {"share": _of_whole(energy), "pairs": _of_whole(pairs)}


def _of_whole(by_bin: Tensor) -> Fraction:
    whole = by_bin.sum(dim=-1, keepdim=True).expand_as(by_bin)
    return by_bin.flatten(1), whole.flatten(1)


def _side_by_side(layers: Sequence[Mapping[str, Fraction]]) -> dict[str, Fraction]:
    """Put the heads of layers one after the other."""

    def joined(name: str, side: int) -> Tensor:
        return torch.cat([fractions[name][side] for fractions in layers], dim=1)

    return {name: (joined(name, 0), joined(name, 1)) for name in layers[0]}
