"""In which number format a backward pass is taken apart, and in which it is summed."""

import torch
from jaxtyping import Float
from torch import Tensor


def at_least_single(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Raise half precision to float32, as norms and softmax do; leave float32 and float64."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def wide(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Raise numbers to float64 for summing, where the device has it (mps has not)."""
    return values if values.device.type == "mps" else values.double()
