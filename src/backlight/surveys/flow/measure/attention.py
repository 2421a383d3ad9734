"""What attention does to the gradient, layer by layer and head by head, summed over a corpus."""

from collections.abc import Collection, Mapping, Sequence
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
from backlight.models.sites import Site
from backlight.models.subject import AttentionCall, Subject
from backlight.stats.ratio import NamedRatios
from backlight.surveys.flow.measure.attention_tables import attention_table, distance_table
from backlight.surveys.flow.measure.view import Part, View
from backlight.tables import Table

_NAMES = (
    *("z_square", "v_square", "weights_square", "scores_square", "q_square", "k_square"),
    *("shrink_square", "even_shrink_square", "entropy", "even_entropy", "largest", "even_largest"),
    *("saturation_share", "query_key_share", "first_scores_share", "first_k_share"),
    *("first_v_share", "first_weight", "sink_weight"),
)


@final
class AttentionView(View):
    """The gradient on its way through the attention of some layers."""

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
        self._layers = tuple(layers)
        self._sites = [subject.sites[f"layers.{layer}.attn.z"] for layer in layers]
        self._heads = [site.num_heads for site in self._sites]
        self._ratios = NamedRatios(_NAMES, sum(self._heads))
        self._distances = NamedRatios(["share", "pairs"], sum(self._heads) * NUM_BINS)

    @property
    def sites(self) -> Sequence[Site]:
        """The heads' outputs."""
        return self._sites

    @property
    def kept(self) -> Collection[str]:
        """No activation is needed: what attends is kept apart."""
        return ()

    @property
    def attention_layers(self) -> Sequence[int]:
        """All of the view."""
        return self._layers

    def update(self, tape: Tape, calls: Mapping[int, AttentionCall]) -> None:
        """Take in a batch.

        Args:
            tape: With gradients at the sites.
            calls: What attended in the layers.
        """
        sums = [attention_gradient(tape, layer, calls[layer]).sums for layer in self._layers]
        fractions = [part.fractions() for part in sums]
        distances = [_distances(part) for part in sums]
        self._ratios.update({name: _joined(fractions, name) for name in _NAMES})
        self._distances.update({name: _joined(distances, name) for name in ("share", "pairs")})

    def tables(self) -> tuple[Table, ...]:
        """Tabulate the heads, and the gradient at their scores by distance."""
        heads = list(zip(self._layers, self._heads, strict=True))
        return (
            attention_table(heads, self._ratios.result()),
            distance_table(heads, self._distances.result()),
        )

    @property
    def _parts(self) -> Mapping[str, Part]:
        return {"ratios": self._ratios, "distances": self._distances}


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


def _distances(sums: AttentionSums) -> dict[str, tuple[Tensor, Tensor]]:
    energy = sums.scores_square_by_distance
    pairs = sums.pairs_by_distance.unsqueeze(1).expand_as(energy)
    return {"share": _of_whole(energy), "pairs": _of_whole(pairs)}


def _of_whole(by_bin: Tensor) -> tuple[Tensor, Tensor]:
    whole = by_bin.sum(dim=-1, keepdim=True).expand_as(by_bin)
    return by_bin.flatten(1), whole.flatten(1)


def _joined(
    layers: Sequence[Mapping[str, tuple[Tensor, Tensor]]], name: str
) -> tuple[Tensor, Tensor]:
    above, below = zip(*(fractions[name] for fractions in layers), strict=True)
    return torch.cat(above, dim=1), torch.cat(below, dim=1)
