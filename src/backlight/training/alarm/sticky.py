"""A flag that stays: at which step each tensor was first not finite, kept on the device."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed.tensor import DTensor

from backlight.training.measuring.statistics import fused

__all__ = ["FirstNonFinite"]


class FirstNonFinite:
    """Remembers the first step at which each of some tensors held NaN or infinity.

    A few fused operations a step, and no waiting for a device. A tensor whose 2-norm overflows
    counts as infinite.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._first: dict[torch.device, Tensor] = {}

    @torch.no_grad()
    def see(self, tensors: Sequence[Tensor | None], step: int) -> None:
        """Look at the tensors of one step.

        Args:
            tensors: As many as there are; None for one that is missing at this step.
            step: The step, from 1.
        """
        groups: dict[tuple[torch.device, torch.dtype], list[int]] = {}
        local = [None if tensor is None else _local(tensor) for tensor in tensors]
        for place, tensor in enumerate(local):
            if tensor is not None and tensor.numel():
                groups.setdefault((tensor.device, tensor.dtype), []).append(place)
        for (device, dtype), places in groups.items():
            wide = torch.float32 if dtype.itemsize < 4 else dtype
            present = [tensor for place in places if (tensor := local[place]) is not None]
            norms = torch.stack(list(fused._foreach_norm(present, 2, dtype=wide)))
            if device.type == "cpu" and math.isfinite(norms.sum().item()):
                continue
            if device not in self._first:
                self._first[device] = torch.zeros(self._number, dtype=torch.int64, device=device)
            first = self._first[device]
            index = torch.tensor(places, device=device)
            here = first[index]
            first[index] = torch.where((here == 0) & ~norms.isfinite(), step, here)

    def read(self) -> NDArray[np.int64]:
        """Tell the first bad step of each tensor, 0 for never; this waits for the devices."""
        total = np.zeros(self._number, dtype=np.int64)
        for first in self._first.values():
            steps = first.cpu().numpy()
            total = np.where((total == 0) | ((steps > 0) & (steps < total)), steps, total)
        return total

    def reset(self) -> None:
        """Forget everything."""
        self._first.clear()


def _local(tensor: Tensor) -> Tensor:
    """Give what this process holds of a tensor, without waiting for others."""
    if isinstance(tensor, DTensor):
        tensor = tensor.to_local()
    return tensor._values() if tensor.is_sparse else tensor
