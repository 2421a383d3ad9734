"""Dictionaries on their way to disk: each file is either whole or not there."""

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from backlight.dictionaries.dictionary import Dictionary, LinearEncoder
from backlight.errors import StorageError, quoted

__all__ = ["encoder_bias", "write_json", "write_safetensors", "write_state"]


def encoder_bias(
    dictionary: Dictionary, encoder: LinearEncoder, *, subtracts: bool
) -> Float[Tensor, " features"]:
    """Compute the encoder's bias for a library that knows one bias of the output alone.

    Args:
        dictionary: The dictionary.
        encoder: Its encoder.
        subtracts: That library subtracts the output's bias from the input.

    Returns:
        The bias with which the features stay the same.
    """
    there = dictionary.bias if subtracts else torch.zeros_like(dictionary.bias)
    here = torch.zeros_like(there) if encoder.input_bias is None else encoder.input_bias
    return (
        encoder.bias if torch.equal(here, there) else encoder.bias + encoder.rows @ (there - here)
    )


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON object.

    Args:
        path: The file; its folder is made if needed.
        values: What to write.

    Raises:
        StorageError: If it cannot be written.
    """
    text = json.dumps(values, indent=2) + "\n"
    _replace(path, lambda scratch: scratch.write_text(text, encoding="utf-8"))


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], *, dtype: torch.dtype) -> None:
    """Write tensors as a ``.safetensors`` file.

    Args:
        path: The file; its folder is made if needed.
        tensors: What to write.
        dtype: The number format to write them in.

    Raises:
        StorageError: If it cannot be written.
    """
    ready = _ready(tensors, dtype)
    _replace(path, lambda scratch: save_file(ready, scratch))


def write_state(path: Path, state: Mapping[str, Tensor], *, dtype: torch.dtype) -> None:
    """Write tensors as a ``.pt`` file; ``dtype`` is not for the numbers among them.

    Args:
        path: The file; its folder is made if needed.
        state: What to write.
        dtype: The number format to write vectors and matrices in.

    Raises:
        StorageError: If it cannot be written.
    """
    numbers = {name: value for name, value in state.items() if value.ndim == 0}
    arrays = _ready({name: value for name, value in state.items() if value.ndim > 0}, dtype)
    _replace(path, lambda scratch: torch.save({**arrays, **numbers}, scratch))


def _ready(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    return {
        name: value.detach().to(device="cpu", dtype=dtype).contiguous()
        for name, value in tensors.items()
    }


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.touch()
        mode = scratch.stat().st_mode
        write(scratch)
        scratch.chmod(mode)  # safetensors makes files that nobody else may read
        scratch.replace(path)
    except (OSError, RuntimeError, SafetensorError) as error:
        with suppress(OSError):  # its folder may not be there either
            scratch.unlink()
        reason = getattr(error, "strerror", None) or str(error)
        raise StorageError(f"{quoted(path)} cannot be written: {reason}.") from error
