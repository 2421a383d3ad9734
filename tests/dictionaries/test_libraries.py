"""Objects of SAELens and dictionary_learning in memory, as far as anything of them is looked at.

The libraries are not installed here: what stands for their objects has the configuration and the
tensors that the libraries wrote, and encodes as they do.
"""

import json

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from backlight.dictionaries.dictionary import ForeignEncoder
from backlight.dictionaries.foreign import dictionary_from_object
from backlight.dictionaries.libraries import dictionary_of_library
from backlight.errors import DictionaryError
from zoo.dictionaries import SaeLensLike

AUTOENCODERS = [
    "standard_minus_b_dec",
    "standard_layer_norm",
    "gated",
    "topk_rescaled",
    "jumprelu",
    "standard_hook_z",
]
TRANSCODERS = ["transcoder_layer_norm", "skip_transcoder", "jumprelu_transcoder"]


@pytest.mark.parametrize("name", [*AUTOENCODERS, *TRANSCODERS])
def test_an_object_of_saelens_is_read_as_its_files_are(name, written, read):
    folder = written / "saelens" / name
    from_files, expected = read(folder), load_file(folder / "expected.safetensors")
    obj = SaeLensLike(folder, lambda x: from_files.encode(x).dense())

    found = dictionary_from_object(obj, layer=3)

    assert not isinstance(found.encoder, ForeignEncoder)
    codes = found.encode(expected["x"])
    assert_close(codes.dense(), expected["features"], atol=1e-5, rtol=1e-5)
    reconstruction = found.decode(codes, expected["x"])
    assert_close(reconstruction, expected["reconstruction"], atol=1e-5, rtol=1e-5)
    assert found.card.reads == from_files.card.reads is not None
    assert found.card.model == from_files.card.model
    assert (found.card.format, found.card.path) == ("SAELens", "SaeLensLike in memory")


def test_an_object_of_saelens_5_has_all_it_says_in_one_place(written, read):
    folder = written / "saelens_5" / "standard"
    from_files = read(folder)
    obj = SaeLensLike(folder, lambda x: from_files.encode(x).dense())

    found = dictionary_from_object(obj)

    assert torch.equal(found.rows, from_files.rows)
    assert found.card.reads == from_files.card.reads


def test_what_the_caller_says_goes_before_what_the_object_says(written, read):
    folder = written / "saelens" / "standard_minus_b_dec"
    from_files = read(folder)
    obj = SaeLensLike(folder, lambda x: from_files.encode(x).dense())

    card = dictionary_from_object(obj, reads="layers.5.mlp.out", layer=5, name="mine").card

    assert (card.reads, card.writes, card.layer, card.path) == (
        "layers.5.mlp.out",
        "layers.5.mlp.out",
        5,
        "mine",
    )


def test_taking_an_object_leaves_its_tensors_alone(written, read):
    folder = written / "saelens" / "topk_rescaled"
    from_files = read(folder)
    obj = SaeLensLike(folder, lambda x: from_files.encode(x).dense())
    before = {name: tensor.clone() for name, tensor in obj.tensors.items()}

    dictionary_from_object(obj).rows.zero_()

    assert all(torch.equal(obj.tensors[name], tensor) for name, tensor in before.items())


def test_an_object_that_encodes_otherwise_than_it_says_is_refused(written):
    obj = SaeLensLike(
        written / "saelens" / "standard_minus_b_dec", lambda x: torch.ones(len(x), 24)
    )

    with pytest.raises(DictionaryError, match=r"encode\(\) of a SaeLensLike does not give what"):
        dictionary_from_object(obj)


def test_an_object_that_contradicts_itself_is_refused(written):
    obj = SaeLensLike(written / "saelens" / "standard_minus_b_dec", lambda x: x)
    obj.cfg.told["d_sae"] = 23

    with pytest.raises(DictionaryError, match=r"'W_dec' in 'SaeLensLike in memory' is \[24, 8\]"):
        dictionary_from_object(obj)


def test_an_object_in_training_is_left_to_its_own_encode(written):
    obj = SaeLensLike(written / "saelens" / "jumprelu", lambda x: x)
    obj.tensors["log_threshold"] = obj.tensors.pop("threshold").log()

    assert dictionary_of_library(obj) is None


def dictionary_learning_like(folder, encode):
    """An object of the class that the file names, with the tensors that are in it."""
    told = json.loads((folder / "config.json").read_text())["trainer"]
    state = torch.load(folder / "ae.pt", weights_only=True)

    class Stand:
        activation_dim, dict_size = told["activation_dim"], told["dict_size"]

        def state_dict(self):
            return state

        def encode(self, x):
            return encode(x)

    return type(told["dict_class"], (Stand,), {})()


KINDS = ["standard_new", "gated", "topk", "batchtopk", "jumprelu", "matryoshka"]


@pytest.mark.parametrize("name", KINDS)
def test_an_object_of_dictionary_learning_is_read_as_its_files_are(name, written, read):
    folder = written / "dictionary_learning" / name / "trainer_0"
    from_files, expected = read(folder), load_file(folder / "expected.safetensors")
    obj = dictionary_learning_like(folder, lambda x: from_files.encode(x).dense())

    found = dictionary_from_object(obj, reads="layers.3.mlp.out", layer=3)

    assert not isinstance(found.encoder, ForeignEncoder)
    codes = found.encode(expected["x"])
    assert_close(codes.dense(), expected["features"], atol=1e-5, rtol=1e-5)
    reconstruction = found.decode(codes, expected["x"])
    assert_close(reconstruction, expected["reconstruction"], atol=1e-5, rtol=1e-5)
    assert (found.card.reads, found.card.layer) == ("layers.3.mlp.out", 3)
    assert found.card.architecture == type(obj).__name__


def test_decoder_rows_in_memory_keep_their_norms(written):
    # The library divides by them when it loads a file, and not before.
    folder = written / "dictionary_learning" / "standard" / "trainer_0"
    state = torch.load(folder / "ae.pt", weights_only=True)

    def encode(x):
        return ((x - state["bias"]) @ state["encoder.weight"].T + state["encoder.bias"]).relu()

    found = dictionary_from_object(dictionary_learning_like(folder, encode))

    assert torch.equal(found.rows, state["decoder.weight"].T)


def test_a_class_of_the_same_name_with_other_tensors_is_not_taken_for_theirs():
    class AutoEncoder:
        def state_dict(self):
            return {"weights": torch.ones(3)}

    assert dictionary_of_library(AutoEncoder()) is None
