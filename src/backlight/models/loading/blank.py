"""A model without its weights: all modules, and the tables that are computed, in no memory."""

from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from backlight.errors import ModelError, quoted


def blank_model(config: Any, name: str, *, dtype: torch.dtype, kernel: str | None) -> Any:
    """Make a model whose parameters are on the meta device, as Transformers begins to load it.

    Tables that are in no file (rotary frequencies) are computed, by the model's own code.

    Args:
        config: Its configuration.
        name: What the user called it.
        dtype: The number format of its parameters.
        kernel: The attention kernel; None for the model's own.

    Returns:
        The model, in evaluation mode.

    Raises:
        ModelError: If some of its weights are kept in another number format than the rest.
    """
    options = {} if kernel is None else {"attn_implementation": kernel}
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config, dtype=dtype, **options)
    _refuse_mixed(model, name, dtype)
    for parameter in model.parameters():
        parameter._is_hf_initialized = True  # nothing is to be drawn at random
    for module in model.modules():
        buffers: dict[str, torch.Tensor | None] = module._buffers
        buffers |= {
            key: torch.empty_like(each, device="cpu")
            for key, each in buffers.items()
            if each is not None
        }
    with torch.no_grad():
        model.initialize_weights()
    return model.eval()


def _refuse_mixed(model: PreTrainedModel, name: str, dtype: torch.dtype) -> None:
    plan = model._get_dtype_plan(dtype)  # pyright: ignore[reportPrivateUsage]
    for key, _ in model.named_parameters():
        if any(pattern in key for pattern in plan):
            raise ModelError(
                f"Transformers keeps {quoted(key)} of {name} in float32, whatever the others are "
                "in, so it cannot be measured block by block in this format. Give --dtype float32, "
                "or measure the whole model (without --memory)."
            )
