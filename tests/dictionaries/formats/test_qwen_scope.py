"""A dictionary laid out as Qwen Scope: the published formula, and what its folder must say."""

import pytest
import torch

from backlight.dictionaries.collection import find_dictionaries
from backlight.errors import DictionaryError

NAME = "SAE-Res-Qwen3-0.6B-Base-W1K-L0_5"


@pytest.fixture
def kept(tmp_path, copied):
    """A copy in a folder of any name."""

    def keep(name):
        return copied(f"qwen_scope/{NAME}").rename(tmp_path / name)

    return keep


def test_the_published_formula_computes_the_same(written, assert_same_as_library):
    card = assert_same_as_library(written / "qwen_scope" / NAME).card

    assert (card.format, card.architecture, card.layer) == ("Qwen Scope", "topk", 3)
    assert card.reads == card.writes == "layers.3.resid.post"
    assert card.model == "Qwen/Qwen3-0.6B-Base"


def test_the_layer_of_each_file_is_in_its_name(kept):
    folder = kept(NAME)
    (folder / "layer11.sae.pt").symlink_to(folder / "layer3.sae.pt")

    cards = find_dictionaries(folder).cards

    assert list(cards) == [3, 11]
    assert cards[11].reads == "layers.11.resid.post"


def test_the_number_of_features_is_read_from_the_name_of_the_repository(kept, read):
    found = read(kept("models--Qwen--SAE-Res-Qwen3-0.6B-Base-W1K-L0_7"))

    assert found.encoder.activation.k == 7


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine", r"does not say how many features fire.*SAE-Res-Qwen3-8B-Base-W64K-L0_50"),
        ("SAE-Res-Qwen3-0.6B-Base-W2K-L0_5", r"has 1,024 features, .* 2K, which is 2,048"),
        ("SAE-Res-Qwen3-0.6B-Base-W1K-L0_0", r"says that 0 features fire, of 1,024"),
        ("SAE-Res-Qwen3-0.6B-Base-W1K-L0_1025", r"says that 1,025 features fire, of 1,024"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused(name, message, kept, read):
    with pytest.raises(DictionaryError, match=message):
        read(kept(name))


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"b_enc": None}, r"There is no tensor 'b_enc' in .*layer3.sae.pt', only 'W_enc'"),
        ({"b_dec": torch.ones(1, 4)}, r"'b_dec' .* is \[1, 4\], but must be a vector"),
        ({"W_dec": torch.ones(1024, 4)}, r"is \[1024, 4\], but must be \[4, 1024\]; it is transp"),
        ({"W_enc": torch.full((1024, 4), torch.inf)}, r"'W_enc' .* holds NaN or infinity"),
        ({"W_enc": "weights"}, r"'W_enc' .* is str, not a tensor"),
    ],
    ids=["missing", "matrix", "transposed", "infinite", "text"],
)
def test_tensors_that_cannot_be_right_are_refused(tensors, message, kept, read):
    folder = kept(NAME)
    file = folder / "layer3.sae.pt"
    found = {**torch.load(file, weights_only=True), **tensors}
    torch.save({name: value for name, value in found.items() if value is not None}, file)

    with pytest.raises(DictionaryError, match=message):
        read(folder)
