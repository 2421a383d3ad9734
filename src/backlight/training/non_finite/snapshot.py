"""What is needed to see the first NaN again: weights and inputs, and which step they are of."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from backlight.atomic import replacing
from backlight.runs.files import write_file
from backlight.training.measuring.statistics import dense
from backlight.training.non_finite.batches import Batch


def save_snapshot(
    directory: Path, model: nn.Module, batch: Batch | None, facts: Mapping[str, Any]
) -> str:
    """Save a model's weights and the batch, as ``snapshot_step_N.safetensors`` and ``.json``.

    The tensors are called ``weights/NAME`` (parameters and buffers), ``inputs/PLACE`` and
    ``random/DEVICE``; what is no tensor is described in the JSON.

    Args:
        directory: The run directory.
        model: The model, as it is now.
        batch: The batch; None if unknown.
        facts: What else the JSON says; ``taken_at_step`` gives the number in the names.

    Returns:
        The name of the JSON file; it ends in another number if a snapshot of this step, or
        somebody else's file, is there already.

    Raises:
        OSError: If there is no room.
    """
    name = _free_name(directory, f"snapshot_step_{facts['taken_at_step']:06d}")
    held = chain(model.named_parameters(), model.named_buffers())
    tensors = {f"weights/{path}": tensor for path, tensor in held}
    others: dict[str, str] = {}
    if batch is not None:
        tensors |= {f"random/{device}": state for device, state in batch.random.items()}
        for path, value in _leaves("inputs", (*batch.inputs.arguments, batch.inputs.keywords)):
            if isinstance(value, Tensor):
                tensors[path] = value
            else:
                others[path] = _described(value)
    left_out = _save(directory / f"{name}.safetensors", tensors)
    note = {
        **facts,
        "tensors": f"{name}.safetensors",
        "training": batch.training if batch else model.training,
        "autocast": {
            kind: str(dtype) if enabled else None
            for kind, (enabled, dtype) in (batch.autocast if batch else {}).items()
        },
        "inputs_that_are_no_tensors": others,
        "left_out": left_out,
    }
    write_file(directory / f"{name}.json", (json.dumps(note, indent=1) + "\n").encode())
    return f"{name}.json"


def _free_name(directory: Path, stem: str) -> str:
    names = (stem if number == 1 else f"{stem}_{number}" for number in count(1))
    endings = (".safetensors", ".json")
    return next(
        name
        for name in names
        if not any(os.path.lexists(directory / f"{name}{ending}") for ending in endings)
    )


def _save(path: Path, tensors: Mapping[str, Tensor]) -> list[str]:
    """Save tensors, and name those that the format cannot hold."""
    # Copies one by one, since the format knows no shared and no strided memory.
    plain = {name: _plain(tensor) for name, tensor in tensors.items() if not tensor.is_meta}
    with replacing(path) as scratch:
        save_file(plain, scratch)
    return [name for name in tensors if name not in plain]


def _plain(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.is_complex():
        tensor = torch.view_as_real(dense(tensor).resolve_conj())
    return dense(tensor).cpu().clone().contiguous()


def _described(value: Any) -> str:
    """Describe what an input is, without calling what may be somebody else's ``__repr__``."""
    if value is None or type(value) in (bool, int, float, complex, str):
        return str(value)[:200]
    return type(value).__name__


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, inner in cast("Mapping[Any, Any]", value).items():
            yield from _leaves(f"{path}/{name}", inner)
    elif isinstance(value, (list, tuple)):
        for place, inner in enumerate(cast("Sequence[Any]", value)):
            yield from _leaves(f"{path}/{place}", inner)
    else:
        yield path, value
