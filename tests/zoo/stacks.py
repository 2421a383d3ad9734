"""Which tests need a newer torch or Transformers than the oldest that backlight works with."""

import re
from importlib.metadata import version

NEEDS = (
    ("transformers", "5.4", r"loading/test_passing\.py", "weights that come and go (--memory)"),
    ("transformers", "5.0", r"test_a_head_of_its_own_is_not_tied_away", "two untied weights"),
    ("transformers", "5.0", r"test_experts_are_taken_one_by_one_in_float64_alone", "experts"),
    ("transformers", "5.0", r"discovery/test_inner\.py", "routers and heads of any architecture"),
    ("transformers", "5.0", r"discovery/test_discovery\.py.*(gptj|mpt)\]", "float64 throughout"),
    ("transformers", "5.0", r"test_foreign_names\.py.*(gptj|mpt)", "float64 throughout"),
    ("transformers", "5.0", r"test_foreign_names\.py.*mixtral", "the name mlp in Mixtral"),
    ("transformers", "5.0", r"test_foreign_names\.py.*opt-blocks", "q of OPT"),
    ("transformers", "5.0", r"test_curvature\.py.*wiring\[mpt\]", "float64 throughout"),
    ("transformers", "5.0", r"test_record\.py.*mpt-torch\.float64", "float64 throughout"),
    ("transformers", "5.0", r"test_record\.py.*(tensor|stream|others)\[mpt\]", "float64 in MPT"),
    ("transformers", "5.0", r"test_splice\.py.*too\[mpt\]", "float64 throughout"),
    ("transformers", "5.0", r"of_halves\.py.*scaling_it\[mpt\]", "float64 throughout"),
    ("transformers", "5.0", r"test_halves\.py.*(alone|input|embedding)\[mpt\]", "MPT in float64"),
    ("transformers", "5.0", r"basis_probe.*gemma2", "its soft cap"),
    ("transformers", "5.0", r"test_bloom_s_own_activation", "BLOOM's own way back"),
    ("transformers", "5.0", r"outside_the_table.*jetmoe", "a size of JetMoE's heads"),
    ("transformers", "5.0", r"silently_backpropagate.*experts", "experts in one weight"),
    ("transformers", "5.0", r"backward_rules/.*(gemma2|stablelm)", "their attention interface"),
    ("transformers", "5.0", r"test_the_docs_table_lists_every_architecture", "the newest names"),
    ("transformers", "5.0", r"test_every_entry_of_the_table_has_a_tiny_model", "the newest names"),
    ("transformers", "5.0", r"test_attention_taps_exist_where_the_interface", "StableLM's q"),
    ("transformers", "5.0", r"test_the_kernels_are_those_that_the_model.*gemma2", "its soft cap"),
    ("transformers", "5.0", r"test_what_is_no_causal_language_model.*Bert", "an argument of BERT"),
    ("transformers", "5.0", r"(nemotron_h|nanochat|hybrid|deepseek_v4|gpt_oss)", "that type"),
    ("transformers", "5.0", r"test_a_table_of_whole_numbers_with_another_name", "DeepSeek-V4"),
    ("transformers", "5.0", r"test_quantised_weights_that_nobody_can_read", "the order of checks"),
    ("transformers", "5.0", r"test_a_tokenizer_(whose_file|that_reads)", "TokenizersBackend"),
    (
        "transformers",
        "5.0",
        r"test_a_model_(of_the_hub_is_checked_like|in_the_cache_is_read)",
        "the place of the cache",
    ),
    ("transformers", "5.0", r"loading/test_pretrained\.py.*every_family.*qwen2", "Qwen 2"),
    ("transformers", "5.0", r"test_the_stored_format_is_what.*bfloat16", "files of two formats"),
    (
        "transformers",
        "4.52",
        r"test_families\.py.*(\[opt\]|another_axis|another axis)",
        "new types",
    ),
    ("transformers", "4.52", r"test_families\.py.*(norms of queries|restores_the_k)", "new types"),
    *(
        ("torch", "2.5", pattern, "to go back from within a graph (--backward)")
        for pattern in (
            r"test_proof\.py.*every_wiring_passes(?!.*\[(gpt_neo|gptj|opt|bloom|falcon|mpt)( |\]))",
            r"test_proof\.py::test_(relevance_is_one|frozen_does_not|weights_that_are_learned)",
            r"test_proof\.py::test_a_(rule|step|pattern|product|wrong|norm|nonlin|subject|forward)",
            r"test_proof\.py::test_(a_model_under|sites_that_act)",
            r"backward_rules/test_rules\.py.*(-frozen|-relp|\[frozen|\[relp|attention_can_be_tapped)",
        )
    ),
    ("torch", "2.6", r"loading/test_handed\.py.*spread_over", "fully_shard"),
    ("torch", "2.6", r"compile", "torch.compiler.set_stance"),
)
"""Package, version, what the test's id matches, and what the test is about."""


def is_missing(test: str) -> str | None:
    """Say what a test needs that is not installed; None if there is nothing."""
    for package, lowest, pattern, about in NEEDS:
        if _numbers(version(package)) < _numbers(lowest) and re.search(pattern, test):
            return f"needs {package} {lowest}: {about}"
    return None


def _numbers(written: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", written)[:2]))
