"""How many passages are measured at once where ``--batch_size auto`` leaves it to the device."""

import gc
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from backlight.capture.record import record
from backlight.data.batches import Batch, Passages
from backlight.models.sites import Site, layer_of, parse_layers
from backlight.models.subject import Subject
from backlight.surveys.driver.material.remembered_sizes import Remembered, key_of, recall, remember
from backlight.surveys.driver.options.samples import AUTO
from backlight.surveys.driver.sites import survey_sites
from backlight.surveys.driver.words.sentences import count

LEAST_GAIN = 1.05
"""How many times as many tokens per second twice as many passages must give, to be tried on."""

_LOOKED_AT = 4096  # passages
_MOST_ON_CPU, _MOST = 32, 256  # passages; no error tells that memory of the system runs out
_ENOUGH, _MOST_REPEATS = 0.3, 5  # seconds that one size is timed for, and passes
_logger = logging.getLogger(__name__)


def with_batch_size(
    options: Any, subject: Subject, passages: Passages, sites: Sequence[Site] | None = None
) -> tuple[Any, dict[str, Any]]:
    """Choose the batch size, if that is left to the device: remembered, or else measured now.

    Args:
        options: The options of a survey.
        subject: The model.
        passages: The text.
        sites: Where gradients are taken meanwhile; None for ``probed_sites``.

    Returns:
        The options with a number, and what the run's metadata say of where it comes from (tokens
        per second by the sizes that were tried); nothing if a number was asked for.
    """
    if options.batch_size != AUTO:
        return options, {}
    start = time.perf_counter()
    sites = probed_sites(options, subject) if sites is None else sites
    lengths = passages.lengths[:_LOOKED_AT]
    sizes = list(_sizes(len(lengths), subject.device))
    key = key_of(subject, sites=sites, lengths=lengths, largest=sizes[-1])
    kept = recall(key)
    chosen = kept or _measured(key, subject, passages, sites, sizes)
    told = ", ".join(f"{size}: {speed:.4g}" for size, speed in chosen.tokens_per_second.items())
    _logger.info(
        "--batch_size auto: %s in a batch, %s (tokens per second of %s).",
        count(chosen.batch_size, "passage"),
        "as an earlier run found" if kept else f"found in {time.perf_counter() - start:.1f} s",
        told,
    )
    origin = {
        "asked": AUTO,
        "remembered": kept is not None,
        "tokens_per_second": {str(size): v for size, v in chosen.tokens_per_second.items()},
    }
    return options.model_copy(update={"batch_size": chosen.batch_size}), {"batch_size": origin}


def choose_size(speeds: Iterable[tuple[int, float]]) -> tuple[int, dict[int, float]]:
    """Choose a batch size: the last that was worth growing to.

    >>> choose_size([(1, 100.0), (2, 180.0), (4, 185.0), (8, 400.0)])
    (2, {1: 100.0, 2: 180.0, 4: 185.0})

    Args:
        speeds: Sizes, growing, and the tokens per second of each; the next is asked for only if
            the last was at least 5 % faster than the one before. They end where memory does.

    Returns:
        The size, and the tokens per second of all that were tried.
    """
    seen, chosen = dict[int, float](), 0
    for size, speed in speeds:
        seen[size] = speed
        if chosen and speed < LEAST_GAIN * seen[chosen]:
            break
        chosen = size
    return chosen, seen


def probed_sites(options: Any, subject: Subject) -> Sequence[Site]:
    """Find where gradients are taken while sizes are tried.

    Args:
        options: The options of a survey of a corpus.
        subject: The model.

    Returns:
        The sites that the options name; where they name none, the first of each of their layers.
    """
    site, layers = getattr(options, "site", None), getattr(options, "layers", "all")
    if site is not None:
        return survey_sites(subject, site, layers)
    first = dict[int | None, Site]()
    for each in subject.sites.values():
        first.setdefault(layer_of(each.name), each)
    return [first[layer] for layer in parse_layers(layers, subject.num_layers)]


def _sizes(num_passages: int, device: torch.device) -> Iterator[int]:
    """List the powers of two up to the number of passages, and to what is sensible."""
    size, most = 1, min(num_passages, _MOST_ON_CPU if device.type == "cpu" else _MOST)
    while size <= most:
        yield size
        size *= 2


def _measured(
    key: str, subject: Subject, passages: Passages, sites: Sequence[Site], sizes: Sequence[int]
) -> Remembered:
    chosen, seen = choose_size(_speeds(subject, passages, sites, sizes))
    found = Remembered(key=key, batch_size=chosen, tokens_per_second=seen)
    remember(found)
    return found


def _speeds(
    subject: Subject, passages: Passages, sites: Sequence[Site], sizes: Sequence[int]
) -> Iterator[tuple[int, float]]:
    """Time sizes one after another, on passages of middle length; end where memory does."""
    by_length = np.argsort(passages.lengths[:_LOOKED_AT], kind="stable")
    is_cpu = subject.device.type == "cpu"
    for size in sizes:
        middle = by_length[(len(by_length) - size) // 2 :][:size].tolist()
        try:
            # What fits must also hold the longest passages; on the CPU this only warms up.
            if size == 1 or not is_cpu:
                _seconds(subject, passages, by_length[-size:].tolist(), sites)
            seconds = _least_seconds(subject, passages, middle, sites)
        except torch.OutOfMemoryError:
            if size == 1:
                raise
            break
        yield size, int(passages.lengths[middle].sum()) / seconds
    _give_back(subject.device)


def _least_seconds(
    subject: Subject, passages: Passages, members: Sequence[int], sites: Sequence[Site]
) -> float:
    seconds = [_seconds(subject, passages, members, sites)]
    while sum(seconds) < _ENOUGH and len(seconds) < _MOST_REPEATS:
        seconds.append(_seconds(subject, passages, members, sites))
    return min(seconds)


def _seconds(
    subject: Subject, passages: Passages, members: Sequence[int], sites: Sequence[Site]
) -> float:
    """Time one forward and backward pass, until its numbers are there."""
    batch = Batch.of(passages, members).to(subject.device)
    start = time.perf_counter()
    tape = record(subject, batch, sites)
    for gradient in tape.gradients.values():
        gradient.sum().item()  # waits for the device
    return time.perf_counter() - start


def _give_back(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
