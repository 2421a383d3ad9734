"""A loaded model is the one that its files hold; what is left over or ambiguous is told."""

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CONFIG_MAPPING, AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

import backlight
from backlight.errors import ModelError
from backlight.models.loading import load_subject
from zoo.broken_models import WEIGHTS, both, configured, edited, pickled, sharded, weight, weights
from zoo.folders import save_causal, save_tokenizer
from zoo.hubs import SIGN_OF_LIFE, hub
from zoo.models import CONFIGS

_DOWN = "model.layers.1.mlp.down_proj.weight"


@pytest.fixture
def folder(model_folder, tmp_path):
    """A copy of the tiny Llama, to be changed."""
    return shutil.copytree(model_folder, tmp_path / "llama")


def _load(folder, **options):
    return load_subject(str(folder), device="cpu", **options)


def _refused(folder, sentence, **options):
    with pytest.raises(ModelError, match=sentence):
        _load(folder, **options)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_family_is_read_whole(name, tmp_path, caplog):
    subject = _load(save_causal(tmp_path, name))

    plain = AutoModelForCausalLM.from_pretrained(tmp_path).float()
    for (path, found), (_, right) in zip(
        subject.model.state_dict().items(), plain.state_dict().items(), strict=True
    ):
        assert torch.equal(found, right), path
    assert not {"unused_weights", "unread_files", "weights_not_finite"} & subject.facts.keys()
    assert caplog.messages == []


def test_each_weight_that_is_left_out_is_named(folder):
    whole = load_file(folder / WEIGHTS)
    for name in whole:
        if ".0." in name or "layers" not in name:
            rest = {key: value for key, value in whole.items() if key != name}
            save_file(rest, folder / WEIGHTS, metadata={"format": "pt"})
            _refused(folder, f"1 of {len(whole)} weights .* are missing .*: '{name}'")


@pytest.mark.parametrize("name", ["gemma", "gpt2", "bloom", "cohere", "falcon parallel"])
def test_a_tied_head_is_not_missing(name, tmp_path):
    save_causal(tmp_path, name)

    assert "lm_head.weight" not in load_file(tmp_path / WEIGHTS)
    assert _load(tmp_path).head is not None


def test_a_tied_head_without_its_embedding_is_missing(tmp_path):
    save_causal(tmp_path, "gemma")
    weights(lambda t: {k: v for k, v in t.items() if "embed" not in k})(tmp_path)

    _refused(tmp_path, r"2 of \d+ weights .*'lm_head.weight', 'model.embed_tokens.weight'")


def test_a_head_of_its_own_is_not_tied_away(folder):
    configured(tie_word_embeddings=True)(folder)

    subject = _load(folder)

    stored = load_file(folder / WEIGHTS)["lm_head.weight"]
    assert torch.equal(subject.head.weight, stored)


def test_a_model_of_fewer_layers_than_its_files_is_told(folder, caplog):
    configured(num_hidden_layers=2)(folder)

    subject = _load(folder)

    assert subject.num_layers == 2
    assert "'model.layers.2.input_layernorm.weight'" in subject.facts["unused_weights"]
    assert "has no place for weights of its files: 'model.layers.2." in caplog.text


def test_unused_weights_are_in_the_record_of_a_run(folder, text_file, tmp_path):
    weights(lambda t: {**t, "extra.weight": torch.zeros(3)})(folder)

    place = tmp_path / "run"
    backlight.layers(
        model_name=str(folder), dataset=str(text_file), num_samples=1, output_dir=str(place)
    )

    record = (place / "config.yaml").read_text(encoding="utf-8")
    assert "unused_weights: '''extra.weight'''" in record


@pytest.mark.parametrize(
    ("change", "unread"),
    [
        (lambda f: torch.save({}, f / "pytorch_model.bin"), "pytorch_model.bin"),
        (
            both(
                lambda f: shutil.copy(f / WEIGHTS, f / "kept"),
                sharded(),
                lambda f: shutil.move(f / "kept", f / WEIGHTS),
            ),
            None,
        ),
    ],
    ids=["two kinds", "whole and in shards"],
)
def test_other_files_with_weights_are_told(folder, change, unread, caplog):
    change(folder)

    subject = _load(folder)

    assert subject.facts["unread_files"] == (unread or "model.safetensors.index.json")
    assert "was not read" in caplog.text


