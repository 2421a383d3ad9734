"""What a loaded model of Transformers computes, as functions and numbers, and facts about it."""

import hashlib
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils.generic import ModelOutput

from backlight.errors import ModelError
from backlight.models.lending import borrowed
from backlight.models.loading.attention import kernel_of
from backlight.models.wiring.families import Family
from backlight.models.wiring.head import Head


def hidden_states_of(model: PreTrainedModel, family: Family) -> Callable[[Tensor], Tensor]:
    """Return the way from token ids to what the head reads."""
    trunk = model.get_submodule(family.trunk)
    return lambda input_ids: trunk(input_ids=input_ids, use_cache=False)[0]


def logits_of(model: PreTrainedModel) -> Callable[[Tensor], Tensor]:
    """Return the way from token ids to the model's own logits."""

    def forward(input_ids: Tensor) -> Tensor:
        output = model(input_ids=input_ids, use_cache=False)
        if isinstance(output, ModelOutput) and "logits" in output:
            return output["logits"]
        raise ModelError(
            f"{type(model).__name__} gives no logits, so it has no language-model head. Load it "
            "with AutoModelForCausalLM."
        )

    return forward


def read_head(model: PreTrainedModel, family: Family) -> Head | None:
    """Read the head as numbers; None where it is more than a matrix, such as one with an adapter.

    Args:
        model: The model.
        family: Its entry.

    Returns:
        The head, if the module is a linear map of torch itself and nothing hooks into it.
    """
    module = model.get_submodule(family.head)
    hooks = (module._forward_hooks, module._forward_pre_hooks)  # pyright: ignore[reportPrivateUsage]
    if type(module) is not nn.Linear or any(hooks):
        return None

    def number(name: str | None) -> float | None:
        value = None if name is None else getattr(model.config, name)
        return None if value is None else float(value)

    multiplier, divisor = number(family.logit_multiplier), number(family.logit_divisor)
    return Head(
        weight=module.weight,
        bias=module.bias,
        scale=(1.0 if multiplier is None else multiplier) / (1.0 if divisor is None else divisor),
        cap=number(family.logit_cap),
    )


@torch.no_grad()
def prove_language_model(model: PreTrainedModel, name: str) -> None:
    """Check that a model of an unknown architecture gives scores of its vocabulary for each token.

    Args:
        model: The model.
        name: What reports call it.

    Raises:
        ModelError: If it does not.
    """
    vocabulary = int(model.config.get_text_config().vocab_size)
    tokens = (torch.arange(22, device=model.device).reshape(2, 11) * 7 + 3) % vocabulary
    with borrowed(model):
        shape = tuple(logits_of(model)(tokens).shape)
    if len(shape) != 3 or shape[:2] != tuple(tokens.shape) or shape[2] < vocabulary:
        raise ModelError(
            f"{name} has no language-model head: {type(model).__name__} gives {list(shape)} for "
            f"{list(tokens.shape)} tokens, not logits over its {vocabulary} tokens. Load it with "
            "AutoModelForCausalLM."
        )


def describe(model: PreTrainedModel, parameters: Iterable[Tensor] | None = None) -> dict[str, str]:
    """Collect what reports should say of a model; its parameters are given if it lacks some."""
    facts = {
        "architecture": type(model).__name__,
        "model_type": model.config.model_type,
        "dtype": str(model.dtype).removeprefix("torch."),
        "attention_kernel": kernel_of(model),
        "device": str(model.device),
        "weights_sample": _weights_sample(model.parameters() if parameters is None else parameters),
    }
    quantizer = getattr(model, "hf_quantizer", None)
    if quantizer is not None:
        facts["quantization"] = str(quantizer.quantization_config.quant_method)
    return facts


def _weights_sample(parameters: Iterable[Tensor]) -> str:
    """Hash a few numbers of each parameter, enough to tell one checkpoint from another."""
    digest = hashlib.sha256()
    for parameter in parameters:
        digest.update(parameter.detach().flatten()[:8].float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
