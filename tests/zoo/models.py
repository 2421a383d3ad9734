"""A tiny random model for each wiring in the table of families."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel

VOCABULARY = 99
IS_TRANSFORMERS_4 = version("transformers").startswith("4.")

_SIZE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GROUPED = {**_SIZE, "num_key_value_heads": 2}
_WINDOW = {"head_dim": 16, "sliding_window": 4}
_TOKENS = {"bos_token_id": 1, "eos_token_id": 2}
_GPT2 = {"n_embd": 32, "n_layer": 3, "n_head": 4, "vocab_size": VOCABULARY, "n_positions": 64}
_OPT = {
    "hidden_size": 32,
    "ffn_dim": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 64,
}
_FALCON = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "vocab_size": VOCABULARY,
    **_TOKENS,
}
_EXPERTS = {"num_experts_per_tok": 2}

OUTSIDE_THE_TABLE = CONFIG_MAPPING["persimmon"](
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    vocab_size=VOCABULARY,
    **_TOKENS,
)
"""An architecture that is not in the table of families."""

_ALL: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "llama": ("llama", _GROUPED),
    "mistral": ("mistral", {**_GROUPED, "sliding_window": 4}),
    "mixtral": ("mixtral", {**_GROUPED, **_EXPERTS, "num_local_experts": 4}),
    "qwen2": ("qwen2", _GROUPED),
    "qwen3": ("qwen3", {**_GROUPED, "head_dim": 16}),
    "qwen3_moe": (
        "qwen3_moe",
        {
            **_GROUPED,
            **_EXPERTS,
            "head_dim": 16,
            "moe_intermediate_size": 16,
            "num_experts": 4,
            "mlp_only_layers": [1],
        },
    ),
    "gemma": ("gemma", {**_GROUPED, "head_dim": 16}),
    "gemma2": ("gemma2", {**_GROUPED, **_WINDOW, "query_pre_attn_scalar": 16}),
    "gemma3": ("gemma3_text", {**_GROUPED, **_WINDOW, "query_pre_attn_scalar": 16}),
    "phi": ("phi", _GROUPED),
    "phi with qk norm": ("phi", {**_SIZE, "num_key_value_heads": 4, "qk_layernorm": True}),
    "phi3": ("phi3", _GROUPED),
    "gpt2": ("gpt2", {**_GPT2, **_TOKENS}),
    "gpt_neo": (
        "gpt_neo",
        {
            "hidden_size": 32,
            "num_layers": 4,
            "num_heads": 4,
            "vocab_size": VOCABULARY,
            "max_position_embeddings": 64,
            "attention_types": [[["global", "local"], 2]],
            "window_size": 4,
            **_TOKENS,
        },
    ),
    "gptj": ("gptj", {**_GPT2, **_TOKENS, "rotary_dim": 4}),
    "gpt_neox": ("gpt_neox", _SIZE),
    "gpt_neox sequential": ("gpt_neox", {**_SIZE, "use_parallel_residual": False}),
    "opt": ("opt", {**_OPT, "word_embed_proj_dim": 32}),
    "opt post-norm": (
        "opt",
        {**_OPT, "word_embed_proj_dim": 16, "do_layer_norm_before": False},
    ),
    "bloom": ("bloom", {"hidden_size": 32, "n_layer": 3, "n_head": 4, "vocab_size": VOCABULARY}),
    "falcon parallel": ("falcon", {**_FALCON, "new_decoder_architecture": False}),
    "falcon two norms": (
        "falcon",
        {**_FALCON, "new_decoder_architecture": True, "num_kv_heads": 2},
    ),
    "falcon one norm": (
        "falcon",
        {
            **_FALCON,
            "new_decoder_architecture": True,
            "num_kv_heads": 2,
            "num_ln_in_parallel_attn": 1,
        },
    ),
    "falcon sequential": (
        "falcon",
        {
            **_FALCON,
            "new_decoder_architecture": False,
            "multi_query": False,
            "parallel_attn": False,
            "alibi": True,
            "bias": True,
        },
    ),
    "mpt": (
        "mpt",
        {
            "d_model": 32,
            "n_layers": 3,
            "n_heads": 4,
            "vocab_size": VOCABULARY,
            "max_seq_len": 64,
            "expansion_ratio": 2,
        },
    ),
    "olmo": ("olmo", _GROUPED),
    "olmo2": ("olmo2", _GROUPED),
    "stablelm": ("stablelm", _GROUPED),
    "stablelm parallel": (
        "stablelm",
        # Transformers 4 cannot build one with these norms: it looks for biases that they lack.
        {**_GROUPED, "use_parallel_residual": True, "qk_layernorm": not IS_TRANSFORMERS_4},
    ),
    "starcoder2": ("starcoder2", _GROUPED),
    "cohere": ("cohere", {**_GROUPED, "use_qk_norm": True}),
    "granite": (
        "granite",
        {
            **_GROUPED,
            "residual_multiplier": 0.22,
            "logits_scaling": 8.0,
            "embedding_multiplier": 12.0,
            "attention_multiplier": 0.1,
        },
    ),
    "smollm3": ("smollm3", _GROUPED),
    "gpt_oss": (
        "gpt_oss",
        {
            **_GROUPED,
            **_WINDOW,
            **_EXPERTS,
            "num_local_experts": 4,
            "max_position_embeddings": 131072,
        },
    ),
}
CONFIGS = {name: each for name, each in _ALL.items() if each[0] in CONFIG_MAPPING}
"""A configuration for each wiring: its model type and what differs from the defaults.

Those that the installed version of Transformers does not know are left out.
"""


def built(config: Any, dtype: torch.dtype) -> PreTrainedModel:
    """Build a model with random weights in the given number format."""
    from backlight.models.loading.older import format_option  # after the hook

    # The grouped product over experts does not exist in float64.
    is_grouped = dtype == torch.float64 and not IS_TRANSFORMERS_4
    experts = {"experts_implementation": "eager"} if is_grouped else {}
    return AutoModelForCausalLM.from_config(config, **format_option(dtype), **experts)


def tiny_model(name: str, dtype: torch.dtype = torch.float32, **overrides: Any) -> PreTrainedModel:
    """Build one of ``CONFIGS`` with weights large enough for gradients to differ."""
    model_type, options = _ALL[name]
    if name not in CONFIGS:
        pytest.skip(f"needs a Transformers that knows {model_type}")
    config = CONFIG_MAPPING[model_type](**{**options, **overrides})
    model = built(config, dtype)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(noise.to(dtype) * (0.1 if parameter.dim() == 1 else 0.2))
    return model.eval()
