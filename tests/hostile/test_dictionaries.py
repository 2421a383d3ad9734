"""Folders of dictionaries that are damaged, lie, or hold more than numbers."""

import json
import os
import pickle
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from backlight.dictionaries.collection import read_dictionary
from backlight.errors import DictionaryError
from zoo.hostile import attack, within_seconds

_WRITTEN = Path(__file__).parent.parent / "dictionaries" / "fixtures"
_CPU = torch.device("cpu")

KINDS = {
    "saelens": ("saelens/jumprelu", "cfg.json", "sae_weights.safetensors"),
    "saelens_5": ("saelens_5/standard", "cfg.json", "sae_weights.safetensors"),
    "sparsify": ("sparsify/topk", "cfg.json", "sae.safetensors"),
    "dictionary_learning": ("dictionary_learning/standard", "config.json", "ae.pt"),
    "gemma_scope": ("gemma_scope/gemma-scope-2b-pt-res", None, "params.npz"),
    "llama_scope": ("llama_scope/topk", "hyperparams.json", "final.safetensors"),
    "qwen_scope": ("qwen_scope", None, "layer3.sae.pt"),
    "circuit_tracer": ("circuit_tracer/alone", "config.yaml", "layer_0.safetensors"),
}


class _Exploit:
    """What runs a command when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch hacked",)


def _other(file, content):
    file.write_bytes(content)


def _objects(file):
    with file.open("wb") as stream:
        np.save(stream, np.array([_Exploit()], dtype=object))


def _zip_bomb(file):
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in ("archive/data.pkl", "W_enc.npy", "b_enc.npy"):
            with archive.open(name, "w", force_zip64=True) as member:
                for _ in range(6):
                    member.write(bytes(16 * 2**20))


def _lying_header(file):
    header = json.dumps(
        {"W_dec": {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 4]}}
    )
    file.write_bytes(struct.pack("<Q", len(header)) + header.encode() + bytes(4))


def _lying_array(file):
    start = np.lib.format.magic(1, 0)
    text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776, 64), }"
    text += b" " * (118 - len(text) - 1) + b"\n"
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("W_enc", "W_dec", "b_enc", "b_dec", "threshold"):
            archive.writestr(f"{name}.npy", start + struct.pack("<H", len(text)) + text)


def _replaced(make):
    def replace(file):
        file.unlink()
        make(file)

    return replace


WEIGHTS = {
    "nothing": lambda file: _other(file, b""),
    "one byte": lambda file: _other(file, b"\0"),
    "half": lambda file: _other(file, file.read_bytes()[: file.stat().st_size // 2]),
    "without its end": lambda file: _other(file, file.read_bytes()[:-8]),
    "without its beginning": lambda file: _other(file, file.read_bytes()[8:]),
    "noise": lambda file: _other(file, np.random.default_rng(0).bytes(4096)),
    "text": lambda file: _other(
        file, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    ),
    "page": lambda file: _other(file, b"<html>\x1b[2J 404</html>"),
    "pickle": lambda file: _other(file, pickle.dumps(_Exploit())),
    "pickle in an archive": lambda file: torch.save({"W": _Exploit()}, file),
    "objects": _objects,
    "bomb": _zip_bomb,
    "huge header": lambda file: _other(file, struct.pack("<Q", 2**62) + b"{}"),
    "lying header": _lying_header,
    "lying array": _lying_array,
    "header of lists": lambda file: _other(file, struct.pack("<Q", 90_000) + b"[" * 90_000),
    "folder": _replaced(Path.mkdir),
    "pipe": _replaced(os.mkfifo),
    "device": _replaced(lambda file: file.symlink_to("/dev/zero")),
    "circle": _replaced(lambda file: file.symlink_to(file)),
    "nowhere": _replaced(lambda file: file.symlink_to("lost")),
}


def _dictionary(kind, tmp_path):
    place, settings, weights = KINDS[kind]
    folder = Path(shutil.copytree(_WRITTEN / place, tmp_path / "sae"))
    file = next(folder.rglob(weights))
    return folder, None if settings is None else next(folder.rglob(settings)), file


def _refused(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with within_seconds(60), pytest.raises(DictionaryError) as caught:
        read_dictionary(folder, dtype=torch.float32, device=_CPU)
    told = str(caught.value)
    assert "\n" not in told
    assert told.isprintable(), repr(told)
    assert len(told) < 1500
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize("damage", WEIGHTS.values(), ids=WEIGHTS.keys())
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_weights_are_refused_in_a_sentence(kind, damage, tmp_path, monkeypatch):
    folder, _, file = _dictionary(kind, tmp_path)
    damage(file)

    _refused(folder, tmp_path, monkeypatch)


SETTINGS = {
    "nothing": lambda _: "",
    "list": lambda _: "[]",
    "null": lambda _: "null",
    "word": lambda _: '"x"',
    "cut": lambda found: json.dumps(found)[:-5],
    "deep": lambda _: "[" * 200_000,
    "twice": lambda found: json.dumps(found)[:-1] + ', "a": 1, "a": 2}',
    "huge number": lambda found: json.dumps(found)[:-1] + ', "x": ' + "9" * 5000 + "}",
    "empty": lambda _: "{}",
    "control codes": lambda _: '{"\\u001b[2J": "\\u202e"}',
    "large": lambda found: json.dumps({**found, "x": "x" * 20_000_000}),
}


@pytest.mark.parametrize("change", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind][1]])
def test_strange_settings_are_refused_in_a_sentence(kind, change, tmp_path, monkeypatch):
    folder, settings, _ = _dictionary(kind, tmp_path)
    found = yaml.safe_load(settings.read_text(encoding="utf-8"))  # which reads JSON, too
    settings.write_text(change(found), encoding="utf-8")

    _refused(folder, tmp_path, monkeypatch)


VALUES = (None, [], {}, "", "\x1b[2J\u202e", -1, 0, 1.5, True, 10**18, 10**400, "x" * 10_000, [[1]])
NAMES = {
    "saelens": ("d_in", "d_sae", "architecture"),
    "saelens_5": ("d_in", "d_sae", "architecture"),
    "sparsify": ("k", "num_latents", "d_in"),
    "llama_scope": ("d_model", "top_k", "act_fn", "use_glu_encoder", "hook_point_in"),
}


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}")
@pytest.mark.parametrize("kind", NAMES)
def test_absurd_values_of_settings_are_told_or_change_nothing(kind, value, tmp_path, monkeypatch):
    folder, settings, _ = _dictionary(kind, tmp_path)
    monkeypatch.chdir(tmp_path)
    original = settings.read_text(encoding="utf-8")
    untouched = read_dictionary(folder, dtype=torch.float32, device=_CPU)
    told = []
    for name in NAMES[kind]:
        found = json.loads(original)
        settings.write_text(json.dumps({**found, name: value}), encoding="utf-8")
        with within_seconds(60):
            try:
                read = read_dictionary(folder, dtype=torch.float32, device=_CPU)
            except DictionaryError as error:
                told.append(str(error))
                continue
        # a size that may also be told by the file itself
        assert torch.equal(read.rows, untouched.rows)
    assert all(line.isprintable() and len(line) < 1500 for line in told)


def _without(tensors, name):
    return {other: tensor for other, tensor in tensors.items() if other != name}


TENSORS = {
    "missing": _without,
    "transposed": lambda tensors, name: {**tensors, name: tensors[name].T.contiguous()},
    "whole numbers": lambda tensors, name: {**tensors, name: tensors[name].to(torch.int64)},
    "NaN": lambda tensors, name: {**tensors, name: tensors[name] * torch.nan},
    "infinite": lambda tensors, name: {**tensors, name: tensors[name] + torch.inf},
    "one number": lambda tensors, name: {**tensors, name: torch.ones(())},
    "empty": lambda tensors, name: {**tensors, name: torch.ones(0, 0)},
    "short": lambda tensors, name: {**tensors, name: tensors[name][:-1]},
    "five axes": lambda tensors, name: {**tensors, name: torch.ones(1, 1, 1, 1, 1)},
    "renamed": lambda tensors, name: {
        **_without(tensors, name),
        "\x1b[2J\u202e" + "x" * 5000: tensors[name],
    },
}


@pytest.mark.parametrize("change", TENSORS.values(), ids=TENSORS.keys())
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("saelens", "W_dec"),
        ("sparsify", "W_dec"),
        ("saelens_5", "W_enc"),
        ("llama_scope", "decoder.weight"),
        ("circuit_tracer", "W_dec"),
    ],
)
def test_strange_tensors_are_refused_in_a_sentence(kind, name, change, tmp_path, monkeypatch):
    folder, _, file = _dictionary(kind, tmp_path)
    save_file(change(load_file(file), name), file)

    _refused(folder, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        "text",
        [1],
        {"a": torch.ones(2)},
        torch.ones(1).expand(24, 8),
        torch.ones(24, 8) * 1j,
    ],
    ids=["nothing", "number", "text", "list", "mapping", "repeated", "complex"],
)
def test_what_is_no_matrix_in_a_state_is_refused(value, tmp_path, monkeypatch):
    folder, _, file = _dictionary("dictionary_learning", tmp_path)
    state = torch.load(file, weights_only=True)
    if isinstance(value, torch.Tensor):
        value = value.expand(state["encoder.weight"].shape) if value.shape == (1, 1) else value
    torch.save({**state, "encoder.weight": value}, file)

    _refused(folder, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "path",
    ["/dev/zero", "/dev/null", "pipe", "lost", "file", "circle", "x" * 5000, "\x1b[2J", "{layer}"],
)
def test_what_is_no_folder_of_dictionaries_is_one_sentence(
    path, model_folder, text_file, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("file").write_bytes(b"no dictionary")
    Path("circle").symlink_to("circle")
    words = ["sae", "--model_name", model_folder, "--dataset", text_file, "--sae_path", path]

    attack([str(word) for word in words], place=tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_refuses_damage_in_a_sentence(
    kind, model_folder, text_file, tmp_path, monkeypatch
):
    folder, _, file = _dictionary(kind, tmp_path)
    file.write_bytes(file.read_bytes()[:100])
    monkeypatch.chdir(tmp_path)
    words = ["sae", "--model_name", model_folder, "--dataset", text_file, "--sae_path", folder]

    attack([str(word) for word in words], place=tmp_path)
