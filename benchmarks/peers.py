"""Time another tool's way to the gradients at all MLP outputs against the bare floor.

The peers do not install beside each other, nor beside us, so this program runs in a virtual
environment of the peer's own (``requirements-<peer>.txt``) and imports torch, numpy, transformers
and that one peer, never backlight. The floor is measured in the same process, on the same batches,
turn by turn with the peer, so that a busy machine slows both.

- Floor: plain Transformers forward, ``torch.autograd.grad`` of its loss at the MLP outputs.
- Peer: the cheapest way the peer's documented interface offers to the same gradients in one pass.

Both sides start from frozen parameters and let the graph begin at the first MLP output: that is
torch's doing, open to a user of any of the peers, and without it they would be charged for
parameter gradients that nobody asked for. The loss is Transformers' own, the mean over the
targets of a batch, because TransformerLens has no other. Sequences are padded on the right.

    python benchmarks/peers.py --peer captum --model FOLDER --batches FILE.npz

One JSON object goes to stdout, everything else to stderr. If the peer fails, or finds other
gradients than the floor, the object says so under ``error``.
"""

import argparse
import json
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

NO_TARGET = -100
"""What Transformers, like ``cross_entropy``, takes for a position without a target."""

LARGEST_ERROR = 1e-3
"""Gradients in float32 agree if they differ by less, relative to a layer's largest value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Some passages side by side, padded on the right.

    Attributes:
        input_ids: Token ids, ``[batch, positions]``; 0 where there is no token.
        mask: 1 where there is a token, 0 elsewhere.
        labels: Token ids again; ``NO_TARGET`` where there is no token.
    """

    input_ids: Tensor
    mask: Tensor
    labels: Tensor


Job = Callable[[Batch], Sequence[Tensor]]
"""From a batch to the loss's gradient at each MLP output, first layer first."""


def read_batches(path: Path) -> list[Batch]:
    """Read ``input_ids_{k}`` and ``lengths_{k}`` for k = 0, 1, ... from an ``.npz`` file."""
    with np.load(path) as arrays:
        count = sum(name.startswith("input_ids_") for name in arrays.files)
        if not count:
            raise ValueError(f"{path} holds no batches: there is no array input_ids_0.")
        return [
            lay_out(
                torch.from_numpy(arrays[f"input_ids_{k}"]),
                torch.from_numpy(arrays[f"lengths_{k}"]),
            )
            for k in range(count)
        ]


def lay_out(input_ids: Tensor, lengths: Tensor) -> Batch:
    """Mark in a padded batch which places hold a token."""
    valid = torch.arange(input_ids.shape[1]) < lengths[:, None]
    return Batch(
        input_ids=input_ids,
        mask=valid.long(),
        labels=input_ids.masked_fill(~valid, NO_TARGET),
    )


def load_model(folder: Path) -> Any:
    """Load a Llama-like causal language model, frozen and in evaluation mode."""
    return AutoModelForCausalLM.from_pretrained(folder).eval().requires_grad_(requires_grad=False)


def mlps_of(model: Any) -> list[nn.Module]:
    """List the MLP of each layer."""
    return [layer.mlp for layer in model.model.layers]


def transformers_loss(model: Any, batch: Batch) -> Tensor:
    """Run the model once and return the mean loss over the batch's targets."""
    return model(input_ids=batch.input_ids, labels=batch.labels, use_cache=False).loss


