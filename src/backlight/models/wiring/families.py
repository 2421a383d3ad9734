"""Which modules of which architecture are what: the table of families.

One entry is one wiring of a decoder block. The table is plain data: it is checked against the
model itself when the model is loaded (``proof.py``), so a wrong entry is an error, never a wrong
number. Paths inside a block are relative to the block; ``layout.py`` reads the sites off an entry.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from backlight.models.versions import is_at_least

Wiring = Literal["sequential", "parallel", "post_norm"]
NormKind = Literal["rms", "rms_unit_offset", "layer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How the blocks of some architectures are wired, and what their modules are called.

    Attributes:
        model_types: Values of ``config.model_type`` that this entry describes.
        when: Configuration values it holds for; others of the same type have another entry.
        trunk: The module whose output the language-model head reads.
        blocks: The list of decoder blocks.
        final_norm: The norm after the last block; None if there is none.
        head: The language-model head.
        wiring: ``sequential``: attention, then MLP, each added to the residual stream.
            ``parallel``: both read the block's input and are added together. ``post_norm``: as
            sequential, with the norms after the additions (OPT-350m).
        norm1: The norm before attention (after its addition in ``post_norm``), None without.
        norm1_post: The norm of the attention's output before it is added, None without.
        norm2: The norm before the MLP (None also where a parallel MLP shares ``norm1``).
        norm2_post: The norm of the MLP's output before it is added, None without.
        norm_kind: ``rms``; ``rms_unit_offset`` (Gemma: the gain is 1 + weight); ``layer``.
        attn: The attention module.
        attn_out: The module whose output is the attention's, where ``attn`` adds the residual; None
            where it is ``attn``.
        attn_interface: The attention function comes through Transformers' attention interface, so
            q, k and v can be tapped.
        z: The output projection; its input is the heads' outputs side by side.
        q_norm: The norm of the queries, if any; ``k_norm`` the norm of the keys.
        qk_norm_when: The configuration value that switches these norms on, None if always.
        qk_norm_heads_first: They see ``[batch, heads, positions, head_width]``.
        rotary: Positions enter by rotating q and k.
        learned_positions: Positions are looked up, so there is a largest one.
        mlp_in: The module whose input is the MLP's.
        mlp_out: The module whose output is the MLP's; None where it is ``mlp_in``.
        query_scaled: The attention function is handed queries that are already divided by the root
            of the head's width.
        embedding_multiplier: The configuration value that multiplies the embeddings, None without.
        residual_multiplier: The configuration value that multiplies both outputs before they are
            added, None without.
        logit_multiplier: The configuration value that multiplies the logits, None without.
        logit_divisor: The configuration value that divides the logits, None without.
        logit_cap: The configuration value c of the soft cap c tanh(y / c), None without.
    """

    model_types: tuple[str, ...]
    when: Mapping[str, object] = field(default_factory=dict[str, object])
    trunk: str = "model"
    blocks: str = "model.layers"
    final_norm: str | None = "model.norm"
    head: str = "lm_head"
    wiring: Wiring = "sequential"
    norm1: str | None = "input_layernorm"
    norm1_post: str | None = None
    norm2: str | None = "post_attention_layernorm"
    norm2_post: str | None = None
    norm_kind: NormKind = "rms"
    attn: str = "self_attn"
    attn_out: str | None = None
    attn_interface: bool = True
    z: str = "self_attn.o_proj"
    q_norm: str | None = None
    k_norm: str | None = None
    qk_norm_when: str | None = None
    qk_norm_heads_first: bool = False
    rotary: bool = True
    learned_positions: bool = False
    mlp_in: str = "mlp"
    mlp_out: str | None = None
    query_scaled: bool = False
    embedding_multiplier: str | None = None
    residual_multiplier: str | None = None
    logit_multiplier: str | None = None
    logit_divisor: str | None = None
    logit_cap: str | None = None


_IS_4 = not is_at_least("5.0")  # of Transformers, which renamed some modules
_TRANSFORMER = {
    "trunk": "transformer",
    "blocks": "transformer.h",
    "final_norm": "transformer.ln_f",
    "norm_kind": "layer",
}
_GPT2 = {**_TRANSFORMER, "norm1": "ln_1", "norm2": "ln_2", "attn": "attn"}
_NEOX = {
    "trunk": "gpt_neox",
    "blocks": "gpt_neox.layers",
    "final_norm": "gpt_neox.final_layer_norm",
    "norm_kind": "layer",
    "attn": "attention",
    "z": "attention.dense",
    "head": "lm_head" if is_at_least("5.14") else "embed_out",
}
_OPT = {
    "trunk": "model.decoder",
    "blocks": "model.decoder.layers",
    "norm1": "self_attn_layer_norm",
    "norm2": "final_layer_norm",
    "norm_kind": "layer",
    "z": "self_attn.out_proj",
    "rotary": False,
    "learned_positions": True,
    "attn_interface": is_at_least("4.52"),
    "query_scaled": True,
    "mlp_in": "fc1",
    "mlp_out": "fc2",
}
_FALCON = {
    **_TRANSFORMER,
    "attn": "self_attention",
    "attn_interface": False,
    "z": "self_attention.dense",
    "rotary": False,  # or alibi: the configuration decides
}
_STABLELM = {
    "norm_kind": "layer",
    "attn_interface": not _IS_4,
    "q_norm": "self_attn.q_layernorm",
    "k_norm": "self_attn.k_layernorm",
    "qk_norm_when": "qk_layernorm",
    "qk_norm_heads_first": True,
}
_QK_NORM = {"q_norm": "self_attn.q_norm", "k_norm": "self_attn.k_norm"}
_SANDWICH = {
    "norm1_post": "post_attention_layernorm",
    "norm2": "pre_feedforward_layernorm",
    "norm2_post": "post_feedforward_layernorm",
    "norm_kind": "rms_unit_offset",
    "logit_cap": "final_logit_softcapping",
}


