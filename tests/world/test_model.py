"""The tokenizer and the untrained model of the city world."""

import string

import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from backlight.models.loading import load_subject
from backlight.world.model import (
    VOCABULARY,
    city_tokenizer,
    new_city_model,
    pretrained_files,
)

ROW = "<bos> d i s t ( c _ 0 8 6 5 , c _ 1 2 3 4 ) = 7 6 9 <eos>"
IDS = [2, 61, 66, 76, 77, 11, 60, 56, 88, 96, 94, 93, 15, 60, 56, 89, 90, 91, 92, 12, 22, 95, 94]
IDS += [97, 3]


def test_the_vocabulary_has_98_tokens_with_the_digits_last():
    assert len(VOCABULARY) == len(set(VOCABULARY)) == 98
    assert VOCABULARY[:5] == ("<pad>", "<unk>", "<bos>", "<eos>", "!")
    assert VOCABULARY[-10:] == tuple("0123456789")
    assert set(VOCABULARY[4:]) == set(string.printable.strip())
    assert list(VOCABULARY[4:88]) == sorted(VOCABULARY[4:88])


def test_signs_have_the_numbers_they_are_known_by():
    tokenizer = city_tokenizer()
    assert tokenizer.convert_tokens_to_ids(list("(),;=_c")) == [11, 12, 15, 20, 22, 56, 60]
    assert tokenizer.convert_tokens_to_ids(list("0123456789")) == list(range(88, 98))
    assert len(tokenizer) == tokenizer.vocab_size == 98


def test_a_row_is_read_without_any_token_of_the_tokenizers_own():
    tokenizer = city_tokenizer()
    assert tokenizer(ROW)["input_ids"] == IDS
    assert tokenizer(ROW, add_special_tokens=False)["input_ids"] == IDS
    assert tokenizer("")["input_ids"] == []


def test_offsets_lead_back_to_the_characters():
    tokenizer = city_tokenizer()
    offsets = tokenizer(ROW, return_offsets_mapping=True)["offset_mapping"]
    assert [ROW[start:end] for start, end in offsets] == ROW.split(" ")


@given(st.lists(st.sampled_from(VOCABULARY), max_size=30))
def test_any_tokens_with_single_spaces_between_them_are_read_back(tokens):
    tokenizer = city_tokenizer()
    text = " ".join(tokens)
    found = tokenizer(text, return_offsets_mapping=True)
    assert found["input_ids"] == [VOCABULARY.index(token) for token in tokens]
    assert [text[start:end] for start, end in found["offset_mapping"]] == tokens
    assert tokenizer.decode(found["input_ids"]) == "".join(tokens)


def test_a_decoded_row_is_compact():
    tokenizer = city_tokenizer()
    assert tokenizer.decode(IDS) == "<bos>dist(c_0865,c_1234)=769<eos>"
    assert tokenizer.decode(IDS, skip_special_tokens=True) == "dist(c_0865,c_1234)=769"


def test_what_is_no_single_printable_character_is_unknown():
    tokenizer = city_tokenizer()
    assert tokenizer("a dist é 7")["input_ids"] == [58, 1, 1, 95]


def test_special_tokens_are_known_as_such():
    tokenizer = city_tokenizer()
    special = [tokenizer.pad_token_id, tokenizer.unk_token_id]
    assert [*special, tokenizer.bos_token_id, tokenizer.eos_token_id] == [0, 1, 2, 3]
    assert tokenizer.model_max_length == 512


def test_the_model_has_the_parameters_it_should_have():
    model = new_city_model(0)
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_601_920
    config = model.config
    assert (config.num_hidden_layers, config.num_key_value_heads) == (6, 4)
    assert model.get_output_embeddings().weight is not model.get_input_embeddings().weight
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_weights_have_the_scale_that_was_asked_for_and_biases_are_zero():
    for scale in (0.1, 0.02):
        model = new_city_model(0, init_scale=scale)
        parameters = dict(model.named_parameters())
        matrices = [p for p in parameters.values() if p.ndim == 2]
        assert all(abs(p.std() / scale - 1) < 0.05 for p in matrices)
        assert all((p == 0).all() for name, p in parameters.items() if name.endswith("bias"))


def test_the_seed_alone_fixes_the_weights():
    torch.manual_seed(1)
    one = new_city_model(7).state_dict()
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    two = new_city_model(7).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[name], two[name]) for name in one)
    other = new_city_model(8).state_dict()
    assert not torch.equal(one["lm_head.weight"], other["lm_head.weight"])


def test_the_files_are_a_folder_that_transformers_loads(tmp_path):
    model = new_city_model(0, hidden_size=16, num_layers=2, num_heads=2)
    for name, content in pretrained_files(model, city_tokenizer()).items():
        (tmp_path / name).write_bytes(content)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    read = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert tokenizer(ROW)["input_ids"] == IDS
    assert tokenizer.decode(IDS) == "<bos>dist(c_0865,c_1234)=769<eos>"
    tokens = torch.tensor([IDS])
    assert torch.equal(read(tokens).logits, model(tokens).logits)


def test_the_sites_of_the_model_can_be_proven(tmp_path):
    model = new_city_model(0, hidden_size=16, num_layers=2, num_heads=2)
    for name, content in pretrained_files(model, city_tokenizer()).items():
        (tmp_path / name).write_bytes(content)
    subject = load_subject(str(tmp_path), device="cpu")
    assert subject.facts["model_type"] == "qwen2"
