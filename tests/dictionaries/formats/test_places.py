"""Names of places as libraries write them: turned for certain, or not at all."""

import pytest

from backlight.dictionaries.formats.places import input_of, layer_in, module_path, tensor_of_label
from backlight.models.sites import resolve_sites
from zoo.subjects import sites_of_model


@pytest.fixture
def sites():
    return sites_of_model("llama")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("model.layers[3].mlp", "model.layers.3.mlp"),
        ("transformer.h.11", "transformer.h.11"),
        (".model.layers.0", "model.layers.0"),
        ("model.norm", None),
        ("model.layers[i].mlp", None),
        ("os.system('x')", None),
        ("layer_3", None),
        ("", None),
    ],
)
def test_a_path_has_dots_alone_and_a_layer(name, path):
    assert module_path(name) == path


@pytest.mark.parametrize(
    ("path", "site"),
    [
        ("model.layers.3.mlp", "layers.3.mlp.in"),
        ("layers.3.self_attn", "layers.3.attn.in"),
        ("transformer.h.3", "layers.3.resid.pre"),
        ("model.layers.3.self_attn.o_proj", "layers.3.attn.z"),
        ("model.layers.3.input_layernorm", None),
        ("model.norm", None),
    ],
)
def test_an_input_is_a_site_that_backlight_has_or_none(path, site):
    assert input_of(path) == site


@pytest.mark.parametrize("label", ["mlp_out_layer_2", "attn_out_layer_2", "resid_pre_layer_2"])
def test_labels_are_turned_into_sites_of_a_model(label, sites):
    (site,) = resolve_sites(tensor_of_label(label), sites)

    assert (layer_in(site.name), site.name.split(".")[2]) == (2, label.split("_")[0])


@pytest.mark.parametrize(
    "path", ["layers.2.mlp", "model.layers.2.self_attn", "h.2", "model.layers.2.self_attn.o_proj"]
)
def test_inputs_are_sites_of_a_model(path, sites):
    (site,) = resolve_sites(input_of(path), sites)

    assert layer_in(site.name) == 2


def test_other_labels_say_nothing():
    for label in ("mlp_layer_2", "mlp_out_layer_", "mlp_out_layer_2b", "resid_layer_2"):
        assert tensor_of_label(label) is None


@pytest.mark.parametrize(
    ("card", "name"),
    [
        ("layers.1.mlp.contribution", "layers.1.mlp.contribution"),
        ("layers.1.attn.z", "layers.1.attn.z"),
        ("model.layers.1", "layers.1.resid.post"),
        ("model.layers.1.pre_feedforward_layernorm", "layers.1.norm2.out"),
        ("model.layers.1.post_feedforward_layernorm", "layers.1.norm2_post.out"),
        ("blocks.1.hook_mlp_out", "layers.1.mlp.contribution"),
    ],
)
def test_what_cards_of_gemma_scope_say_are_sites_of_gemma(card, name):
    (site,) = resolve_sites(card, sites_of_model("gemma2"))

    assert site.name == name
