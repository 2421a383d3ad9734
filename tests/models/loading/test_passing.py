"""A stored model whose weights come and go is proven, and measured like the whole one."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from backlight.capture.record import record, record_activations
from backlight.data.batches import Batch, Passages
from backlight.errors import ModelError
from backlight.models.loading import load_subject
from backlight.models.loading.passing import load_passing_subject
from backlight.models.loading.stored import find_stored
from backlight.models.loading.subjects import source_of
from zoo.folders import save_tokenizer
from zoo.models import CONFIGS, tiny_model
from zoo.subjects import batch_of, tappable

STACKED = {"mixtral", "qwen3_moe"}  # whose experts are stored one by one


def saved(folder, name="llama", dtype=torch.float32, **how):
    tiny_model(name, dtype).save_pretrained(folder, **how)
    save_tokenizer(folder)
    return folder


def passing(model_name, dtype=None):
    return load_passing_subject(find_stored(source_of(model_name)), dtype=dtype)[0]


def assert_same_tapes(whole, subject, sites, batch):
    keep = {"keep_activations": True, "norms": sites[:2]}
    expected, found = record(whole, batch, sites, **keep), record(subject, batch, sites, **keep)
    for site in sites:
        assert torch.equal(found.gradients[site.name], expected.gradients[site.name]), site.name
        assert torch.equal(found.activations[site.name], expected.activations[site.name])
    assert torch.equal(found.value, expected.value)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", [name for name in CONFIGS if name not in STACKED])
def test_a_family_s_stored_model_gives_the_tape_of_the_whole_one_to_the_last_bit(
    name, dtype, tmp_path
):
    saved(tmp_path, name, getattr(torch, dtype))
    whole = load_subject(tmp_path, device="cpu", dtype="auto")
    subject = passing(tmp_path)
    assert subject.passing is not None
    assert subject.facts == whole.facts
    assert_same_tapes(whole, subject, tappable(whole), batch_of())
    blocks = subject.passing.modules
    held = [each for block in blocks for each in block.parameters() if not each.is_meta]
    assert all(each.dim() == 1 or name == "cohere" for each in held)  # its gains are split in heads


def test_weights_that_are_stored_in_another_format_are_those_of_the_whole_model(tmp_path):
    saved(tmp_path, "gemma3", torch.bfloat16)
    whole = load_subject(tmp_path, device="cpu", dtype="float32")
    subject = passing(tmp_path, torch.float32)
    assert subject.facts == whole.facts
    assert_same_tapes(whole, subject, tappable(whole), batch_of())
    sites = tappable(whole)[:4]
    values = record_activations(subject, batch_of(), sites).activations
    for name, each in record_activations(whole, batch_of(), sites).activations.items():
        assert torch.equal(values[name], each)


@pytest.mark.parametrize("name", sorted(STACKED))
def test_experts_that_are_stored_one_by_one_are_refused(name, tmp_path):
    saved(tmp_path, name)
    with pytest.raises(ModelError, match=r"hold .*experts\.0\..* and not .*it stacks experts"):
        passing(tmp_path)


def test_a_missing_weight_is_told_as_of_a_whole_model(tmp_path):
    file = saved(tmp_path) / "model.safetensors"
    tensors = load_file(file)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 of \d+ weights .* are missing .*up_proj"):
        passing(tmp_path)


def test_a_weight_of_another_shape_is_told_as_of_a_whole_model(tmp_path):
    file = saved(tmp_path) / "model.safetensors"
    tensors = load_file(file)
    tensors["model.layers.1.mlp.up_proj.weight"] = torch.zeros(3, 3)
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"up_proj.* is \[3, 3\] in the file, but should be"):
        passing(tmp_path)


def test_a_weight_that_is_not_finite_or_not_used_is_noted_as_of_a_whole_model(tmp_path):
    file = saved(tmp_path) / "model.safetensors"
    tensors = load_file(file) | {"extra.weight": torch.zeros(3)}
    tensors["model.layers.1.self_attn.o_proj.weight"][0, 0] = float("nan")
    save_file(tensors, file, metadata={"format": "pt"})
    subject = passing(tmp_path)
    assert "extra.weight" in subject.facts["unused_weights"]
    assert "layers.1.self_attn.o_proj" in subject.facts["weights_not_finite"]
    assert subject.facts == load_subject(tmp_path, device="cpu").facts


def test_only_the_files_of_the_index_are_read(tmp_path):
    saved(tmp_path, max_shard_size="20KB")
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 2
    save_file(load_file(shards[0]), tmp_path / "other.safetensors", metadata={"format": "pt"})
    whole = load_subject(tmp_path, device="cpu")
    assert_same_tapes(whole, passing(tmp_path), tappable(whole)[:9], batch_of())


def test_a_quantised_model_is_refused(tmp_path):
    file = saved(tmp_path) / "config.json"
    config = json.loads(file.read_text()) | {"quantization_config": {"quant_method": "gptq"}}
    file.write_text(json.dumps(config))
    with pytest.raises(ModelError, match="quantised, so they cannot be read block by block"):
        passing(tmp_path)


def test_pickled_weights_are_refused(tmp_path):
    file = saved(tmp_path) / "model.safetensors"
    torch.save(load_file(file), tmp_path / "pytorch_model.bin")
    file.unlink()
    with pytest.raises(ModelError, match=r"pickled .*pytorch_model\.bin.*Save the model as"):
        passing(tmp_path)


def test_tied_weights_that_differ_in_the_files_are_refused(tmp_path):
    file = saved(tmp_path, "gemma") / "model.safetensors"
    tensors = load_file(file)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"] + 1
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="its files hold two different ones"):
        passing(tmp_path)


def test_smollm2_gives_the_gradients_of_the_whole_model_to_the_last_bit():
    whole, subject = load_subject("smollm2", device="cpu"), passing("smollm2", torch.float32)
    tokens = torch.arange(24).numpy() * 37 % 9999
    batch = Batch.of(Passages(tokens=[tokens, tokens[5:16]]), (0, 1))
    names = [f"layers.{layer}.mlp.out" for layer in (0, 13, 29)]
    sites = [whole.sites[name] for name in (*names, "embed.out", "final_norm.out")]
    assert subject.facts == whole.facts
    assert_same_tapes(whole, subject, sites, batch)
