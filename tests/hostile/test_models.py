"""Broken model folders: each is one sentence and exit status 2, and nothing is written."""

import json
import os
import re
import shutil
import socket
from itertools import count

import pytest
import torch
from safetensors.torch import load_file, save_file

from zoo.broken_models import (
    CONFIG,
    DEEP,
    TOKENIZER,
    WEIGHTS,
    Evil,
    both,
    configured,
    cut,
    dropped,
    edited,
    emptied,
    header,
    pickled,
    renamed,
    replaced,
    sharded,
    weight,
    weights,
    without,
    written,
)
from zoo.hostile import attack

_DOWN = "model.layers.1.mlp.down_proj.weight"
_BIN, _INDEX = "pytorch_model.bin", "model.safetensors.index.json"
_TOKENS, _GENERATION = "tokenizer_config.json", "generation_config.json"
_ADAPTER = json.dumps({"peft_type": "LORA", "base_model_name_or_path": "a/b", "r": 4})


def _tokenizer(**values):
    return edited(TOKENIZER, lambda found: {**found, **values})


def _tokenizer_model(**values):
    return edited(TOKENIZER, lambda found: {**found, "model": {**found["model"], **values}})


def _second_shard(edit):
    def change(folder):
        path = folder / "model-00002-of-00002.safetensors"
        edit(path)

    return change


def _repeat_a_weight(folder):
    first, second = (folder / f"model-0000{number}-of-00002.safetensors" for number in (1, 2))
    tensors = load_file(second)
    save_file({**load_file(first), _DOWN: tensors.get(_DOWN, torch.zeros(3))}, first)
    save_file({**tensors, _DOWN: torch.ones(3)}, second)


_PLACES = {
    f"{name} is {what}": (replaced(name, make), sentence)
    for name in (CONFIG, WEIGHTS, TOKENIZER, _GENERATION)
    for what, make, sentence in (
        ("a pipe", os.mkfifo, "is a pipe, not a file"),
        ("a folder", lambda path: path.mkdir(), "is a folder, not a file"),
        ("a link to itself", lambda path: path.symlink_to(path.name), "Too many levels"),
        ("a link to nothing", lambda path: path.symlink_to("nowhere"), "There is no file"),
        ("a device", lambda path: path.symlink_to("/dev/zero"), "is a device, not a file"),
    )
}

_DOCUMENTS = {
    f"{name} {what}": (written(name, content), sentence)
    for name, sentence in (
        (CONFIG, r"config\.json"),
        (TOKENIZER, "okenizer"),
        (_TOKENS, "okenizer"),
    )
    for what, content in {
        "empty": "",
        "an array": "[]",
        "null": "null",
        "a number": "3",
        "no JSON": "hidden_size: 3",
        "not closed": '{"model_type": "llama"',
        "binary": bytes(range(256)),
        "nested": DEEP,
        "nested objects": '{"a":' * 100_000,
    }.items()
}

