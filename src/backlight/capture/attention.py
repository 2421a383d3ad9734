"""What attends in a forward pass, kept for as long as it takes to go back through it."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from backlight.errors import UnsupportedSiteError
from backlight.models.sites import refuse_problems
from backlight.models.subject import AttentionCall, Subject


@contextmanager
def keeping_attention(
    subject: Subject, layers: Sequence[int]
) -> Generator[dict[int, AttentionCall], None, None]:
    """Keep q, k, v and the settings of some layers' attention while the context lasts.

    Other taps may be used inside, such as those of ``record``; a second forward pass replaces what
    the first one left. Nothing is copied: what is kept is what attends, cut off from the graph.

    Args:
        subject: The model.
        layers: The layers that are kept.

    Yields:
        The calls by layer, empty until a forward pass has run. None has a mask: what is seen is
        causality and the window.

    Raises:
        UnsupportedSiteError: If a layer's attention cannot be tapped, or has a mask that is not
            causality and a window.
    """
    modules = {attention_module(subject, layer): layer for layer in layers}
    kept: dict[int, AttentionCall] = {}
    proven: dict[tuple[int, int | None], Tensor] = {}  # holds masks, so that no id is used twice

    def keep(call: AttentionCall) -> tuple[Tensor, Tensor, Tensor]:
        if call.module in modules:
            layer = modules[call.module]
            if call.mask is not None and (id(call.mask), call.window) not in proven:
                _check_mask(call, call.mask, layer)
                proven[id(call.mask), call.window] = call.mask
            kept[layer] = replace(
                call,
                query=call.query.detach(),
                key=call.key.detach(),
                value=call.value.detach(),
                mask=None,
            )
        return call.query, call.key, call.value

    with subject.tap_attention(keep):
        yield kept


def attention_module(subject: Subject, layer: int) -> nn.Module:
    """Find the attention module of a layer, if what attends in it can be shown.

    Args:
        subject: The model.
        layer: The layer.

    Returns:
        The module that calls the attention function.

    Raises:
        UnsupportedSiteError: If it does not go through Transformers' attention interface, or what
            it hands over was not proven to be what attends.
    """
    site = subject.sites.get(f"layers.{layer}.attn.q")
    if site is None:
        entry = subject.sites.get(f"layers.{layer}.attn.in")
        which = subject.model if entry is None else subject.model.get_submodule(entry.tap.module)
        raise UnsupportedSiteError(
            f"What attends in layer {layer} of {subject.name} cannot be seen: "
            f"{type(which).__name__}{'' if entry is None else f' at {entry.tap.module}'} does not "
            "go through Transformers' attention interface. Norms and residual paths do not need it."
        )
    refuse_problems([site, subject.sites[f"layers.{layer}.attn.z"]])
    return subject.model.get_submodule(site.tap.module)


def _check_mask(call: AttentionCall, mask: object, layer: int) -> None:
    """Refuse masks that say something else than causality and the window."""
    num_queries, num_keys = call.query.shape[2], call.key.shape[2]
    if isinstance(mask, Tensor) and mask.shape[-2:] == (num_queries, num_keys):
        seen = mask if mask.dtype == torch.bool else mask == 0
        if bool((seen == _visible(num_queries, num_keys, call.window, seen.device)).all()):
            return
    raise UnsupportedSiteError(
        f"The attention of layer {layer} ({type(call.module).__name__}) has a mask that is not "
        f"causality{'' if call.window is None else f' and a window of {call.window} tokens'}, so "
        "its backward pass cannot be computed again. Norms and residual paths do not need it."
    )


def _visible(num_queries: int, num_keys: int, window: int | None, device: torch.device) -> Tensor:
    queries = torch.arange(num_keys - num_queries, num_keys, device=device).unsqueeze(1)
    distance = queries - torch.arange(num_keys, device=device)
    return (distance >= 0) & (distance < (num_keys if window is None else window))
