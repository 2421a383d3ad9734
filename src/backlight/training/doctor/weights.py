"""Weights that are unlike those of other blocks, or too large from the start."""

import re
from collections.abc import Iterator

import numpy as np

from backlight.foreign.text import brief
from backlight.training.doctor.findings import Finding, finding
from backlight.training.doctor.readings import Readings, place_of
from backlight.training.doctor.robust import middle

_APART = np.log(8.0)
_LARGE_GAIN = 3.0
_SURPRISED = 1.5  # times what guessing evenly costs
_QUERIES = re.compile(
    r"(^|[._])(q|k|q_proj|k_proj|query|key|c_attn|qkv|qkv_proj|in_proj|in_proj_weight|Wqkv|W_pack|"
    r"query_key_value|to_q|to_k|wq|wk)([._]|$)"
)


def find_bad_weights(readings: Readings) -> Iterator[Finding]:
    """Find weights whose size is far from their siblings', and a first guess that is too sure.

    Args:
        readings: What was recorded.

    Yields:
        Findings about the whole model, then about single blocks.
    """
    if not len(readings.steps) or not readings.has("weight_norm"):
        return
    yield from _too_sure(readings)
    apart = readings.against_siblings(readings.weights)
    for sign in (1, -1):
        for group, start, end in readings.blocks_where(sign * apart > _APART):
            names = [readings.history.parameters[column].name for column in group]
            scores = all(_QUERIES.search(name.removesuffix(".weight")) for name in names)
            name = "layer_weights_large" if sign > 0 else "layer_weights_small"
            factor = float(np.exp(sign * middle(apart[start : start + 3, group])))
            yield finding(
                "saturated_softmax" if scores and sign > 0 else name,
                evidence=f"The norm of {' and '.join(map(brief, names[:3]))} is {factor:.3g} times "
                f"{'larger' if sign > 0 else 'smaller'} than that of the same matrices in the "
                f"blocks around it{_gradient(readings, group, start)}.",
                since_step=int(readings.steps[start]),
                until_step=readings.until(end),
                place=place_of(readings.history, group),
            )


def _gradient(readings: Readings, group: list[int], row: int) -> str:
    apart = middle(readings.against_siblings(readings.gradients)[row : row + 3, group])
    if not np.isfinite(apart):
        return ""
    factor = float(np.exp(abs(apart)))
    return f", and its gradient {factor:.3g} times {'larger' if apart > 0 else 'smaller'}"


def _too_sure(readings: Readings) -> Iterator[Finding]:
    """Compare the first loss with what guessing evenly among all tokens costs."""
    history = readings.history
    size = readings.vocabulary
    if size is None or not len(history.losses) or int(history.loss_steps[0]) > 3:
        return
    loss, even = float(history.losses[0]), float(np.log(size))
    gain = float(middle(readings.gains(0)))
    if not loss > _SURPRISED * even + 1 or not gain > _LARGE_GAIN:
        return
    yield finding(
        "large_initialisation",
        evidence=f"The first loss is {loss:.3g}, and guessing evenly among {size:,} tokens costs "
        f"{even:.3g}; a linear map multiplies a signal by about {gain:.2g} (median).",
        since_step=int(readings.steps[0]),
    )