_VALUES = {
    f"{name}={value!r:.40}": (configured(**{name: value}), sentence)
    for name, sentence, values in (
        ("model_type", "cannot be loaded", ("nope", "", None, 3, ["llama"], "../../x", "x" * 9999)),
        ("model_type", "contradicts itself", ("gpt2", "gemma", "bert", "gemma3")),
        ("model_type", "is a (t5|clip) model, not a causal language model", ("t5", "clip")),
        ("hidden_size", "cannot be", (0, -32, "32", None, 32.5, 33, 64, 10**30)),
        ("hidden_size", "do not belong together", (10**12,)),
        ("num_hidden_layers", "has no layers", (0, -1)),
        ("num_hidden_layers", "no model has so many", (10**9, 10**40)),
        ("num_hidden_layers", "cannot be loaded", ("3", None, 2.5, True)),
        ("num_hidden_layers", r"model\.layers\.3\.", (4,)),
        ("num_hidden_layers", "asks for 5000 layers", (5000,)),
        ("num_attention_heads", "cannot be", (0, -4, 5, "4", None, 8, 10**9)),
        ("num_key_value_heads", "cannot be", (0, 3, -2, "x", None)),
        ("num_key_value_heads", "do not belong together", (10**9,)),
        ("vocab_size", "cannot be", (0, -1, 98, 100, "99", None)),
        ("vocab_size", "do not belong together", (10**12,)),
        ("intermediate_size", "cannot be", (0, -1, 63, None)),
        ("head_dim", "cannot be", (0, 7, -2, "x", 16)),
        ("hidden_act", "cannot be loaded", ("nope", None, 3)),
        ("rms_norm_eps", "cannot be loaded", ("x", None)),
        ("rope_parameters", "cannot be loaded", ("x", {"rope_type": "nope"}, [1])),
        ("tie_word_embeddings", "cannot be loaded", ("maybe", None)),
        ("dtype", "cannot be loaded", ("float99", "int8", 3)),
        ("quantization_config", "cannot be loaded", ("x", {}, [1], {"quant_method": "gptq"})),
        ("pad_token_id", "cannot be loaded", (10**6, "x")),
        ("architectures", "contradicts itself", (["GemmaForCausalLM"], ["x", "GPT2Model"])),
        ("attention_bias", r"missing in its files .*self_attn\.k_proj\.bias", (True,)),
        ("layer_types", "cannot be loaded", (["full_attention"], "x")),
        ("transformers_weights", "do not lie beside it", ("../w.safetensors", "/etc/passwd")),
        ("is_encoder_decoder", "an encoder and a decoder", (True,)),
        ("return_dict", "cannot read a few tokens", (False,)),
        ("text_config", "cannot be loaded", ({"hidden_size": 3}, "x")),
        ("id2label", "cannot be loaded", ("x",)),
        ("_attn_implementation", "cannot be loaded", ("nope",)),
    )
    for value in values
}