def prepare_floor(folder: Path) -> Job:
    """Prepare what no tool can undercut: a forward, and a backward as far as it must go."""
    model = load_model(folder)
    mlps = mlps_of(model)

    def find_gradients(batch: Batch) -> Sequence[Tensor]:
        outputs: list[Tensor] = []

        def keep(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if not outputs:
                output.requires_grad_()  # the graph starts here
            outputs.append(output)

        handles = [mlp.register_forward_hook(keep) for mlp in mlps]
        try:
            loss = transformers_loss(model, batch)
        finally:
            for handle in handles:
                handle.remove()
        return torch.autograd.grad(loss, outputs)

    return find_gradients


def prepare_nnsight(folder: Path) -> Job:
    """Prepare one trace with a backward trace in it.

    nnsight hands out values in the order in which they arise: outputs first layer first,
    gradients last layer first.
    """
    import nnsight

    model = nnsight.NNsight(load_model(folder))
    first, *others = [layer.mlp for layer in model.model.layers]

    def find_gradients(batch: Batch) -> Sequence[Tensor]:
        with model.trace(input_ids=batch.input_ids, labels=batch.labels, use_cache=False):
            outputs = [first.output.requires_grad_()]
            for mlp in others:
                outputs.append(mlp.output)  # noqa: PERF401  (nnsight compiles this block)
            with model.output.loss.backward():
                gradients = nnsight.save([output.grad for output in reversed(outputs)])
        return gradients[::-1]

    return find_gradients


def prepare_captum(folder: Path) -> Job:
    """Prepare one call for all layers; not multiplied by the activations, it is the gradient.

    captum itself makes the output of the first layer require a gradient.
    """
    from captum.attr import LayerGradientXActivation

    model = load_model(folder)

    def loss(input_ids: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
        batch = Batch(input_ids=input_ids, mask=mask, labels=labels)
        return transformers_loss(model, batch).reshape(1)

    attribution = LayerGradientXActivation(loss, mlps_of(model), multiply_by_inputs=False)

    def find_gradients(batch: Batch) -> Sequence[Tensor]:
        return attribution.attribute(
            batch.input_ids, additional_forward_args=(batch.mask, batch.labels)
        )

    return find_gradients


def prepare_transformer_lens(folder: Path) -> Job:
    """Prepare a run with a cache of nothing but the MLP outputs and their gradients.

    The bridge computes attention eagerly, whatever the model was loaded with. Given ``labels``
    it would compute the loss twice, Transformers' and its own; so the pads are masked instead.
    """
    from transformer_lens.model_bridge import TransformerBridge

    bridge = TransformerBridge.boot_transformers(
        str(folder),
        hf_model=load_model(folder),
        tokenizer=AutoTokenizer.from_pretrained(folder),
        device="cpu",
    )
    sites = [f"blocks.{layer}.mlp.hook_out" for layer in range(bridge.cfg.n_layers)]
    bridge.add_perma_hook(sites[0], lambda output, hook: output.requires_grad_())  # noqa: ARG005

    def find_gradients(batch: Batch) -> Sequence[Tensor]:
        _, cache = bridge.run_with_cache(
            batch.input_ids,
            attention_mask=batch.mask,
            return_type="loss",
            incl_bwd=True,
            names_filter=sites,
            return_cache_object=False,
            use_cache=False,
        )
        return [cache[f"{site}_grad"] for site in sites]

    return find_gradients


PREPARE: dict[str, Callable[[Path], Job]] = {
    "nnsight": prepare_nnsight,
    "captum": prepare_captum,
    "transformer_lens": prepare_transformer_lens,
}


def largest_relative_error(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Compare gradients layer by layer.

    Args:
        found: The peer's gradients.
        expected: The floor's.

    Returns:
        The largest difference relative to the largest expected value of its layer.

    Raises:
        ValueError: If the peer has gradients of other shapes, or of more or fewer layers.
    """
    shapes = [tuple(gradient.shape) for gradient in found]
    if shapes != [tuple(gradient.shape) for gradient in expected]:
        raise ValueError(f"{len(expected)} gradients were asked for; these came: {shapes}")
    errors = [
        (one - other).abs().max() / other.abs().max()
        for one, other in zip(found, expected, strict=True)
    ]
    return torch.stack(errors).max().item()  # NaN wins over all


def seconds_of(job: Job, batch: Batch) -> float:
    """Run a job once and return the time it took."""
    start = time.perf_counter()
    job(batch)
    return time.perf_counter() - start


def time_in_turn(floor: Job, peer: Job, batches: Sequence[Batch]) -> tuple[float, float]:
    """Run both jobs over all batches, turn by turn, and return the seconds of each.

    Who goes first changes from batch to batch, so that neither always finds the warmer cache.
    """
    seconds = {floor: 0.0, peer: 0.0}
    for index, batch in enumerate(batches):
        for job in (floor, peer) if index % 2 == 0 else (peer, floor):
            seconds[job] += seconds_of(job, batch)
    return seconds[floor], seconds[peer]


def compare(floor: Job, peer: Job, batches: Sequence[Batch], *, repeats: int) -> dict[str, Any]:
    """Check a peer's gradients on every batch, which also warms both up, and time it.

    Args:
        floor: The bare floor.
        peer: The peer.
        batches: What both are run on.
        repeats: How often each is timed over all batches.

    Returns:
        The median seconds of each over all batches, the median of their ratios, the seconds of
        every repeat (by which to tell a ratio from the noise), the largest relative error, and
        under ``error`` whether that is too large.
    """
    error = float(np.max([largest_relative_error(peer(batch), floor(batch)) for batch in batches]))
    seconds = [time_in_turn(floor, peer, batches) for _ in range(repeats)]
    return {
        "floor_seconds": statistics.median(by_floor for by_floor, _ in seconds),
        "peer_seconds": statistics.median(by_peer for _, by_peer in seconds),
        "ratio": statistics.median(by_peer / by_floor for by_floor, by_peer in seconds),
        "repeats": [{"floor": by_floor, "peer": by_peer} for by_floor, by_peer in seconds],
        "max_relative_error": error,
        "error": None if error <= LARGEST_ERROR else f"gradients differ by {error:.1e}",
    }


def describe(name: str) -> dict[str, str]:
    """Name the library that is measured, with the versions of all that it uses."""
    return {
        "peer": name,
        "version": version(name),
        "transformers": version("transformers"),
        "torch": torch.__version__,
    }


def measure(name: str, folder: Path, batches: Sequence[Batch], *, repeats: int) -> dict[str, Any]:
    """Measure one peer; its failure is a result, not ours.

    Args:
        name: One of ``PREPARE``.
        folder: The model, in Transformers' format.
        batches: What it is run on.
        repeats: How often it is timed over all batches.

    Returns:
        What ``compare`` returns, or an ``error`` alone if the peer raised one.
    """
    floor = prepare_floor(folder)
    floor(batches[0])  # a fault of the floor shows here and is not blamed on the peer
    try:
        return compare(floor, PREPARE[name](folder), batches, repeats=repeats)
    except Exception as error:  # noqa: BLE001  (anything may come out of a peer)
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", choices=sorted(PREPARE), required=True)
    parser.add_argument("--model", type=Path, required=True, help="a Transformers folder")
    parser.add_argument("--batches", type=Path, required=True, help="an .npz file of batches")
    parser.add_argument("--repeats", type=int, default=3, help="timed passes over all batches")
    options = parser.parse_args()
    if options.repeats < 1:
        parser.error("--repeats must be at least 1")
    return options


def main() -> None:
    """Measure the peer and print the result."""
    options = read_options()
    report: dict[str, Any] = describe(options.peer)
    with redirect_stdout(sys.stderr):
        batches = read_batches(options.batches)
        report |= measure(options.peer, options.model, batches, repeats=options.repeats)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
