"""The model under the light: what is run, what can be tapped, and how its tokens are read."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from backlight.errors import ModelError, UnsupportedSiteError
from backlight.models.lending import Lent, device_of
from backlight.models.native import Native
from backlight.models.passing_blocks import PassingBlocks
from backlight.models.sites import Site, Tap, layer_of
from backlight.models.unknown.contract import prove_contract
from backlight.models.unknown.rows import Found
from backlight.models.wiring.families import Wiring
from backlight.models.wiring.head import Head
from backlight.models.wiring.norm_form import NormForm


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionCall:
    """What an attention module hands to the attention function.

    Attributes:
        module: The module.
        query: ``[batch, heads, positions, head_width]``, after rotary.
        key: The same for key-value heads, before grouped heads are repeated.
        value: Likewise.
        scale: What the products of query and key are multiplied by.
        cap: The soft cap c of the scores, c tanh(score / c), None without.
        window: How many tokens back a query sees, itself included; None for all.
        mask: What may be seen, true or 0 where it may; None if that is causality and the window.
        sinks: A score for each head that takes its share of the softmax and gives nothing; None
            without.
    """

    module: nn.Module
    query: Tensor
    key: Tensor
    value: Tensor
    scale: float
    cap: float | None = None
    window: int | None = None
    mask: Tensor | None = None
    sinks: Tensor | None = None


AttentionTap = Callable[[AttentionCall], tuple[Tensor, Tensor, Tensor]]
"""Is shown what attends, and says what takes the place of its q, k and v."""


@runtime_checkable
class Tokenizer(Protocol):
    """What backlight asks of a tokenizer; any Transformers tokenizer has it."""

    def __call__(self, text: str, *, truncation: bool, max_length: int) -> Mapping[str, Any]:
        """Turn text into ``input_ids``, at most ``max_length`` of them, without pads."""
        ...

    def decode(self, token_ids: Sequence[int]) -> str:
        """Turn tokens back into text."""
        ...


def _no_attention_tap(callback: AttentionTap) -> AbstractContextManager[None]:
    del callback
    raise UnsupportedSiteError(
        "The attention of this model does not go through Transformers' attention interface, so "
        "attn.q, attn.k and attn.v cannot be tapped; attn.z, attn.in and attn.out can."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A causal language model with its sites.

    Attributes:
        name: What the user called it.
        model: The whole model, as its owner has it; it is frozen and in evaluation mode only while
            a pass runs (``backlight.models.lending``).
        tokenizer: Its tokenizer.
        forward: From token ids ``[batch, positions]`` to what ``head`` reads, or to the logits if
            ``head`` is None. Sequences are padded on the right and no mask is given: in a causal
            model what stands to the right of a token cannot reach it.
        sites: All named sites, in the order in which their tensors pass.
        num_layers: How many blocks there are; for modules without an entry in the table, how many
            numbers their paths have (0 if none).
        wiring: How the blocks are wired; None if that is not known.
        max_positions: The longest sequence it can read, None if positions have no end.
        head: The language-model head, None if it is only known as part of ``forward``.
        tap_attention: Shows q, k and v to a callback for as long as the context lasts.
        facts: What a report should say of it: architecture, number format, attention kernel, ...
        norms: What the norms of the stream compute, by the paths of their modules, where that was
            fitted; empty for a model of the table, whose entry says it.
        native: What the model's own library computes of it, to hold it against; None if it is of
            no library.
        passing: Its blocks, if it is run one block at a time because their weights are in memory
            only then; None of a model that is there as a whole.

    Example:
        A subject comes from ``load_subject``, ``subject_from_transformers`` or
        ``subject_from_module``; its sites are what can be asked for.

        >>> import backlight
        >>> from torch import nn
        >>> class Letters:
        ...     def __call__(self, text, *, truncation, max_length):
        ...         return {"input_ids": [ord(letter) - 97 for letter in text[:max_length]]}
        ...
        ...     def decode(self, token_ids):
        ...         return "".join(chr(token + 97) for token in token_ids)
        >>> model = nn.Sequential(nn.Embedding(26, 8), nn.Linear(8, 8), nn.Linear(8, 26))
        >>> subject = backlight.subject_from_module(model, Letters(), name="letters")
        >>> list(subject.sites), subject.device
        (['0', '1', '2'], device(type='cpu'))
    """

    name: str
    model: nn.Module
    tokenizer: Tokenizer
    forward: Callable[[Tensor], Tensor]
    sites: Mapping[str, Site]
    num_layers: int
    wiring: Wiring | None = None
    max_positions: int | None = None
    head: Head | None = None
    tap_attention: Callable[[AttentionTap], AbstractContextManager[None]] = _no_attention_tap
    facts: Mapping[str, str] = field(default_factory=dict[str, str])
    native: Native | None = None
    norms: Mapping[str, NormForm] = field(default_factory=dict[str, NormForm])
    passing: PassingBlocks | None = None

    def __post_init__(self) -> None:
        # Whoever runs the model borrows it; a pass of which more is asked has done so already.
        if not isinstance(self.forward, Lent):
            object.__setattr__(self, "forward", Lent(self.model, self.forward))

    @property
    def device(self) -> torch.device:
        """Where the model's parameters are."""
        return device_of(self.model)

    @property
    def note(self) -> dict[str, str]:
        """What every report must say of it, as metadata; empty if there is nothing."""
        return {name: text for name, text in self.facts.items() if name == "note"}


def check_tokenizer(tokenizer: object) -> None:
    """Refuse what cannot turn text into tokens and back.

    Args:
        tokenizer: What was handed over as a tokenizer.

    Raises:
        ModelError: If it cannot be called, or has no ``decode``.
    """
    if not isinstance(tokenizer, Tokenizer):
        raise ModelError(
            "A tokenizer is needed, something that is called with text and decodes token ids (such "
            f"as AutoTokenizer.from_pretrained gives), not a {type(tokenizer).__name__}."
        )


def plain_subject(
    model: nn.Module,
    tokenizer: Tokenizer,
    *,
    name: str = "model",
    forward: Callable[[Tensor], Any] | None = None,
) -> Subject:
    """Put any causal language model under the light with the paths of its modules as sites.

    Args:
        model: See ``subject_from_module``, which looks for canonical sites besides.
        tokenizer: What turns text into tokens and back.
        name: What reports should call it.
        forward: How to get logits from token ids, if not by calling the model with them.

    Returns:
        A subject of which nothing is known but that it keeps the contract.

    Raises:
        ModelError: If it does not keep it.
    """
    check_tokenizer(tokenizer)
    contract = prove_contract(model, forward or model, name)
    sites = {path: _module_site(path, found) for path, found in contract.sites.items()}
    numbers = [number for path in sites if (number := layer_of(path)) is not None]
    return Subject(
        name=name,
        model=model,
        tokenizer=tokenizer,
        forward=contract.logits,
        sites=sites,
        num_layers=max(numbers, default=-1) + 1,
        facts={"architecture": type(model).__name__, "dtype": _dtype_of(model)},
    )


def _module_site(path: str, found: Found | str) -> Site:
    if isinstance(found, str):
        tap = Tap(module=path, side="output")
        return Site(name=path, tap=tap, width=None, transformers=path, problem=found)
    axes = (0, 1) if found.axes == (0, 0) else found.axes
    tap = Tap(module=path, side="output", axes=axes, member=found.member, written=found.written)
    return Site(name=path, tap=tap, width=found.width, transformers=path)


def _dtype_of(model: nn.Module) -> str:
    for tensor in (*model.parameters(), *model.buffers()):
        return str(tensor.dtype).removeprefix("torch.")
    return "none"
