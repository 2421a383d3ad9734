"""Sequences of tokens made of random numbers, and statistics that have seen them in batches."""

import numpy as np
import torch


def sequences(lengths, width=6, seed=0):
    """Draw tokens that share a shift within their sequence, ``[length, width]`` each."""
    random = np.random.default_rng(seed)
    return [
        0.3 + random.normal(0, 0.5, width) + random.normal(0, 1, (length, width))
        for length in lengths
    ]


def padded(rows, *, dtype=None, pads=0.0):
    """Put sequences into one tensor, and mark which of its places are tokens."""
    shape = len(rows), max(map(len, rows)), rows[0].shape[1]
    values = torch.full(shape, pads, dtype=dtype or torch.from_numpy(rows[0]).dtype)
    valid = torch.zeros(shape[:2], dtype=torch.bool)
    for index, row in enumerate(rows):
        values[index, : len(row)] = torch.from_numpy(row)
        valid[index, : len(row)] = True
    return values, valid


def fed(make, rows, batch_size, order=None, **options):
    """Make a statistic of the width of the sequences and show them to it, some at a time.

    Args:
        make: Makes the statistic from its width.
        rows: The sequences; the number of each is its passage.
        batch_size: How many are shown at a time.
        order: In which order; as they are if not given.
        **options: Those of ``padded``.
    """
    statistic, order = make(rows[0].shape[1]), list(range(len(rows)) if order is None else order)
    for start in range(0, len(order), batch_size):
        members = order[start : start + batch_size]
        values, valid = padded([rows[member] for member in members], **options)
        statistic.update(values, valid=valid, passages=members)
    return statistic
