"""Dictionaries laid out as Gemma Scope: the published formula, and where they belong."""

import json

import numpy as np
import pytest

from backlight.dictionaries.formats.gemma_scope import GemmaScope
from backlight.errors import DictionaryError

ONE = "layer_3/width_16k/average_l0_71"
TWO = "layer_3_width_16k_l0_small"


@pytest.mark.parametrize(
    ("folder", "reads", "writes", "model"),
    [
        (
            f"gemma-scope-2b-pt-res/{ONE}",
            "layers.3.resid.post",
            "layers.3.resid.post",
            "google/gemma-2-2b",
        ),
        (
            f"gemma-scope-2b-pt-mlp/{ONE}",
            "layers.3.mlp.contribution",
            "layers.3.mlp.contribution",
            "google/gemma-2-2b",
        ),
        (
            f"gemma-scope-2-270m-pt/resid_post/{TWO}",
            "model.layers.3",
            "model.layers.3",
            "gemma-v3-270m-pt",
        ),
        (
            f"gemma-scope-2-270m-pt/attn_out/{TWO}",
            "layers.3.attn.z",
            "layers.3.attn.z",
            "gemma-v3-270m-pt",
        ),
        (
            f"gemma-scope-2-270m-pt/transcoder/{TWO}",
            "model.layers.3.pre_feedforward_layernorm",
            "model.layers.3.post_feedforward_layernorm",
            "gemma-v3-270m-pt",
        ),
    ],
)
def test_the_published_formula_computes_the_same(
    folder, reads, writes, model, written, assert_same_as_library
):
    card = assert_same_as_library(written / "gemma_scope" / folder).card

    assert (card.reads, card.writes, card.model, card.layer) == (reads, writes, model, 3)


@pytest.mark.parametrize(
    ("folder", "site", "model"),
    [
        (
            "google/gemma-scope-9b-pt-att/layer_7/width_16k/a",
            "layers.7.attn.z",
            "google/gemma-2-9b",
        ),
        ("gemma-scope-9b-it-res/layer_20/w/a", "layers.20.resid.post", "google/gemma-2-9b-it"),
        ("gemma-scope-2b-pt-transcoders/layer_7/w/a", None, None),
        ("gemma-scope-2b-pt-res/embedding/w/a", None, "google/gemma-2-2b"),
        ("mine/layer_7/w/a", None, None),
    ],
)
def test_a_site_is_read_from_the_name_of_the_repository_or_not_at_all(
    folder, site, model, tmp_path
):
    card = GemmaScope().card(tmp_path / folder / "params.npz")

    assert (card.reads, card.writes, card.model) == (site, site, model)


@pytest.mark.parametrize("point", ["model.layers.3.mlp.act", "embed.output", "model.layers.3", 7])
def test_a_hook_point_that_is_no_side_of_a_module_is_no_site(point, copied):
    folder = copied("gemma_scope/gemma-scope-2-270m-pt/resid_post")
    file = folder / TWO / "config.json"
    file.write_text(json.dumps({"hf_hook_point_in": str(point)}))

    assert GemmaScope().card(folder / TWO / "params.safetensors").reads is None


def change(folder, **arrays):
    file = folder / "params.npz"
    with np.load(file) as old:
        kept = {**old, **arrays}
    np.savez(file, **{name: array for name, array in kept.items() if array is not None})


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"threshold": None}, r"There is no tensor 'threshold' in .*params.npz'"),
        ({"W_dec": np.ones((8, 24), "f4")}, r"'W_dec' .* is \[8, 24\], but must be \[24, 24\]"),
        ({"b_dec": np.full(8, np.inf, "f4")}, r"'b_dec' .* holds NaN or infinity"),
        ({"W_dec": np.ones((24, 2, 8), "f4")}, r"must be matrices; dictionaries across layers"),
        ({"b_enc": np.array([{}] * 24)}, r"holds pickled Python objects"),
    ],
    ids=["missing", "transposed", "infinite", "across_layers", "pickled"],
)
def test_arrays_that_cannot_be_right_are_refused(arrays, message, copied, read):
    folder = copied(f"gemma_scope/gemma-scope-2b-pt-res/{ONE}")
    change(folder, **arrays)

    with pytest.raises(DictionaryError, match=message):
        read(folder)