def test_weights_that_are_not_finite_are_told(folder, caplog):
    weight(_DOWN, lambda value: value.index_fill(0, torch.tensor([2]), float("nan")))(folder)

    assert _load(folder).facts["weights_not_finite"] == f"'{_DOWN}'"
    assert f"hold NaN or infinity: '{_DOWN}'" in caplog.text


@pytest.mark.parametrize("change", [sharded(), pickled(dict)], ids=["shards", "bin"])
def test_other_files_give_the_same_model(folder, change):
    expected = _load(folder).model.state_dict()
    change(folder)

    found = _load(folder).model.state_dict()

    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("stored", "said", "loaded"),
    [
        ([torch.bfloat16], "float32", torch.bfloat16),
        ([torch.float32], "bfloat16", torch.float32),
        ([torch.float64], "float32", torch.float64),
        ([torch.bfloat16, torch.float32], "bfloat16", torch.float32),
        ([torch.bfloat16, torch.float16], "float16", torch.float32),
        ([torch.float16], None, torch.float16),
    ],
    ids=str,
)
def test_the_stored_format_is_what_the_files_hold_not_what_the_config_says(
    folder, stored, said, loaded
):
    def mixed(tensors):
        names = enumerate(sorted(tensors))
        return {name: tensors[name].to(stored[place % len(stored)]) for place, name in names}

    both(weights(mixed), configured(dtype=said))(folder)

    subject = _load(folder, dtype="auto")

    assert subject.facts["dtype"] == str(loaded).removeprefix("torch.")
    for name, value in load_file(folder / WEIGHTS).items():
        assert torch.equal(subject.model.get_parameter(name).double(), value.double())


def test_a_missing_weight_is_named_even_if_transformers_would_not_mention_it(folder, monkeypatch):
    from transformers.models.llama.modeling_llama import LlamaPreTrainedModel

    monkeypatch.setattr(LlamaPreTrainedModel, "_keys_to_ignore_on_load_missing", ["down_proj"])
    weights(lambda t: {key: value for key, value in t.items() if key != _DOWN})(folder)

    _refused(folder, f"missing in its files .*'{_DOWN}'")


def test_weights_that_an_architecture_leaves_aside_are_kept_with_the_facts(tmp_path, caplog):
    save_causal(tmp_path, "gpt_neox")
    mask = "gpt_neox.layers.0.attention.masked_bias"  # old checkpoints of Pythia hold it
    weights(lambda t: {**t, mask: torch.tensor(-1e9)})(tmp_path)

    assert _load(tmp_path).facts["ignored_weights"] == f"'{mask}'"
    assert caplog.messages == []


