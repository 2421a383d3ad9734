"""A flag that stays: at which step each tensor was first not finite, kept on the device."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backlight.models.distributed_weights import DTensor
from backlight.training.measuring.statistics import fused, has_norm


class FirstNonFinite:
    """Remembers the first step at which each of some tensors held NaN or infinity.

    A few fused operations a step, and no waiting for a device. A tensor whose 2-norm overflows
    counts as infinite. The tensors may become more.
    """

    def __init__(self) -> None:
        self._first: dict[torch.device, Tensor] = {}

    @torch.no_grad()
    def see(self, tensors: Sequence[Tensor | None], step: int) -> None:
        """Look at the tensors of one step.

        Args:
            tensors: In the same order at each step; None for one that is missing at this step.
            step: The step, from 1.
        """
        for (device, dtype), (places, present) in _groups(tensors).items():
            wide = torch.float32 if dtype.itemsize < 4 else dtype
            norms = torch.stack(list(fused._foreach_norm(present, 2, dtype=wide)))
            # A sum of norms is finite only if all are: one number is looked at, not one per tensor.
            if device.type == "cpu" and math.isfinite(norms.sum().item()):
                continue
            first = self._flags(device, len(tensors))
            index = torch.tensor(places, device=device)
            here = first[index]
            first[index] = torch.where((here == 0) & ~norms.isfinite(), step, here)

    def read(self, number: int) -> NDArray[np.int64]:
        """Return the first bad step of each tensor; this waits for the devices.

        Args:
            number: How many tensors there are.

        Returns:
            The steps, 0 for never.
        """
        total = np.zeros(number, dtype=np.int64)
        for first in self._first.values():
            steps = first.cpu().numpy()[:number]
            here = total[: len(steps)]
            total[: len(steps)] = np.where(
                (here == 0) | ((steps > 0) & (steps < here)), steps, here
            )
        return total

    def move(self, step: int, other: int) -> None:
        """Count what was seen at one step as seen at another."""
        for first in self._first.values():
            first[first == step] = other

    def reset(self) -> None:
        """Forget everything."""
        self._first.clear()

    def _flags(self, device: torch.device, number: int) -> Tensor:
        flags = self._first.get(device)
        if flags is None or len(flags) < number:
            fresh = torch.zeros(number, dtype=torch.int64, device=device)
            if flags is not None:
                fresh[: len(flags)] = flags
            self._first[device] = flags = fresh
        return flags


def _groups(
    tensors: Sequence[Tensor | None],
) -> dict[tuple[torch.device, torch.dtype], tuple[list[int], list[Tensor]]]:
    """Gather those tensors that can be looked at, with their places, by device and type."""
    groups: dict[tuple[torch.device, torch.dtype], tuple[list[int], list[Tensor]]] = {}
    for places in _kinds(tensors):
        present = [_local(cast("Tensor", tensors[place])) for place in places]
        if has_norm(present[0]):
            key = (present[0].device, present[0].dtype)
            whose, local = groups.setdefault(key, ([], []))
            whose += [place for place, t in zip(places, present, strict=True) if t.numel()]
            local += [tensor for tensor in present if tensor.numel()]
    return {key: group for key, group in groups.items() if group[0]}


def _kinds(tensors: Sequence[Tensor | None]) -> Iterable[list[int]]:
    """Return the places of tensors that are alike: at every step, what they are is asked once."""
    kinds: dict[tuple[Any, ...], list[int]] = {}
    for place, tensor in enumerate(tensors):
        if tensor is not None:
            kind = (type(tensor), tensor.layout, tensor.device, tensor.dtype)
            kinds.setdefault(kind, []).append(place)
    return kinds.values()


def _local(tensor: Tensor) -> Tensor:
    """Return what this process holds of a tensor, without waiting for others."""
    if isinstance(tensor, DTensor):
        tensor = tensor.to_local()
    if tensor.layout == torch.strided:
        return tensor
    return tensor._values() if tensor.is_sparse else tensor.values()
