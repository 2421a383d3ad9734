"""Statistics of many tensors at once: fused, in pieces that stay in cache, summed in float64."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backlight.models.distributed_weights import DTensor

NEAR_ZERO = 1e-7
"""A gradient below this, in absolute value, counts as near zero."""

_PIECE = 2**18
"""Numbers in a piece: a megabyte in float32, and few enough to be counted exactly by a norm."""

_BATCH = 2**24
"""Numbers that are worked on at once where there is no cache to stay in."""

_Numbers = NDArray[np.float64]

fused = cast("Any", torch)  # the operations on lists of tensors have private names


@torch.no_grad()
def gradient_statistics(
    tensors: Sequence[Tensor], *, near_zero: float = NEAR_ZERO
) -> dict[str, _Numbers]:
    """Describe each tensor by some numbers; the device is waited for once per group of pieces.

    Args:
        tensors: Gradients, on any devices, of any float types; those with fewer than 32 bits are
            widened.
        near_zero: Which absolute value is the least that is not near zero.

    Returns:
        By name, as in ``STATISTICS`` of the log, one number for each tensor: mean, population
        standard deviation, largest absolute value and 2-norm, as they are (NaN where an entry is);
        the shares near zero and exactly zero; how many entries are NaN and infinite; and the
        smallest absolute value besides zero, of those with zeros and other finite entries (NaN for
        others; of a large tensor, only the pieces that hold zeros are looked through).
    """
    sizes: list[int] = []
    owners: list[int] = []
    measured = [np.zeros((6, 0))]
    counts = np.zeros((2, len(tensors)))
    smallest = np.full(len(tensors), np.inf)
    for places, pieces in _batches(tensors):
        owners += places
        sizes += [piece.numel() for piece in pieces]
        table = _measure(pieces, near_zero)
        for column in np.flatnonzero(~np.isfinite(table[3])):
            nan, inf, table[4, column], table[5, column] = _count(pieces[column], near_zero)
            counts[:, places[column]] += nan, inf
        some = np.flatnonzero((table[5] > 0) & np.isfinite(table[3]))
        np.minimum.at(smallest, np.array(places)[some], _smallest([pieces[n] for n in some]))
        measured.append(table)
    table = np.concatenate(measured, axis=1)
    joined = _join(table, np.array(sizes, float), np.array(owners, np.int64), counts)
    return {**joined, "smallest": np.where(np.isfinite(smallest), smallest, np.nan)}


@torch.no_grad()
def norms(tensors: Sequence[Tensor]) -> _Numbers:
    """Measure the 2-norm of each tensor.

    Args:
        tensors: On any devices, of any float types.

    Returns:
        One number for each.
    """
    squares = np.zeros(len(tensors))
    for places, pieces in _batches(tensors):
        np.add.at(squares, places, _norm(pieces).cpu().double().numpy() ** 2)
    return np.sqrt(squares)


def dense(tensor: Tensor) -> Tensor:
    """Return the whole of a tensor that is sparse, or spread over devices."""
    if isinstance(tensor, DTensor):
        tensor = tensor.full_tensor()
    return tensor.to_dense() if tensor.layout != torch.strided else tensor


def has_norm(tensor: Tensor) -> bool:
    """Check whether a tensor holds real numbers that can be measured.

    Numbers of one byte are a part of something else (scales, blocks) that only its owner knows.

    Returns:
        Whether it does.
    """
    return tensor.is_floating_point() and tensor.dtype.itemsize > 1 and not tensor.is_meta


def _batches(tensors: Sequence[Tensor]) -> Iterator[tuple[list[int], list[Tensor]]]:
    """Cut tensors into flat pieces, and gather pieces of one device and type."""
    places: list[int] = []
    pieces: list[Tensor] = []
    held = 0
    for place, tensor in enumerate(tensors):
        flat = dense(tensor).reshape(-1)
        size = flat.numel()
        limit = _PIECE if flat.device.type == "cpu" else _BATCH
        alike = not pieces or (pieces[0].device, pieces[0].dtype) == (flat.device, flat.dtype)
        for piece in flat.split(_PIECE) if size > _PIECE else [flat] if size else []:
            number = piece.numel()
            if pieces and (not alike or held + number > limit):
                yield places, _widened(pieces)
                places, pieces, held, alike = [], [], 0, True
            places.append(place)
            pieces.append(piece)
            held += number
    if pieces:
        yield places, _widened(pieces)


def _widened(pieces: list[Tensor]) -> list[Tensor]:
    return pieces if pieces[0].dtype.itemsize >= 4 else [piece.float() for piece in pieces]


def _measure(pieces: list[Tensor], near_zero: float) -> _Numbers:
    """Return, for each piece: mean, squared deviations, squares, largest, near-zero and zero."""
    # Each statistic is a norm or a sum over a piece, computed for all pieces by fused operations.
    # Deviations are taken from the mean of the piece: mean(x^2) - mean(x)^2 would cancel. Entries
    # are counted by the squared norm of zeros and ones, which rounds to their number in float32
    # for as few as there are in a piece.
    sizes = pieces[0].new_tensor([piece.numel() for piece in pieces])
    means = torch.stack([piece.sum() for piece in pieces]) / sizes
    scratch = list(fused._foreach_sub(pieces, list(means.unbind())))
    deviations = _norm(scratch)
    fused._foreach_copy_(scratch, pieces)
    fused._foreach_sign_(scratch)
    nonzero = _norm(scratch)  # of zeros and ones: its square counts the ones
    fused._foreach_copy_(scratch, pieces)
    fused._foreach_abs_(scratch)
    largest = torch.stack(list(fused._foreach_max(scratch)))
    fused._foreach_sub_(scratch, near_zero)
    fused._foreach_sign_(scratch)
    fused._foreach_clamp_max_(scratch, 0.0)
    near = _norm(scratch)
    rows = [means, deviations, _norm(pieces), largest, near, nonzero]
    table = torch.stack(rows).cpu().double().numpy()
    table[[1, 2, 4, 5]] **= 2
    table[4] = table[4].round()
    table[5] = [piece.numel() for piece in pieces] - table[5].round()
    return table


def _norm(pieces: list[Tensor]) -> Tensor:
    return torch.stack(list(fused._foreach_norm(pieces)))


def _count(piece: Tensor, near_zero: float) -> tuple[float, float, float, float]:
    """Count what is NaN, infinite, near zero, and zero, in a piece that is not all finite."""
    parts = (piece.isnan(), piece.isinf(), piece.abs() < near_zero, piece == 0)
    nan, inf, near, zero = (float(part.sum().item()) for part in parts)
    return nan, inf, near, zero


def _smallest(pieces: list[Tensor]) -> _Numbers:
    """Return the smallest absolute value besides zero of each piece, infinity without one."""
    if not pieces:
        return np.zeros(0)
    sizes = (piece.abs().masked_fill_(piece == 0, torch.inf).amin() for piece in pieces)
    return torch.stack(list(sizes)).cpu().double().numpy()


def _join(
    table: _Numbers, sizes: _Numbers, owners: NDArray[np.int64], counts: _Numbers
) -> dict[str, _Numbers]:
    """Put the pieces of each tensor together."""

    def total(values: _Numbers) -> _Numbers:
        return np.bincount(owners, weights=values, minlength=counts.shape[1]).astype(np.float64)

    means, deviations, squares, largest, near, zero = table
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        size = np.maximum(total(sizes), 1)
        mean = total(means * sizes) / size
        # Chan, Golub and LeVeque (1979): within the pieces, and between their means.
        apart = total(deviations + sizes * (means - mean[owners]) ** 2) / size
        maximum = np.zeros(counts.shape[1])
        np.maximum.at(maximum, owners, largest)
        return {
            "mean": mean,
            "std": np.sqrt(apart),
            "max_abs": maximum,
            "norm": np.sqrt(total(squares)),
            "near_zero": total(near) / size,
            "zero": total(zero) / size,
            "num_nan": counts[0],
            "num_inf": counts[1],
        }
