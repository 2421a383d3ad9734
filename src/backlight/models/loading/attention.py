"""A tap on Transformers' attention interface: q, k and v of every family that uses it."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from backlight.models.loading.older import attend_by, of_the_keys
from backlight.models.subject import AttentionCall, AttentionTap


def kernel_of(model: PreTrainedModel) -> str:
    """Name the attention kernel of a model, such as ``sdpa``."""
    return str(model.config._attn_implementation)  # pyright: ignore[reportPrivateUsage]


@contextmanager
def tap_attention(model: PreTrainedModel, callback: AttentionTap) -> Generator[None, None, None]:
    """Show q, k and v of each attention module to a callback, then attend as before.

    The model's own kernel still does the work. Its mask function is registered under the new name
    too: a name without one makes Transformers leave out the mask, and causality with it.

    Args:
        model: A model whose attention goes through the interface.
        callback: Is shown each call; the q, k and v that it returns are used.

    Yields:
        Nothing; the model's own kernel is restored at the end, also if the body fails.
    """
    kernel = kernel_of(model)
    name = f"backlight_{kernel}"

    def attend(
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any
    ) -> Any:
        shown = callback(_call(module, query, key, value, *args, **kwargs))
        return _kernel_of(module, kernel)(module, *shown, *args, **kwargs)

    attend_by(name, attend, kernel)
    model.config._attn_implementation = name  # pyright: ignore[reportPrivateUsage]
    try:
        yield
    finally:
        model.config._attn_implementation = kernel  # pyright: ignore[reportPrivateUsage]
        del ALL_ATTENTION_FUNCTIONS[name]


def _call(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    **settings: Any,
) -> AttentionCall:
    """Name what an attention function is called with; dropout is off, positions are in q and k."""
    scaling = settings.get("scaling")
    return AttentionCall(
        module=module,
        query=query,
        key=key,
        value=value,
        scale=query.shape[-1] ** -0.5 if scaling is None else float(scaling),
        cap=settings.get("softcap"),
        window=settings.get("sliding_window"),
        mask=of_the_keys(attention_mask, key.shape[2]),
        sinks=settings.get("s_aux"),
    )


def _kernel_of(module: nn.Module, kernel: str) -> Callable[..., Any]:
    """Find the function behind a kernel's name; eager attention is each family's own."""
    if kernel == "eager":
        return sys.modules[type(module).__module__].eager_attention_forward
    return ALL_ATTENTION_FUNCTIONS[kernel]
