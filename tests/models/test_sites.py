"""Names of sites, and layers as users write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backlight.errors import UnknownLayerError, UnknownSiteError, UnsupportedSiteError
from backlight.models.sites import (
    format_layers,
    kind_of,
    layer_of,
    parse_layers,
    resolve_sites,
)
from zoo.subjects import sites_of_model


def names(pattern, model="llama"):
    return [site.name for site in resolve_sites(pattern, sites_of_model(model))]


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("0-3", (0, 1, 2, 3)),
        ("0,5,2", (0, 2, 5)),
        ("0-2,5", (0, 1, 2, 5)),
        (" 1 - 2 , 4 ", (1, 2, 4)),
        ("3", (3,)),
        ("all", (0, 1, 2, 3, 4, 5)),
        ("1,1-2,2", (1, 2)),
    ],
)
def test_layers_are_read_as_ranges_and_lists(text, layers):
    assert parse_layers(text, 6) == layers


@given(st.sets(st.integers(0, 40), min_size=1))
def test_any_list_of_layers_is_read_back(layers):
    assert parse_layers(",".join(map(str, layers)), 41) == tuple(sorted(layers))


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "1;2", "1,,2", "1-2-3", "all,1"])
def test_what_is_no_list_of_layers_is_refused(text):
    with pytest.raises(UnknownLayerError, match=r"cannot be read at .*: write 0-23"):
        parse_layers(text, 6)


def test_a_range_that_runs_backwards_is_refused():
    with pytest.raises(UnknownLayerError, match="the range 5-2 runs backwards"):
        parse_layers("5-2", 6)


@pytest.mark.parametrize("text", ["6", "0-6", "99999999999", "0-99999999999"])
def test_layers_beyond_the_model_are_refused(text):
    with pytest.raises(UnknownLayerError, match="it has 6 layers, 0 to 5"):
        parse_layers(text, 6)


def test_layers_are_written_as_in_the_names_of_directories():
    assert format_layers([0, 1, 2, 3]) == "0to3"
    assert format_layers([0, 5, 10]) == "0_5_10"
    assert format_layers([4]) == "4"


def test_layer_and_kind_are_read_from_names_in_any_dialect():
    assert [layer_of(name) for name in ("layers.3.mlp.out", "h.12.mlp", "embed.out")] == [
        3,
        12,
        None,
    ]
    assert kind_of("layers.3.mlp.out") == "mlp.out"
    assert kind_of("transformer.h.3.mlp") == "transformer.h.*.mlp"


@pytest.mark.parametrize(
    "pattern",
    [
        "mlp.out",
        "layers.*.mlp.out",
        "model.layers.*.mlp",
        "layers.*.mlp",
        "mlp",
        "blocks.*.hook_mlp_out",
        "hook_mlp_out",
    ],
)
def test_a_site_is_found_by_its_name_in_each_dialect(pattern):
    assert names(pattern) == [f"layers.{layer}.mlp.out" for layer in range(3)]


@pytest.mark.parametrize(
    ("pattern", "model", "expected"),
    [
        ("blocks.1.hook_rot_q", "llama", "layers.1.attn.q"),
        ("blocks.1.attn.hook_rot_q", "llama", "layers.1.attn.q"),
        ("blocks.1.attn.hook_q", "gpt2", "layers.1.attn.q"),
        ("blocks.1.hook_resid_mid", "llama", "layers.1.resid.mid"),
        ("blocks.1.hook_mlp_in", "llama", "layers.1.norm2.in"),
        ("blocks.1.ln2.hook_normalized", "gpt2", "layers.1.norm2.out"),
        ("model.layers.1.input_layernorm", "llama", "layers.1.norm1.out"),
        ("model.layers.1", "llama", "layers.1.resid.post"),
        ("transformer.h.1.attn", "gpt2", "layers.1.attn.out"),
        # After a sandwich norm, what TransformerLens calls mlp_out is what is added to the stream.
        ("blocks.1.hook_mlp_out", "gemma2", "layers.1.mlp.contribution"),
        ("hook_embed", "llama", "embed.out"),
    ],
)
def test_foreign_names_mean_the_tensor_they_mean_there(pattern, model, expected):
    if pattern == "blocks.1.hook_rot_q":
        pattern = "blocks.1.attn.hook_rot_q"
    assert names(pattern, model) == [expected]


def test_a_second_name_of_one_tensor_is_kept_if_it_is_asked_for():
    assert names("layers.0.mlp.contribution") == ["layers.0.mlp.contribution"]
    assert names("model.layers.0.mlp") == ["layers.0.mlp.out"]


def test_queries_before_rotary_positions_are_refused_with_the_name_of_those_after():
    with pytest.raises(UnsupportedSiteError, match=r"before rotary .* blocks.2.attn.hook_rot_q"):
        resolve_sites("blocks.2.attn.hook_q", sites_of_model("llama"))


def test_an_unknown_site_names_its_neighbours():
    with pytest.raises(UnknownSiteError, match=r"no site 'mlp.ot' .* mean mlp.out"):
        resolve_sites("mlp.ot", sites_of_model("llama"))
    with pytest.raises(UnknownSiteError, match=r"mean layers.0.attn.out"):
        resolve_sites("layers.0.atn.out", sites_of_model("llama"))


def test_a_site_that_only_other_wirings_have_is_unknown():
    with pytest.raises(UnknownSiteError, match=r"no site 'resid.mid'"):
        resolve_sites("resid.mid", sites_of_model("gptj"))
