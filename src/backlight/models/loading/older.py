"""What is written in another way for older versions of Transformers; all of it is here."""

from typing import Any

import torch
import transformers
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from backlight.models.versions import is_at_least


def format_option(dtype: torch.dtype | str) -> dict[str, Any]:
    """Write the number format of weights as an option of ``from_pretrained``."""
    return {"dtype" if is_at_least("4.56") else "torch_dtype": dtype}


def dequantizing() -> dict[str, Any]:
    """Write the options with which ``from_pretrained`` turns a GGUF into plain weights."""
    if not is_at_least("5.18"):
        return {}  # it does so in any case
    kinds: Any = transformers.utils.quantization_config
    return {"quantization_config": kinds.GgufConfig(dequantize=True)}


def attend_by(name: str, attend: Any, kernel: str) -> None:
    """Register an attention kernel that masks as another one does.

    Args:
        name: The new name.
        attend: What attends.
        kernel: The name of the kernel whose masks it is given.
    """
    ALL_ATTENTION_FUNCTIONS[name] = attend
    if is_at_least("4.53"):
        from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

        # Masks are looked up among the global names only; this one is an alias and may stay.
        ALL_MASK_ATTENTION_FUNCTIONS.register(name, ALL_MASK_ATTENTION_FUNCTIONS[kernel])


def can_change_kernel(model: Any) -> bool:
    """Return whether a loaded model attends with the kernel that its configuration names."""
    if is_at_least("4.55"):
        return bool(model._can_set_attn_implementation())
    return bool(model._supports_attention_backend)
