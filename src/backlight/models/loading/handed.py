"""What people hand over as a model: wrappers are taken off, and what has no gradient is refused."""

import sys
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from transformers import PreTrainedModel

from backlight.errors import ModelError, quoted
from backlight.models.distributed_weights import DTensor
from backlight.models.lending import borrowed
from backlight.models.loading.loaded import logits_of
from backlight.models.loading.objects import kind_of_object, library_of
from backlight.models.wiring.families import Family

_ASK = "Load it with AutoModelForCausalLM."


def unwrapped(model: object) -> PreTrainedModel:
    """Take the wrappers of torch and of peft off a Transformers model.

    The layers that an adapter has put into the model stay in it, so it computes what the wrapper
    does; ``subject_from_transformers`` proves that.

    Args:
        model: A model of Transformers, perhaps in ``DataParallel``, ``DistributedDataParallel``,
            ``torch.compile`` or ``PeftModel``, or in several of them.

    Returns:
        The model inside.

    Raises:
        ModelError: If there is none.
    """
    inner = model
    while not isinstance(inner, PreTrainedModel):
        following = _inside(inner)
        if following is None:
            raise ModelError(_about_stranger(inner))
        inner = following
    return inner


def _inside(model: object) -> object:
    if isinstance(model, (DataParallel, DistributedDataParallel)):
        return model.module
    if isinstance(model, torch._dynamo.OptimizedModule):  # pyright: ignore[reportPrivateUsage]
        return model._orig_mod  # pyright: ignore[reportPrivateUsage]
    if _is_adapter(model):
        base: Any = model.base_model  # pyright: ignore[reportAttributeAccessIssue]
        # Around what puts layers into the model, or around the model itself (a learned prompt).
        return base if isinstance(base, PreTrainedModel) else base.model
    return None


def _is_adapter(model: object) -> bool:
    peft = sys.modules.get("peft")  # an object of a library that nobody imported is not there
    return peft is not None and isinstance(model, (peft.PeftModel, peft.PeftMixedModel))


def _about_stranger(model: object) -> str:
    kind = kind_of_object(model)
    library = library_of(model)
    if library is not None:
        return (
            f"{kind} is a model of {library}: give it to backlight.subject_from_object, or as "
            "subject= to a call."
        )
    if not isinstance(model, nn.Module):
        return (
            f"A model of Transformers is needed, not a {kind}. Load it with "
            "AutoModelForCausalLM, or give its name to backlight.load_subject."
        )
    for path, module in model.named_modules():
        if isinstance(module, PreTrainedModel):
            return (
                f"{kind} is no language model of Transformers, but holds one: hand over its "
                f".{path}, or give the whole to backlight.subject_from_module."
            )
    return (
        f"{kind} is no model of Transformers. Give it to backlight.subject_from_module, which "
        "takes any module."
    )


def check_weights(model: PreTrainedModel, name: str) -> None:
    """Refuse a model whose weights are not here, or through which no gradient passes.

    Args:
        model: The model.
        name: What reports call it.

    Raises:
        ModelError: If it reads and writes with two stacks, is distributed, offloaded, quantised
            without a gradient, compiled in place, or was made in inference mode.
    """
    if model.config.is_encoder_decoder:
        raise ModelError(
            f"{name} has an encoder and a decoder ({type(model).__name__}); backlight measures the "
            "next-token loss of causal language models."
        )
    for path, module in model.named_modules():
        if module._compiled_call_impl is not None:  # pyright: ignore[reportPrivateUsage]
            raise ModelError(
                f"{path or 'All'} of {name} was compiled in place (module.compile()), so it could "
                "pass by what is hooked into it. Hand over a model that was not; "
                "torch.compile(model) leaves it as it is."
            )
        kind = type(module)
        if kind.__module__.startswith(("torch.ao.nn", "torch.nn.quantized", "torch.nn.intrinsic")):
            raise ModelError(
                f"{name} is quantised ({path} is a {kind.__module__}.{kind.__name__}), and no "
                "gradient passes such a module. Measure the model before it is quantised."
            )
    if any(kind.__name__ == "FullyShardedDataParallel" for kind in map(type, model.modules())):
        raise ModelError(_about_distributed(name))
    for path, tensor in (*model.named_parameters(), *model.named_buffers()):
        if isinstance(tensor, DTensor):
            raise ModelError(_about_distributed(name))
        if tensor.is_meta:
            raise ModelError(
                f"{path} of {name} is not in memory (it is on the meta device: offloaded to disk, "
                "or never loaded). Load the whole model onto one device."
            )
        if tensor.is_inference():
            raise ModelError(
                f"{path} of {name} was made in torch.inference_mode(), so no gradient can pass it. "
                "Load the model outside of it."
            )


def _about_distributed(name: str) -> str:
    return (
        f"The weights of {name} are spread over processes (FSDP), so no process has the whole "
        "model. Save it, and load the saved model in one process."
    )


def check_head(model: PreTrainedModel, family: Family, name: str) -> None:
    """Refuse a model of a known family without the modules that the table names for it.

    Args:
        model: The model.
        family: Its entry.
        name: What reports call it.

    Raises:
        ModelError: If it has no language-model head, such as a bare trunk or a classifier.
    """
    modules = dict(model.named_modules())
    if family.head not in modules or family.trunk not in modules:
        raise ModelError(
            f"{name} has no language-model head: {type(model).__name__} gives no logits over the "
            f"vocabulary ({quoted(family.head)} is missing). {_ASK}"
        )
    if f"{family.blocks}.0" not in modules:
        raise ModelError(f"{name} has no layers ({quoted(family.blocks)} is empty).")
    asked = model.config.num_hidden_layers
    if f"{family.blocks}.{asked - 1}" not in modules:
        raise ModelError(
            f"The config of {name} says that there are {asked} layers, but "
            f"{quoted(family.blocks)} holds fewer: set config.num_hidden_layers too where layers "
            "are taken out."
        )


def about_adapter(wrapper: object) -> dict[str, str]:
    """Name the adapters in what was handed over, for reports; empty if there are none."""
    adapter = _adapter_of(wrapper)
    kinds: list[tuple[str, Any]] = [] if adapter is None else sorted(adapter.peft_config.items())
    told = ", ".join(f"{key} ({kind.peft_type.value})" for key, kind in kinds)
    return {} if adapter is None else {"adapter": told}


@torch.no_grad()
def prove_adapter_inside(wrapper: object, model: PreTrainedModel, name: str) -> None:
    """Check that the model inside a ``PeftModel`` computes what the whole does.

    Args:
        wrapper: What was handed over.
        model: The model inside.
        name: What reports call it.

    Raises:
        ModelError: If it does not: adapters that prepend a learned prompt live outside the model.
    """
    adapter = _adapter_of(wrapper)
    if adapter is None:
        return
    vocabulary = int(model.config.get_text_config().vocab_size)
    tokens = torch.arange(3, 14, device=model.device)[None] % vocabulary
    with borrowed(adapter):
        whole = adapter(input_ids=tokens, use_cache=False).logits
        inside = logits_of(model)(tokens)
    if whole.shape != inside.shape or not torch.allclose(whole, inside, rtol=1e-3, atol=1e-4):
        raise ModelError(
            f"The adapter of {name} works outside of the model's modules (a learned prompt, for "
            "example), so the model inside is another one. Merge it, or measure without it."
        )


def _adapter_of(model: object) -> Any:
    while model is not None and not isinstance(model, PreTrainedModel):
        if _is_adapter(model):
            return model
        model = _inside(model)
    return None
