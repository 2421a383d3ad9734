"""Every decoder type of the installed Transformers, tiny and with random numbers everywhere."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from zoo.models import built

VOCABULARY = 99
LARGEST = 20_000_000  # numbers; what stays larger is not tiny

_SIZES: Mapping[str, Any] = {
    "vocab_size": VOCABULARY,
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "n_embed", "emb_dim"), 32),
    **dict.fromkeys(
        ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers"), 4
    ),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("decoder_attention_heads", "encoder_attention_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads"), 2),
    **dict.fromkeys(
        ("intermediate_size", "ffn_dim", "n_inner", "d_ff", "dff", "ffn_hidden_size"), 48
    ),
    **dict.fromkeys(("decoder_ffn_dim", "encoder_ffn_dim", "shared_intermediate_size"), 48),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 24),
    **dict.fromkeys(("expert_ffn_hidden_size", "moe_shared_expert_intermediate_size"), 24),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk", "moe_top_k", "moe_k", "top_k_experts"), 2),
    **dict.fromkeys(("n_group", "topk_group", "n_groups"), 1),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"), 64),
    "head_dim": 8,
    "v_head_dim": 8,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "word_embed_proj_dim": 32,
    "embedding_size": 32,
    "attention_hidden_size": 32,
    "dim_att": 32,
    "rotary_dim": 4,
    "sliding_window": 4,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "linear_head_dim": 8,
    "linear_num_heads": 4,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "mamba_num_heads": 8,
    "mamba_head_dim": 8,
    "mamba_d_state": 8,
    "mamba_d_ssm": 64,
    "mamba_n_groups": 1,
    "state_size": 8,
    "ssm_state_size": 8,
    "chunk_size": 8,
    "mamba_chunk_size": 8,
    "time_step_rank": 4,
    "mamba_dt_rank": 4,
    "first_k_dense_replace": 1,
    "num_nextn_predict_layers": 0,
    "hidden_size_per_layer_input": 8,
    "vocab_size_per_layer_input": VOCABULARY,
    "query_pre_attn_scalar": 8,
    "index_n_heads": 2,
    "index_head_dim": 8,
    "index_topk": 64,
    "depth": 2,
    "out_hidden_size": 32,
}
"""What is made small, under all the names that types have for it."""

_LATENT = {"num_key_value_heads": 4, "qk_rope_head_dim": 8, "head_dim": 8}
_DECODER = {"is_decoder": True}
_INDEXED = {
    "indexer_n_heads": 2,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 8,
    "indexer_budget": 8,
    "indexer_compress_ratio": 2,
    "ngram_vocab_size_base": 50,
    "hc_lowrank": 8,
    "ple_embed_dim": 8,
}
_ONLY: Mapping[str, Mapping[str, Any]] = {
    **dict.fromkeys(
        (
            *("axk1", "axk2", "bailing_hybrid", "deepseek_v2", "deepseek_v3", "deepseek_v32"),
            *("dots3_note_text", "glm4_moe_lite", "glm_moe_dsa", "kimi_linear", "longcat_flash"),
            *("minicpm3", "youtu"),
        ),
        _LATENT,
    ),
    **dict.fromkeys(
        (
            *("bert", "bert-generation", "camembert", "data2vec-text", "electra", "ernie"),
            *("megatron-bert", "rembert", "roberta", "roberta-prelayernorm", "roc_bert"),
            *("roformer", "xlm-roberta", "xlm-roberta-xl"),
        ),
        _DECODER,
    ),
    "big_bird": {"is_decoder": True, "attention_type": "original_full"},
    "reformer": {
        "is_decoder": True,
        "attn_layers": ["local"] * 4,
        "axial_pos_embds_dim": [16, 16],
        "axial_pos_shape": [8, 8],
        "attention_head_size": 8,
        "feed_forward_size": 48,
    },
    "xmod": {"is_decoder": True, "default_language": "en_XX"},
    "xlm": {"causal": True},
    "dots1": {"n_shared_experts": 1},
    "dbrx": {"attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8.0}},
    "gemma3n_text": {
        "num_kv_shared_layers": 1,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
    },
    "mamba2": {"num_heads": 8},
    "zamba": {
        "layers_block_type": ["mamba", "hybrid"] * 2,
        "num_key_value_heads": 4,
        "n_mamba_heads": 2,
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
    },
    "zamba2": {
        "layer_types": ["mamba", "hybrid"] * 2,
        "n_mamba_heads": 8,
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
    },
    "dots3_note": {"num_key_value_heads": 4},
    "qwen4_exp": _INDEXED,
    "qwen4_exp_text": _INDEXED,
    "gpt_neo": {"attention_types": [[["global", "local"], 2]], "window_size": 4},
    "zaya": {"num_experts_per_tok": 1},
    "lfm2_moe": {"layer_types": ["conv", "conv", "full_attention", "conv"]},
}
"""What single types need besides."""


def decoder_types() -> tuple[str, ...]:
    """List the types of models that Transformers loads as causal language models."""
    return tuple(sorted(set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) & set(CONFIG_MAPPING)))


def tiny_config(model_type: str) -> PretrainedConfig:
    """Make a type's configuration small."""
    if model_type not in CONFIG_MAPPING:
        pytest.skip(f"needs a Transformers that knows {model_type}")
    kind = CONFIG_MAPPING[model_type]
    default = kind()
    sizes = {**_fitting(default), **_ONLY.get(model_type, {})}
    text = default.get_text_config(decoder=True)
    for name in default.sub_configs:
        part = getattr(default, name, None)
        if isinstance(part, PretrainedConfig) and name not in sizes:
            only = {} if part is not text else _ONLY.get(model_type, {})
            sizes[name] = {**_fitting(part), **only, "model_type": part.model_type}
    return kind(**sizes)


def _fitting(config: PretrainedConfig) -> dict[str, Any]:
    names = {**config.to_dict(), **dict.fromkeys(config.attribute_map)}
    found = {name: value for name, value in _SIZES.items() if name in names}
    is_set = "layer_types" in config.to_dict()  # some compute it
    kinds = getattr(config, "layer_types", None) if is_set else None
    if kinds is not None and "num_hidden_layers" in found:
        different = list(dict.fromkeys(kinds))
        found["layer_types"] = [
            different[i % len(different)] for i in range(found["num_hidden_layers"])
        ]
    return found


def tiny(model_type: str, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """Build a type's model, with random gains and biases too.

    Raises:
        ValueError: If it stays too large.
    """
    config = tiny_config(model_type)
    with torch.device("meta"):
        size = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    if size > LARGEST:
        raise ValueError(f"{model_type} would still have {size:,} numbers")
    torch.manual_seed(0)
    model = built(config, dtype)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(noise.to(parameter.dtype) * (0.1 if parameter.dim() <= 1 else 0.2))
    return model.eval()
