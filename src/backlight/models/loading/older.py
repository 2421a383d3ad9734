"""What is written in another way for older versions of Transformers; all of it is here."""

from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from backlight.errors import ModelError, quoted
from backlight.models.loading.inventory import Inventory
from backlight.models.versions import is_at_least


def format_option(dtype: torch.dtype | str) -> dict[str, Any]:
    """Write the number format of weights as an option of ``from_pretrained``."""
    return {"dtype" if is_at_least("4.56") else "torch_dtype": dtype}


def dequantizing() -> dict[str, Any]:
    """Write the options with which ``from_pretrained`` turns a GGUF into plain weights."""
    if not is_at_least("5.18"):
        return {}  # it does so in any case
    from transformers.utils.quantization_config import GgufConfig

    return {"quantization_config": GgufConfig(dequantize=True)}


def one_by_one() -> dict[str, Any]:
    """Write the option of ``from_pretrained`` that takes experts one by one, as version 4 does."""
    return {"experts_implementation": "eager"} if is_at_least("5.0") else {}


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


def of_the_keys(mask: Any, num_keys: int) -> Any:
    """Cut a mask to the keys: the first versions may make it a column wider than there are any.

    Args:
        mask: What an attention function is given: a mask, something else or nothing.
        num_keys: How many keys it is given.

    Returns:
        The mask, the same object where it has a column for each key.
    """
    is_wider = isinstance(mask, Tensor) and mask.shape[-1] > num_keys
    return mask[..., :num_keys] if is_wider else mask


def can_change_kernel(model: Any) -> bool:
    """Return whether a loaded model attends with the kernel that its configuration names."""
    if is_at_least("4.55"):
        return bool(model._can_set_attn_implementation())
    return bool(model._supports_attention_backend)


def refuse_tied_away(model: Any, inventory: Inventory, name: str) -> None:
    """Refuse a model in which Transformers 4 took one of two different weights for both.

    Later versions keep both where the files hold two different ones.

    Args:
        model: The model.
        inventory: What its files hold.
        name: What the user called it.

    Raises:
        ModelError: If weights that the configuration ties are different ones in the files.
    """
    if is_at_least("5.0"):
        return
    names: dict[int, list[str]] = {}
    for key, parameter in model.named_parameters(remove_duplicate=False):
        if key in inventory.tensors:
            names.setdefault(id(parameter), []).append(key)
    for first, *others in names.values():
        for other in others:
            if not torch.equal(_read(inventory, first), _read(inventory, other)):
                raise ModelError(
                    f"The config.json of {name} says that {quoted(other)} is {quoted(first)}, but "
                    "its files hold two different ones, and this version of Transformers takes one "
                    "for both. Set tie_word_embeddings to false, or install transformers 5."
                )


def _read(inventory: Inventory, name: str) -> Tensor:
    file: Path = inventory.files[name]
    if file.suffix != ".safetensors":
        return torch.load(file, mmap=True, weights_only=True)[name]
    with safe_open(file, framework="pt") as tensors:
        return tensors.get_tensor(name)
