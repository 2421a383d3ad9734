"""Which tests need a newer torch or Transformers than the oldest that backlight works with."""

import re
from functools import cache
from importlib.metadata import version

NEEDS = (
    ("transformers", "5.4", r"loading/test_passing\.py", "weights that come and go (--memory)"),
    ("transformers", "5.0", r"test_a_head_of_its_own_is_not_tied_away", "two untied weights"),
    ("transformers", "5.0", r"test_experts_are_taken_one_by_one_in_float64_alone", "experts"),
    ("transformers", "5.0", r"test_inner\.py.*(_router_|shared|_logits_that)", "routers as sites"),
    ("transformers", "5.0", r"test_inner\.py.*(\[gemma2|diffllama|falcon)", "their attention"),
    ("transformers", "5.0", r"finds_the_tensors_that_the_table_names\[(gptj|mpt)\]", "their dtype"),
    ("transformers", "5.0", r"test_foreign_names\.py.*\[mpt", "MPT in float64"),
    ("transformers", "5.0", r"is_what_the_module_returns\[gptj\]", "GPT-J in float64"),
    ("transformers", "5.0", r"test_the_mlp_of_all_layers.*\[mixtral\]", "the name mlp in Mixtral"),
    ("transformers", "5.0", r"test_record\.py.*mpt-torch\.float64", "MPT in float64"),
    ("transformers", "5.0", r"test_record\.py.*(tensor|stream|others)\[mpt\]", "MPT in float64"),
    ("transformers", "5.0", r"test_(curvature|splice)\.py.*\[mpt\]", "MPT in float64"),
    ("transformers", "5.0", r"test_(streams|norms)\.py.*mpt\]", "MPT in float64"),
    ("transformers", "5.0", r"of_halves\.py.*scaling_it\[mpt\]", "MPT in float64"),
    ("transformers", "5.0", r"test_halves\.py.*(alone|input|embedding)\[mpt\]", "MPT in float64"),
    (
        "transformers",
        "5.0",
        r"(basis_probe|test_the_kernels|test_every_check|backward_rules/).*gemma2",
        "soft caps",
    ),
    ("transformers", "5.0", r"test_rules\.py.*stablelm", "StableLM's q"),
    ("transformers", "5.0", r"test_bloom_s_own_activation", "BLOOM's own way back"),
    ("transformers", "4.57", r"(outside_the_table|test_a_wiring_costs).*jetmoe", "JetMoE's heads"),
    ("transformers", "5.0", r"silently_backpropagate.*experts", "experts in one weight"),
    ("transformers", "5.0", r"test_the_docs_table_lists_every_architecture", "the newest names"),
    ("transformers", "4.55", r"test_every_entry_of_the_table_has_a_tiny_model", "the newest names"),
    ("transformers", "5.0", r"test_attention_taps_exist_where_the_interface", "StableLM's q"),
    ("transformers", "5.0", r"_head_by_head\[stablelm", "StableLM's norms of queries"),
    ("transformers", "5.0", r"test_what_is_no_causal_lang.*Bert\w+Class", "an argument of BERT"),
    ("transformers", "5.0", r"(nemotron_h|nanochat|hybrid|deepseek_v4)", "that type"),
    ("transformers", "4.55", r"gpt_oss", "that type"),
    ("transformers", "5.0", r"test_a_table_of_whole_numbers_with_another_name", "DeepSeek-V4"),
    ("transformers", "5.0", r"test_quantised_weights_that_nobody_can_read", "the order of checks"),
    ("transformers", "5.0", r"test_a_tokenizer_(whose_file|that_reads)", "TokenizersBackend"),
    ("transformers", "5.0", r"test_a_model_(of_the_hub_is_checked|in_the_cache_is)", "its cache"),
    ("transformers", "4.57", r"is_what_the_files_hold.*bfloat16, torch.float32", "two formats"),
    ("transformers", "5.0", r"test_every_family_is_read_whole\[qwen2\]", "Qwen 2's warning"),
    ("transformers", "4.52", r"is_refused_with_the_right_one\[opt-", "OPT's q"),
    ("transformers", "4.52", r"test_families\.py.*(changes_nothing\[opt\]|axis\])", "OPT's q"),
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
    (
        "torch",
        "2.6",
        r"test_other_files_give_the_same_model\[bin\]",
        "torch.load, says Transformers",
    ),
    ("torch", "2.6", r"loading/test_handed\.py.*spread_over", "fully_shard"),
    ("torch", "2.6", r"compile", "torch.compiler.set_stance"),
)
"""Package, version, what the test's id matches, and what the test is about."""


def is_missing(test: str) -> str | None:
    """Say what a test needs that is not installed; None if there is nothing."""
    for pattern, reason in _needed():
        if pattern.search(test):
            return reason
    return None


@cache
def _needed() -> list[tuple[re.Pattern[str], str]]:
    """Keep what is newer than what is installed: reading versions takes as long as a test."""
    return [
        (re.compile(pattern), f"needs {package} {lowest}: {about}")
        for package, lowest, pattern, about in NEEDS
        if _numbers(version(package)) < _numbers(lowest)
    ]


def _numbers(written: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", written)[:2]))