def _family(*model_types: str, **fields: Any) -> Family:
    return Family(model_types=model_types, **fields)


FAMILIES: tuple[Family, ...] = (
    _family("llama", "mistral", "qwen2", "phi3", "smollm3", "gpt_oss"),
    _family("mixtral", mlp_in="block_sparse_moe" if _IS_4 else "mlp"),
    _family("qwen3", "qwen3_moe", **_QK_NORM),
    _family("olmo", "starcoder2", norm_kind="layer"),
    _family("gemma", norm_kind="rms_unit_offset"),
    _family("gemma2", **_SANDWICH),
    _family("gemma3_text", **_SANDWICH, **_QK_NORM, qk_norm_heads_first=True),
    _family(
        "olmo2",
        norm1=None,
        norm1_post="post_attention_layernorm",
        norm2=None,
        norm2_post="post_feedforward_layernorm",
        **_QK_NORM,
    ),
    _family(
        "granite",
        embedding_multiplier="embedding_multiplier",
        residual_multiplier="residual_multiplier",
        logit_divisor="logits_scaling",
    ),
    _family(
        "cohere",
        wiring="parallel",
        norm2=None,
        norm_kind="layer",
        **_QK_NORM,
        qk_norm_when="use_qk_norm",
        logit_multiplier="logit_scale",
    ),
    _family(
        "phi",
        final_norm="model.final_layernorm",
        wiring="parallel",
        norm2=None,
        norm_kind="layer",
        z="self_attn.dense",
        q_norm="self_attn.q_layernorm",
        k_norm="self_attn.k_layernorm",
        qk_norm_when="qk_layernorm",
        qk_norm_heads_first=True,
    ),
    _family(
        "stablelm",
        when={"use_parallel_residual": True},
        wiring="parallel",
        **{**_STABLELM, "norm2": None},
    ),
    _family("stablelm", when={"use_parallel_residual": False}, **_STABLELM),
    _family("gpt2", **_GPT2, z="attn.c_proj", rotary=False, learned_positions=True),
    _family(
        "gpt_neo",
        **_GPT2,
        z="attn.attention.out_proj",
        attn_interface=False,
        rotary=False,
        learned_positions=True,
    ),
    _family(
        "gptj",
        **{**_GPT2, "norm2": None},
        wiring="parallel",
        z="attn.out_proj",
        attn_interface=False,
    ),
    _family("gpt_neox", when={"use_parallel_residual": True}, wiring="parallel", **_NEOX),
    _family("gpt_neox", when={"use_parallel_residual": False}, **_NEOX),
    _family(
        "opt",
        when={"do_layer_norm_before": True},
        final_norm="model.decoder.final_layer_norm",
        **_OPT,
    ),
    _family(
        "opt", when={"do_layer_norm_before": False}, final_norm=None, wiring="post_norm", **_OPT
    ),
    _family(
        "bloom",
        when={"apply_residual_connection_post_layernorm": False},
        **_TRANSFORMER,
        attn="self_attention",
        attn_out="self_attention.dense",  # the module itself returns the residual sum
        attn_interface=False,
        z="self_attention.dense",
        rotary=False,
        mlp_out="mlp.dense_4h_to_h",  # likewise
    ),
    _family(
        "mpt",
        trunk="transformer",
        blocks="transformer.blocks",
        final_norm="transformer.norm_f",
        norm1="norm_1",
        norm2="norm_2",
        norm_kind="layer",
        attn="attn",
        attn_interface=False,
        z="attn.out_proj",
        rotary=False,
        mlp_in="ffn",
        mlp_out="ffn.down_proj",  # the module itself returns the residual sum
    ),
    _family(
        "falcon",
        when={"parallel_attn": True, "num_ln_in_parallel_attn": 2},
        wiring="parallel",
        norm1="ln_attn",
        norm2="ln_mlp",
        **_FALCON,
    ),
    _family(
        "falcon", when={"parallel_attn": True}, wiring="parallel", **{**_FALCON, "norm2": None}
    ),
    _family("falcon", when={"parallel_attn": False}, **_FALCON),
)


def find_family(config: Any) -> Family | None:
    """Find the entry for a model's configuration.

    Args:
        config: A Transformers configuration (anything with ``model_type``).

    Returns:
        The first entry that fits, or None if the architecture is not in the table.
    """
    for family in FAMILIES:
        if config.model_type in family.model_types and all(
            getattr(config, name) == value for name, value in family.when.items()
        ):
            return family
    return None


def family_of(model: Any) -> Family | None:
    """Find the entry for a model; None if it is not in the table, or no model of Transformers."""
    # Its own, not one that it hands on: a TransformerBridge has other modules than its config says.
    config = vars(model).get("config")
    return find_family(config) if hasattr(config, "model_type") else None
