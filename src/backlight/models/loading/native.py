"""What Transformers itself offers of a loaded model: kernels, logits, and the loss of labels."""

from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from backlight.models.loading.attention import kernel_of
from backlight.models.loading.loaded import logits_of
from backlight.models.loading.older import can_change_kernel
from backlight.models.native import Native

_EXPERTS = "_experts_implementation"


def native_of(model: PreTrainedModel) -> Native:
    """Collect what Transformers computes of a model by itself.

    Args:
        model: The model.

    Returns:
        It, as functions that know nothing of Transformers.
    """
    kernel = kernel_of(model)
    return Native(
        kernel=kernel,
        kernels=_kernels(model, kernel),
        attending=partial(_attending, model),
        in_format=partial(_in_format, model),
        logits=logits_of(model),
        loss=partial(_loss, model),
    )


def _kernels(model: PreTrainedModel, kernel: str) -> tuple[str, ...]:
    """List the kernel in use and those of eager and sdpa that may take its place."""
    if not can_change_kernel(model):
        return (kernel,)
    others = ["eager", *(["sdpa"] if model._supports_sdpa else [])]  # pyright: ignore[reportPrivateUsage]
    return (kernel, *(other for other in others if other != kernel))


@contextmanager
def _attending(model: PreTrainedModel, kernel: str) -> Generator[None, None, None]:
    config: Any = model.config
    before = config._attn_implementation
    config._attn_implementation = kernel
    try:
        yield
    finally:
        config._attn_implementation = before


@contextmanager
def _in_format(model: PreTrainedModel, dtype: torch.dtype) -> Generator[None, None, None]:
    """Take experts one by one in float64, in which their grouped product does not exist."""
    config: Any = model.config
    before = getattr(config, _EXPERTS, None)
    if dtype != torch.float64 or before is None:
        yield
        return
    setattr(config, _EXPERTS, "eager")
    try:
        yield
    finally:
        setattr(config, _EXPERTS, before)


def _loss(model: PreTrainedModel, input_ids: Tensor, mask: Tensor, labels: Tensor) -> Tensor | None:
    output: Any = model(
        input_ids=input_ids, attention_mask=mask.long(), labels=labels, use_cache=False
    )
    return getattr(output, "loss", None)
