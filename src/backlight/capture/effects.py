"""What a batch's objective is when something at a site is changed: the true effect of a change.

A gradient says what an infinitesimal change does; the effect of a change of some size is told by
running the model with it. Nothing before the change depends on it, so a model whose blocks are
known is run from the changed layer on, from residual streams that one pass has kept, and without
the cost of a gradient: about 0.4 + 0.6 (L - k) / L of a forward pass from layer k of L on.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.capture.record import record_activations
from backlight.capture.splice import splicing
from backlight.data.batches import Batch
from backlight.errors import NonFiniteError, UnsupportedSiteError
from backlight.models.blocks.rerun import Blocks
from backlight.models.sites import Site, layer_of
from backlight.models.subject import Subject
from backlight.models.taps import per_token, tapping
from backlight.objectives.objective import Valued


def keep_streams(
    subject: Subject, batch: Batch, layers: Sequence[int]
) -> dict[int, Float[Tensor, "batch positions width"]]:
    """Keep the residual stream before some layers, for passes that begin there.

    One forward pass, no further than the last of the layers; no graph.

    Args:
        subject: The model.
        batch: Some passages, on the model's device.
        layers: The layers.

    Returns:
        ``resid.pre`` of each layer.

    Raises:
        UnsupportedSiteError: If it is not known where the model's blocks begin.
    """
    sites = _starts(subject, layers)
    seen = record_activations(subject, batch, list(sites.values()))
    return {layer: seen.activations[site.name] for layer, site in sites.items()}


@contextmanager
def keeping_streams(
    subject: Subject, batch: Batch, layers: Sequence[int]
) -> Generator[dict[int, Float[Tensor, "batch positions width"]], None, None]:
    """Keep the residual stream before some layers of the pass that is run while the context lasts.

    Args:
        subject: The model.
        batch: The passages that will be run.
        layers: The layers.

    Yields:
        ``resid.pre`` of each layer, empty until the pass has run.

    Raises:
        UnsupportedSiteError: If it is not known where the model's blocks begin.
    """
    sites = {site.name: layer for layer, site in _starts(subject, layers).items()}
    kept: dict[int, Tensor] = {}

    def visit(site: Site, tensor: Tensor) -> Tensor:
        # A copy: some blocks add in place into what they are given.
        kept[sites[site.name]] = per_token(site, tensor.detach().clone(), batch.input_ids.shape)
        return tensor

    with tapping(subject, [subject.sites[name] for name in sites], visit):
        yield kept


@torch.no_grad()
def value_with(
    subject: Subject,
    batch: Batch,
    objective: Valued,
    replacements: Mapping[str, Float[Tensor, "batch positions _"]],
    *,
    blocks: Blocks | None = None,
    layer: int = 0,
    stream: Float[Tensor, "batch positions width"] | None = None,
) -> Float[Tensor, " batch"]:
    """Find what a batch's objective is with other tensors at some sites.

    The rest of the model answers: all that reads what is replaced is computed anew. What is put at
    pads reaches no token that counts.

    Args:
        subject: The model.
        batch: Some passages, on the model's device.
        objective: What is computed.
        replacements: What passes at the sites, by their names; empty for the model as it is.
        blocks: The model's blocks, if it is to be run from one of them on.
        layer: The first block that runs; all replaced sites are in it or behind it.
        stream: The residual stream before that block, from ``keep_streams``.

    Returns:
        The objective's value of each passage, float64, on the CPU.

    Raises:
        NonFiniteError: If the value of a passage is NaN or infinite.
        UnsupportedSiteError: If what passes at a site cannot be replaced (attention's q, k and v).
    """
    with ExitStack() as stack:
        if stream is not None:
            assert blocks is not None, "a stream is of use only to known blocks"
            assert all(layer <= _depth(name) for name in replacements), "a site is left out"
            stack.enter_context(blocks.entering(layer, stream))
        stack.enter_context(splicing(subject, replacements))
        output = subject.forward(batch.input_ids)
    value = objective.value(output, batch, subject.head)
    finite = value.isfinite()
    if not finite.all():
        row = int((~finite).nonzero()[0, 0])
        changed = f" with other tensors at {', '.join(replacements)}" if replacements else ""
        raise NonFiniteError(
            f"The objective of passage {batch.passages[row]}{changed} is {value[row].item()}. Try "
            f"--dtype float32 (now {output.dtype}), or look for NaN in the weights."
        )
    return value


def _starts(subject: Subject, layers: Sequence[int]) -> dict[int, Site]:
    """Find the site before each of some layers, from the first to the last."""
    names = {layer: f"layers.{layer}.resid.pre" for layer in sorted(set(layers))}
    for name in names.values():
        if name not in subject.sites:
            raise UnsupportedSiteError(
                f"{subject.name} has no {name}, so it cannot be run from that layer on; it can be "
                "run whole."
            )
    return {layer: subject.sites[name] for layer, name in names.items()}


def _depth(name: str) -> float:
    """Find the layer of a site; what belongs to none passes before all of them or behind."""
    layer = layer_of(name)
    if layer is None:
        return 0 if name == "embed.out" else float("inf")
    return layer
