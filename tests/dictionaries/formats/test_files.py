"""Broken files end in one sentence, and nothing that they hold is run."""

import os
import pickle
import shutil

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from backlight.dictionaries.collection import read_dictionary
from backlight.dictionaries.formats.settings import read_settings
from backlight.errors import DictionaryError

FILES = [
    "saelens/jumprelu/sae_weights.safetensors",
    "sparsify/topk/layers.3.mlp/sae.safetensors",
    "dictionary_learning/batchtopk/trainer_0/ae.pt",
    "gemma_scope/gemma-scope-2b-pt-res/layer_3/width_16k/average_l0_71/params.npz",
    "gemma_scope/gemma-scope-2-270m-pt/resid_post/layer_3_width_16k_l0_small/params.safetensors",
]


def read(path):
    return read_dictionary(path, dtype=torch.float32, device=torch.device("cpu"))


def is_one_sentence(error):
    text = str(error.value)
    return "\n" not in text and text.endswith(".") and (text[0].isupper() or text[0] == "'")


@pytest.mark.parametrize("name", FILES, ids=lambda name: name.split("/")[0])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_off_anywhere_is_refused(name, share, written, tmp_path):
    folder = tmp_path / "cut"
    shutil.copytree((written / name).parent, folder, dirs_exist_ok=True)
    content = (written / name).read_bytes()
    file = folder / (written / name).name
    file.write_bytes(content[: int(share * len(content))])

    with pytest.raises(DictionaryError, match=r"is damaged, incomplete or no") as error:
        read(folder)
    assert is_one_sentence(error)


@pytest.mark.parametrize("name", FILES, ids=lambda name: name.split("/")[0])
@pytest.mark.parametrize("content", [b"\0" * 64, b"{}", b"version https://git-lfs", b"PK\x03\x04"])
def test_a_file_of_another_kind_is_refused(name, content, written, tmp_path):
    folder = tmp_path / "other"
    shutil.copytree((written / name).parent, folder)
    (folder / (written / name).name).write_bytes(content)

    with pytest.raises(DictionaryError, match=r"is damaged, incomplete or no") as error:
        read(folder)
    assert is_one_sentence(error)


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_not_run(zipped, copied, tmp_path):
    folder = copied("dictionary_learning/batchtopk")
    trap = {"b_dec": Trap(str(tmp_path / "sprung"))}
    torch.save(trap, folder / "trainer_0" / "ae.pt", _use_new_zipfile_serialization=zipped)

    with pytest.raises(
        DictionaryError, match=r"holds pickled Python objects, and loading"
    ) as error:
        read(folder)

    assert is_one_sentence(error)
    assert not (tmp_path / "sprung").exists()


def test_a_bare_pickle_is_not_run(copied, tmp_path):
    folder = copied("dictionary_learning/batchtopk")
    (folder / "trainer_0" / "ae.pt").write_bytes(
        pickle.dumps(Trap(str(tmp_path / "sprung")), protocol=2)
    )

    with pytest.raises(DictionaryError):
        read(folder)

    assert not (tmp_path / "sprung").exists()


def test_a_state_that_is_no_mapping_is_refused(copied):
    folder = copied("dictionary_learning/batchtopk")
    torch.save(torch.ones(3), folder / "trainer_0" / "ae.pt")

    with pytest.raises(DictionaryError, match=r"holds Tensor, not tensors by name"):
        read(folder)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.pop("W_dec"), r"There is no tensor 'W_dec' in .*, only 'W_enc', "),
        (lambda t: t.update(W_dec=t["W_dec"].T), r"'W_dec' .* is \[8, 24\], .* it is transposed\."),
        (lambda t: t.update(W_enc=t["W_enc"].T), r"'W_enc' .* is \[24, 8\], .* it is transposed\."),
        (lambda t: t.update(b_enc=t["b_enc"][:-1]), r"'b_enc' .* is \[23\], but must be \[24\]\."),
        (lambda t: t["threshold"][2].fill_(torch.nan), r"'threshold' .* holds NaN or infinity"),
        (lambda t: t["W_dec"][2, 1].fill_(-torch.inf), r"'W_dec' .* holds NaN or infinity"),
        (lambda t: t.update(b_dec=t["b_dec"].to(torch.int8)), r"'b_dec' .* holds int8 numbers"),
    ],
    ids=["missing", "transposed", "transposed_too", "short", "nan", "infinite", "integers"],
)
def test_tensors_that_cannot_be_right_are_refused(edit, message, copied):
    folder = copied("saelens/jumprelu")
    file = folder / "sae_weights.safetensors"
    tensors = load_file(file)
    edit(tensors)
    save_file({name: value.contiguous() for name, value in tensors.items()}, file)

    with pytest.raises(DictionaryError, match=message) as error:
        read(folder)
    assert is_one_sentence(error)


def test_a_number_too_large_for_the_format_asked_for_is_refused(copied):
    folder = copied("saelens/jumprelu")
    file = folder / "sae_weights.safetensors"
    tensors = load_file(file)
    tensors["b_dec"][0] = 1e6
    save_file(tensors, file)

    with pytest.raises(DictionaryError, match=r"'b_dec' .* holds NaN or infinity in float16"):
        read_dictionary(folder, dtype=torch.float16, device=torch.device("cpu"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as JSON: Expecting value"),
        (b"{'a': 1}", "cannot be read as JSON: Expecting property name"),
        (b"\xff\xfa", "cannot be read: it is no text in UTF-8"),
        (b"[" * 100_000, "cannot be read as JSON: it is nested too deeply"),
        (b"[1]", "holds list, not a JSON object"),
        (b'{"a": 1, "a": 2}', "the key 'a' is there twice"),
        (b'{"a": ' + b"9" * 5000 + b"}", "cannot be read as JSON: Exceeds the limit"),
    ],
    ids=["empty", "python", "binary", "deep", "list", "twice", "huge"],
)
def test_settings_that_are_no_json_object_are_refused(content, message, tmp_path):
    (tmp_path / "cfg.json").write_bytes(content)

    with pytest.raises(DictionaryError, match=message):
        read_settings(tmp_path / "cfg.json")


def test_reading_does_not_write_into_the_file(written):
    file = written / "saelens" / "topk_rescaled" / "sae_weights.safetensors"
    before = file.read_bytes()

    dictionary = read(file.parent)
    dictionary.rows.zero_()
    dictionary.encoder.rows.zero_()

    assert file.read_bytes() == before
