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
from backlight.decompose.precision import at_least_single, wide
from backlight.decompose.relative import head_grams, head_sizes
from backlight.decompose.visibility import Visibility
from backlight.models.subject import AttentionCall, Subject
from backlight.stats.first_order import FirstOrder
from backlight.stats.groups import RatioGroups
from backlight.stats.ratio import Fraction, NamedRatios
from backlight.surveys.driver.relative import needed_norms, ways_of, weights_on
from backlight.surveys.flow.measure.view import View

_NAMES = (
    *("z_square", "v_square", "weights_square", "scores_square", "q_square", "k_square"),
    *("shrink_square", "even_shrink_square", "entropy", "even_entropy", "largest", "even_largest"),
    *("saturation_share", "query_key_share", "first_scores_share", "first_k_share"),
    *("first_v_share", "first_weight", "sink_weight"),
)
_OF_WHOLES = (
    "shrink_square",
    "query_key_share",
    "first_scores_share",
    "first_k_share",
    "first_v_share",
)
_GROUPED = [name for name in _NAMES if not name.startswith("even_")]
_DISTANCES = ("share", "pairs")


@final
class AttentionView(View):
    """The gradient on its way through the attention of some layers.

    Attributes:
        heads: How many heads each layer has.
        ratios: What was measured of each head.
        passage_groups: The same over groups of passages, but for the levels of even rows.
        distances: Each head's share of the scores' gradient, and of pairs, by distance.
        warnings: How far first-order predictions of setting a head to zero can be believed, by
            layer, where the residual stream is known.
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
        by_token = set(_GROUPED) - set(_OF_WHOLES)
        self.passage_groups = RatioGroups(_GROUPED, num_heads, shared=by_token)
        self.distances = NamedRatios(_DISTANCES, num_heads * NUM_BINS)
        ways, self.no_warning = ways_of(subject, self.sites)
        self._ways = {
            layer: ways[site.name]
            for layer, site in zip(layers, self.sites, strict=True)
            if site.name in ways
        }
        self.kept, self.norms = set(ways), needed_norms(ways.values())
        self.warnings = {layer: FirstOrder(self.heads[layer]) for layer in self._ways}
        self._grams: dict[int, Tensor] = {}
        warnings = {f"warnings_{layer}": part for layer, part in self.warnings.items()}
        sums = {"ratios": self.ratios, "passage_groups": self.passage_groups}
        super().__init__(parts={**sums, "distances": self.distances, **warnings})

    def update(self, tape: Tape, calls: Mapping[int, AttentionCall]) -> None:
        """Take in a batch.

        Args:
            tape: With gradients at the sites.
            calls: What attended in the layers.
        """
        found = [
            attention_gradient(tape, layer, calls[layer]).sums for layer in self.attention_layers
        ]
        fractions = _side_by_side([sums.fractions() for sums in found])
        self.ratios.update(fractions)
        self.passage_groups.update(fractions, tape.batch.passages)
        self.distances.update(_side_by_side([_distances(sums) for sums in found]))
        for layer, warnings in self.warnings.items():
            sizes, products = self._of_heads(tape, layer)
            warnings.update(
                sizes,
                products,
                num_tokens=tape.batch.num_tokens,
                num_passages=len(tape.batch.passages),
                num_predicted=tape.batch.num_predicted,
            )

    def _of_heads(self, tape: Tape, layer: int) -> tuple[Tensor, Tensor]:
        """Add up a batch's relative sizes of heads, and their gradients times activations."""
        way, num_heads = self._ways[layer], self.heads[layer]
        z = at_least_single(tape.activations[way.site.name])
        if layer not in self._grams:
            self._grams[layer] = head_grams(z.shape[-1], num_heads, way.through, z)
        weights = weights_on(tape, way)
        sizes = weights.flatten() @ head_sizes(z, self._grams[layer]).flatten(0, 1)
        gradient = at_least_single(tape.gradients[way.site.name])
        products = wide((gradient * z).sum(dim=1)).sum(dim=0)
        return sizes, products.unflatten(0, (num_heads, -1)).sum(dim=1)


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