def _save_other(folder, model_type, **options):
    """Save a small model that is not in the table of architectures."""
    size = {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 99}
    config = CONFIG_MAPPING[model_type](
        **{**size, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, **options}
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def test_a_model_that_changes_its_weights_in_the_first_pass_is_read(tmp_path):
    _save_other(tmp_path, "rwkv", attention_hidden_size=32, intermediate_size=64, rescale_every=1)

    assert "rwkv.blocks.1.attention" in _load(tmp_path).sites


def test_a_table_of_whole_numbers_with_another_name_in_the_files_is_no_quantised_weight(tmp_path):
    few = {"num_attention_heads": 4, "head_dim": 8, "q_lora_rank": 16, "moe_intermediate_size": 16}
    experts = {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1}
    _save_other(tmp_path, "deepseek_v4", **few, **experts, num_hash_layers=1)
    stored = load_file(tmp_path / WEIGHTS)
    assert not all(value.is_floating_point() for value in stored.values())

    assert _load(tmp_path).num_layers == 2


def test_experts_must_all_be_there_and_alike(tmp_path):
    save_causal(tmp_path, "mixtral")
    first = "model.layers.2.block_sparse_moe.experts.0.w1.weight"
    whole = (tmp_path / WEIGHTS).read_bytes()

    weights(lambda t: {k.replace("experts.0.", "experts.7."): v for k, v in t.items()})(tmp_path)
    _refused(tmp_path, r"experts\.0\..* is missing in the files .* experts up to 7")

    (tmp_path / WEIGHTS).write_bytes(whole)
    weight(first, lambda value: value[:3])(tmp_path)
    _refused(tmp_path, r"is \[64, 32\], but the first expert beside it is \[3, 32\]")

    (tmp_path / WEIGHTS).write_bytes(whole)
    weight(first, lambda value: value.to(torch.int8))(tmp_path)
    _refused(tmp_path, f"'{first}' .* is stored as I8")


def test_quantised_weights_that_nobody_can_read_are_refused(folder):
    both(
        configured(quantization_config={"quant_method": "nope"}),
        weight(_DOWN, lambda value: value.to(torch.int8)),
    )(folder)

    _refused(folder, f"'{_DOWN}' .* is stored as I8")


def test_a_tokenizer_whose_file_is_to_be_taken_as_it_is_is_not_built_anew(tmp_path):
    save_causal(tmp_path, "qwen2")  # Transformers has a tokenizer of its own for these
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "TokenizersBackend"

    ids = _load(tmp_path).tokenizer("light falls back", truncation=True, max_length=9)["input_ids"]

    words = json.loads((tmp_path / "tokenizer.json").read_text())["model"]["vocab"]
    assert ids == [words["light"], words["falls"], words["back"]]


def test_a_tokenizer_that_reads_otherwise_than_its_file_is_told(folder, caplog):
    edited("tokenizer_config.json", lambda c: {**c, "tokenizer_class": "GPT2Tokenizer"})(folder)
    edited("tokenizer.json", lambda c: {**c, "model": _BYTES})(folder)

    subject = _load(folder)

    assert subject.facts["tokenizer"] == (
        "GPT2Tokenizer, which reads text otherwise than tokenizer.json"
    )
    assert "see tokenizer_class in its tokenizer_config.json" in caplog.text


_BYTES = {
    "type": "BPE",
    "vocab": {"<unk>": 0, **{chr(number): number - 31 for number in range(32, 127)}},
    "merges": [],
    "unk_token": "<unk>",
}


def test_a_revision_of_a_folder_is_refused(folder):
    _refused(folder, "revision 'main' is for models of the hub", revision="main")


def test_a_path_names_a_folder_too(folder):
    assert load_subject(Path(folder), device="cpu").name == str(folder)


@pytest.mark.parametrize("context", [torch.inference_mode, lambda: torch.autocast("cpu")])
def test_a_context_around_the_loading_changes_nothing(folder, context):
    with context():
        found = _load(folder).model.state_dict()

    expected = _load(folder).model.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert not any(value.is_inference() for value in found.values())


def test_transformers_talks_as_before_after_a_model_was_loaded_or_refused(folder):
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_info()
    try:
        _load(folder)
        (folder / "tokenizer.json").unlink()
        _refused(folder, "The tokenizer of .* cannot be loaded")

        assert not transformers_logging.is_progress_bar_enabled()
        assert transformers_logging.get_verbosity() == logging.INFO
    finally:
        transformers_logging.set_verbosity_warning()
        transformers_logging.enable_progress_bar()


@pytest.fixture
def in_cache(folder, tmp_path, monkeypatch):
    """The same model as one of the hub that was fetched before."""
    place = tmp_path / "hub" / "models--some--llama"
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = place / "snapshots" / commit
    shutil.copytree(folder, snapshot)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit, encoding="utf-8")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return snapshot


def test_a_model_of_the_hub_is_checked_like_a_folder(in_cache):
    both(
        configured(dtype="bfloat16"),
        lambda f: torch.save({}, f / "pytorch_model.bin"),
    )(in_cache)

    subject = load_subject("some/llama", device="cpu", dtype="auto")

    assert subject.facts["dtype"] == "float32"
    assert subject.facts["unread_files"] == "pytorch_model.bin"
    assert subject.facts["revision"] == in_cache.name

    weights(lambda t: {key: value for key, value in t.items() if key != _DOWN})(in_cache)
    with pytest.raises(ModelError, match=f"weights of some/llama are missing .*'{_DOWN}'"):
        load_subject("some/llama", device="cpu")


def test_a_model_in_the_cache_is_read_from_there_if_the_hub_cannot_be_reached(
    in_cache, monkeypatch
):
    with hub(monkeypatch, b"") as asked:
        subject = load_subject("some/llama", device="cpu")

    assert subject.facts["revision"] == in_cache.name
    assert asked[:2] == [SIGN_OF_LIFE] * 2
    assert not any("llama" in each for each in asked)


def test_a_revision_that_is_not_there_is_not_another_one(in_cache):
    assert in_cache.is_dir()
    with pytest.raises(ModelError, match="'some/llama' is not in the local cache"):
        load_subject("some/llama", device="cpu", revision="other")
