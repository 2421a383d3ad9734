"""A model within some memory: as a whole if it fits, else block by block."""

import gc
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from backlight.capture.graph_size import GraphSize, graph_size
from backlight.errors import ConfigError
from backlight.models.blocks import Blocks
from backlight.models.devices import choose_device
from backlight.models.loading.passing import load_passing_subject
from backlight.models.loading.pretrained import read_tokenizer
from backlight.models.loading.stored import StoredModel, find_stored
from backlight.models.loading.subjects import load_subject, source_of
from backlight.models.memory import anonymous_memory, give_large_memory_back
from backlight.models.passing_blocks import PassingBlocks
from backlight.models.passing_weights import WeightBytes
from backlight.models.subject import Subject
from backlight.surveys.driver.options.memory import parse_size, size_in_words

Largest = Callable[[Any], tuple[int, int]]
"""Given the tokenizer, tells how many passages a batch has, and how many tokens each, at most."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a process will take, in bytes, by what takes it.

    Attributes:
        process: What it takes already.
        weights: What weights take at a time.
        graph: What the way back takes at a time, and the loss.
        kept: What is kept of one batch on its way through the blocks.
    """

    process: int
    weights: int
    graph: int
    kept: int = 0

    @property
    def all(self) -> int:
        """All of it."""
        return self.process + self.weights + self.graph + self.kept

    @property
    def words(self) -> str:
        """All of it, with its parts."""
        named = {
            "the process as it is": self.process,
            "weights": self.weights,
            "the graph of a batch and its loss": self.graph,
            "what is kept of a batch": self.kept,
        }
        parts = [f"{size_in_words(each)} {name}" for name, each in named.items() if each]
        return f"about {size_in_words(self.all)} ({', '.join(parts)})"


def load_within(options: Any, largest: Largest | None = None) -> tuple[Subject, dict[str, Any]]:
    """Load a model so that measuring it stays within ``--memory``.

    Args:
        options: Those of a survey, with ``memory``.
        largest: Of a text that the options do not cut: how large its batches are.

    Returns:
        The model, as a whole or with weights that come and go, and what the run's metadata say of
        that.

    Raises:
        ConfigError: If not even one block fits, or what is asked needs the whole model.
        ModelError: If the model cannot be loaded.
    """
    if choose_device(options.device).type != "cpu":
        raise ConfigError(
            "--memory bounds the memory of a process on the CPU: give --device cpu, or leave "
            "--memory out."
        )
    give_large_memory_back()
    limit, before = parse_size(options.memory), anonymous_memory()
    stored = find_stored(
        source_of(
            options.model_name,
            revision=options.revision,
            trust_remote_code=options.trust_remote_code,
        )
    )
    dtype = stored.inventory.dtype if options.dtype == "auto" else getattr(torch, options.dtype)
    weights = stored.inventory.num_numbers * dtype.itemsize
    need = Need(process=before, weights=weights, graph=0)
    batch = _largest(options, stored, largest)
    if need.all <= limit:
        subject = _whole(options)
        graph = graph_size(subject, _blocks_of(subject), *batch)
        need = replace(need, graph=graph.all + graph.head)
        if need.all <= limit:
            return subject, _told(options, "whole", need)
        del subject
        gc.collect()
    _refuse_whole(options, need)
    return _by_blocks(options, stored, dtype, batch, need)


def _largest(options: Any, stored: StoredModel, largest: Largest | None) -> tuple[int, int]:
    """Tell how many passages a batch has, and how many tokens each, at most."""
    if largest is None:
        return options.batch_size, options.max_length
    return largest(read_tokenizer(stored.source)[0])


def _by_blocks(
    options: Any, stored: StoredModel, dtype: torch.dtype, batch: tuple[int, int], whole: Need
) -> tuple[Subject, dict[str, Any]]:
    """Load a model whose weights come and go, if at least one block fits."""
    limit = parse_size(options.memory)
    subject, weights = load_passing_subject(
        stored, dtype=dtype, attn_implementation=options.attn_implementation
    )
    passing = subject.passing
    assert passing is not None
    num_passages, length = batch
    graph = graph_size(subject, passing, num_passages, length)
    kept = num_passages * length * _bytes_kept(subject, passing)
    need = _need(whole.process, weights, graph, kept)
    if need.all > limit:
        raise ConfigError(
            f"--memory {options.memory} is too little for {stored.source.name} even block by "
            f"block: {num_passages} x {length} tokens take {need.words}. Give more, or lower "
            f"--batch_size{' or --max_length' if hasattr(options, 'max_length') else ''}."
        )
    room = limit - need.all + need.kept
    told = _told(options, "block by block", need, whole_bytes=whole.all)
    return replace(subject, passing=replace(passing, group_bytes=room)), told


def _need(before: int, weights: WeightBytes, graph: GraphSize, kept: int) -> Need:
    # On the way back gradients take about as much as what was kept for them.
    graph_bytes = 2 * graph.block + graph.head
    return Need(
        process=before, weights=weights.outside + weights.block, graph=graph_bytes, kept=kept
    )


def _bytes_kept(subject: Subject, passing: PassingBlocks) -> int:
    """Compute how much is kept of a token if one site of every block is measured."""
    width = subject.sites["layers.0.resid.pre"].width or 0
    size = next(subject.model.parameters()).dtype.itemsize
    return size * width * (3 * len(passing.modules) + 2)


def _whole(options: Any) -> Subject:
    return load_subject(
        options.model_name,
        device=options.device,
        dtype=options.dtype,
        attn_implementation=options.attn_implementation,
        revision=options.revision,
        trust_remote_code=options.trust_remote_code,
    )


def _blocks_of(subject: Subject) -> PassingBlocks:
    blocks = Blocks.found_in(subject)
    modules = () if blocks is None else blocks.modules
    return PassingBlocks(modules=modules, num_members=None)


def _told(options: Any, way: str, need: Need, **more: int) -> dict[str, Any]:
    """Say what is done, in the log and for the run's metadata."""
    _logger.info(
        "%s is measured %s, which takes %s; --memory allows %s.",
        options.model_name,
        "as a whole" if way == "whole" else way,
        need.words,
        options.memory,
    )
    told = {"allowed": options.memory, "way": way, "expected_bytes": need.all, **more}
    return {"memory": told}


def _refuse_whole(options: Any, need: Need) -> None:
    """Refuse what needs the graph of the whole model, before anything more is loaded."""
    for asked, remedy in _asked_of_the_whole(options):
        raise ConfigError(
            f"--memory {options.memory} is too little for the whole model, which takes "
            f"{need.words}, and {asked} cannot be measured block by block. {remedy}"
        )


def _asked_of_the_whole(options: Any) -> Iterator[tuple[str, str]]:
    more = "or give more --memory."
    if getattr(options, "backward", "true") != "true":
        yield f"--backward {options.backward}", f"Use --backward true, {more}"
    if getattr(options, "path", None) is not None:
        yield "--path", f"Leave --path out, {more}"
    if getattr(options, "aggregate_by", "") == "hessian_diagonal":
        yield "--aggregate_by hessian_diagonal", f"Use fisher, {more}"
    if getattr(options, "check", False):
        yield "--check", f"Run `backlight check` where the model fits, {more}"