_STORED = {
    "no weights": (dropped(WEIGHTS), "has no weights"),
    "other weights": (both(dropped(WEIGHTS), written("tf_model.h5", "x")), "'tf_model.h5', which"),
    "weights empty": (written(WEIGHTS, ""), "is damaged: .*fetch it again"),
    "weights cut in the header": (cut(WEIGHTS, 100), "is damaged"),
    "weights cut at the end": (cut(WEIGHTS, 9000), "is damaged"),
    "weights are a pointer": (written(WEIGHTS, "version https://git-lfs"), "pointer of Git LFS"),
    "weights are noise": (written(WEIGHTS, bytes(range(256)) * 20), "is damaged"),
    "header is an array": (header([]), "is damaged"),
    "header is empty": (header({}), "holds no weights"),
    "header beyond the file": (
        header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 800]}}),
        "is damaged",
    ),
    "header overflows": (
        header({"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 8]}}, b"x" * 8),
        "is damaged",
    ),
    "a weight is missing": (without(_DOWN), rf"1 of \d+ weights .*'{_DOWN}'"),
    "the embedding is missing": (without("model.embed_tokens.weight"), "'model.embed_tokens"),
    "the head is missing": (without("lm_head.weight"), "'lm_head.weight'"),
    "a weight is misspelt": (renamed(lambda k: k.replace("1.mlp.down", "1.mlp.dwn")), _DOWN),
    "a name steers": (renamed(lambda k: "\x1b[2J\u202e" if k == _DOWN else k), _DOWN),
    "a name is long": (renamed(lambda k: "x" * 50_000 if k == _DOWN else k), _DOWN),
    "module. before all": (renamed(lambda k: f"module.{k}"), "begin with 'module.'"),
    "_orig_mod. before all": (renamed(lambda k: f"_orig_mod.{k}"), "begin with '_orig_mod.'"),
    "another shape": (weight(_DOWN, lambda v: v[:3]), rf"'{_DOWN}' is \[3, 64\] .* \[32, 64\]"),
    "transposed": (weight(_DOWN, lambda v: v.T.contiguous()), r"is \[64, 32\] .* \[32, 64\]"),
    "flat": (weight(_DOWN, torch.flatten), r"is \[2048\] in the file"),
    "a scalar": (weight(_DOWN, torch.sum), r"is \[\] in the file"),
    "one weight of many": (weights(lambda t: {_DOWN: t[_DOWN]}), "missing|do not belong"),
    **{
        f"a weight as {dtype}": (weight(_DOWN, lambda v, dtype=dtype: v.to(dtype)), "is stored as")
        for dtype in (torch.int8, torch.int64, torch.bool, torch.float8_e4m3fn, torch.complex64)
    },
    "shard absent": (
        sharded(afterwards=_second_shard(os.unlink)),
        "names 'model-00002.*is not there",
    ),
    "shard cut": (sharded(afterwards=_second_shard(lambda p: os.truncate(p, 99))), "is damaged"),
    "a weight twice": (sharded(afterwards=_repeat_a_weight), f"'{_DOWN}' in two of its files"),
    "index empty": (sharded(lambda _: ""), "is not JSON"),
    "index an array": (sharded(lambda _: []), "holds a list"),
    "index without a map": (sharded(lambda _: {}), "has no weight_map"),
    "index without metadata": (
        sharded(lambda i: {"weight_map": i["weight_map"]}),
        'has no metadata.*Add "metadata"',
    ),
    "index with a list": (sharded(lambda _: {"weight_map": [1]}), "has no weight_map"),
    "index of numbers": (sharded(lambda _: {"weight_map": {"a": 3}}), "do not lie beside it"),
    "index elsewhere": (sharded(lambda _: {"weight_map": {"a": "../w"}}), "do not lie beside it"),
    "index of one shard": (
        sharded(
            lambda i: {**i, "weight_map": {k: v for k, v in i["weight_map"].items() if "1-of" in v}}
        ),
        "missing in its files",
    ),
    "bin empty": (both(dropped(WEIGHTS), written(_BIN, "")), "is damaged"),
    "bin noise": (both(dropped(WEIGHTS), written(_BIN, bytes(range(256)) * 9)), "is damaged"),
    "bin cut": (both(pickled(dict), cut(_BIN, 3000)), "is damaged"),
    "bin a list": (pickled(lambda _: [1]), "holds a list, not named weights"),
    "bin nested": (pickled(lambda t: {"state_dict": t}), "holds 'state_dict' beside weights"),
    "bin without weights": (pickled(lambda _: {}), "holds no weights"),
    "bin runs code": (pickled(lambda _: {"a": Evil("victim")}), "never runs code"),
    "bin an old pickle": (
        both(dropped(WEIGHTS), written(_BIN, b"cos\nsystem\n(S'touch victim'\ntR.")),
        "never runs code",
    ),
}

_OTHERS = {
    "empty folder": (emptied, r"it has no config\.json"),
    "no config": (dropped(CONFIG), r"it has no config\.json"),
    "checkpoints": (
        both(emptied, lambda folder: shutil.copytree(folder.parent / "whole", folder / "step-9")),
        "its folder 'step-9' has one",
    ),
    "a GGUF file": (both(emptied, written("m.gguf", "GGUF")), "GGUF files are not read"),
    "an adapter": (both(emptied, written("adapter_config.json", _ADAPTER)), "adapter .* 'a/b'"),
    "an adapter beside": (written("adapter_config.json", _ADAPTER), "holds an adapter"),
    "config large": (configured(note="x" * 11_000_000), "has 10 MB|10 MB at most"),
    "config UTF-16": (written(CONFIG, '{"model_type":"llama"}'.encode("utf-16")), "cannot be"),
    "no tokenizer": (dropped(TOKENIZER), "The tokenizer of .* cannot be loaded"),
    "a socket": (
        replaced("chat_template.jinja", lambda path: _socket(path)),
        "is a socket, not a file",
    ),
    "tokenizer without model": (_tokenizer(model=None), "The tokenizer of"),
    "tokenizer of no kind": (_tokenizer_model(type="nope"), "The tokenizer of"),
    "tokenizer without words": (_tokenizer_model(vocab={}), "The tokenizer of"),
    "negative ids": (_tokenizer_model(vocab={"a": -3}), "The tokenizer of"),
    "a broken pattern": (
        _tokenizer(
            pre_tokenizer={
                "type": "Split",
                "pattern": {"Regex": "("},
                "behavior": "Isolated",
                "invert": False,
            }
        ),
        "The tokenizer of",
    ),
    "tokenizer class 3": (edited(_TOKENS, lambda c: {**c, "tokenizer_class": 3}), "okenizer"),
    "pad token": (edited(_TOKENS, lambda c: {**c, "pad_token": {"a": 1}}), "okenizer"),
    "padding side": (edited(_TOKENS, lambda c: {**c, "padding_side": "up"}), "okenizer"),
    "special tokens": (written("special_tokens_map.json", "{"), "okenizer"),
    "added tokens": (written("added_tokens.json", "{"), "okenizer"),
    "code of its own": (
        both(
            configured(model_type="own", auto_map={"AutoConfig": "own.Own"}),
            written("own.py", "open('victim', 'w')"),
        ),
        "cannot be loaded",
    ),
    "code for the tokenizer": (
        both(
            edited(_TOKENS, lambda c: {**c, "auto_map": {"AutoTokenizer": ["own.Own", None]}}),
            edited(_TOKENS, lambda c: {**c, "tokenizer_class": "Own"}),
            written("own.py", "open('victim', 'w')"),
            dropped(TOKENIZER),
        ),
        "okenizer",
    ),
    "generation nested": (written(_GENERATION, DEEP), "cannot be loaded"),
    "generation an array": (written(_GENERATION, "[]"), "cannot be loaded"),
}

BROKEN = {**_PLACES, **_DOCUMENTS, **_VALUES, **_STORED, **_OTHERS}


def _socket(path):
    with socket.socket(socket.AF_UNIX) as end:
        here = os.open(".", os.O_RDONLY)
        os.chdir(path.parent)  # the path of a socket must be short
        try:
            end.bind(path.name)
        finally:
            os.fchdir(here)
            os.close(here)


@pytest.fixture
def broken(model_folder, tmp_path):
    """Give a place with a whole model, and a copy of it that may be broken."""
    numbers = count()

    def make(change):
        place = tmp_path / str(next(numbers))
        shutil.copytree(model_folder, place / "whole")
        shutil.copytree(model_folder, place / "broken")
        change(place / "broken")
        shutil.rmtree(place / "whole")
        return place

    return make


@pytest.mark.parametrize(("change", "sentence"), BROKEN.values(), ids=BROKEN)
def test_a_broken_folder_is_one_sentence(broken, monkeypatch, change, sentence):
    place = broken(change)
    monkeypatch.chdir(place)  # where code of a stranger would leave its mark

    told = attack(["sites", str(place / "broken"), "--device", "cpu"], place=place)

    assert told.status == 2
    assert re.search(sentence, told.err), told.err
    assert not (place / "victim").exists()


HARMLESS = {
    "a broken chat template": written("chat_template.jinja", "{% for"),
    "a broken processor": written("processor_config.json", "{"),
    "a generation config that is cut": written(_GENERATION, '{"max'),
    "no generation config": dropped(_GENERATION),
    "a link that leads nowhere beside the files": replaced(
        "LICENSE", lambda path: path.symlink_to("nowhere")
    ),
    "a pipe that is not read": replaced("log", os.mkfifo),
    "more weights": weights(lambda tensors: {**tensors, "\x1b[2Jmore": torch.zeros(3)}),
    "two kinds of weights": lambda folder: torch.save({"a": Evil("victim")}, folder / _BIN),
    "shards": sharded(),
}


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_what_does_no_harm_is_no_error(broken, monkeypatch, change):
    place = broken(change)
    monkeypatch.chdir(place)

    told = attack(["sites", str(place / "broken"), "--device", "cpu"], place=place, ok=True)

    assert told.status == 0, told.err
    assert not (place / "victim").exists()


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "./nowhere",
        "~",
        "a/b/c/d",
        "x" * 5000,
        "/" + "x/" * 3000,
        "a\0b",
        "two\nlines",
        "\x1b[2Jred",
        "\u202eesrever",
        "-",
        "--dtype",
        "nobody/no thing",
        "nobody/nothing",
        "datasets/nobody/nothing",
        "https://example.com/model",
        "/dev/null",
        "/dev/stdin",
        "text.txt",
        "m.gguf",
        "{}",
        "$HOME",
        "\ud800",
    ],
    ids=lambda name: ascii(name)[:30],
)
def test_a_name_that_means_no_model_is_one_sentence(tmp_path, monkeypatch, name):
    (tmp_path / "text.txt").write_text("no model", encoding="utf-8")
    (tmp_path / "m.gguf").write_text("GGUF", encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    told = attack(["sites", "--model_name", name, "--device", "cpu"], place=tmp_path)

    assert told.status == 2
