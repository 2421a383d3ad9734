"""Dictionaries on their way to disk: each file is either whole or not there."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import save
from torch import Tensor

from backlight.atomic import write_whole
from backlight.dictionaries.dictionary import Dictionary, LinearEncoder
from backlight.errors import StorageError, quoted


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
    if torch.equal(here, there):
        return encoder.bias
    # E (x - here) + bias = E (x - there) + (bias + E (there - here))
    return encoder.bias + encoder.rows @ (there - here)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON object.

    Args:
        path: The file; its folder is made if needed.
        values: What to write.

    Raises:
        StorageError: If it cannot be written.
    """
    _write(path, (json.dumps(values, indent=2) + "\n").encode())


def write_tensors(path: Path, tensors: Mapping[str, Tensor], *, dtype: torch.dtype) -> None:
    """Write tensors as a ``.safetensors`` or ``.pt`` file; equal tensors give equal bytes.

    Args:
        path: The file; its folder is made if needed.
        tensors: What to write.
        dtype: The number format to write vectors and matrices in; single numbers keep their own.

    Raises:
        StorageError: If it cannot be written.
    """
    ready = {
        name: value.detach().to("cpu", dtype if value.ndim else value.dtype).contiguous()
        for name, value in tensors.items()
    }
    if path.suffix == ".safetensors":
        _write(path, save(ready))
        return
    # torch names the folder in its archive after the file that it writes to: memory has no name.
    buffer = io.BytesIO()
    torch.save(ready, buffer)
    _write(path, buffer.getvalue())


def _write(path: Path, content: bytes) -> None:
    try:
        write_whole(path, content)
    except OSError as error:
        raise StorageError(f"{quoted(path)} cannot be written: {error.strerror}.") from error
