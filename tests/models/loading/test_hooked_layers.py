"""What adds up in a layer, from its tensors alone; whole models are in tests/neighbours."""

import pytest
import torch

from backlight.models.loading.hooked_layers import Proven, prove_layer


def tensors(*names):
    return {name: torch.randn(2, 11, 8, dtype=torch.float64) for name in names}


def sequential(**others):
    seen = tensors("pre", "attn hook_attn_out", "mlp hook_mlp_out")
    mid = seen["pre"] + seen["attn hook_attn_out"]
    post = mid + seen["mlp hook_mlp_out"]
    outputs = {"attn attn": seen["attn hook_attn_out"], "mlp mlp": seen["mlp hook_mlp_out"]}
    return {**seen, **outputs, "mid ln2": mid, "post": post, "norm2.in": mid, **others}


def parallel(**others):
    seen = tensors("pre", "attn attn", "mlp mlp")
    post = seen["pre"] + seen["attn attn"] + seen["mlp mlp"]
    return {**seen, "post": post, "mid ln2": seen["pre"], "norm2.in": seen["pre"], **others}


def test_halves_that_follow_each_other_are_told_with_the_stream_between():
    proven = prove_layer(sequential())

    assert (proven.wiring, proven.is_plain) == ("sequential", True)
    assert proven.places["resid.mid"] == "mid ln2"
    assert proven.places["attn.contribution"] == "attn hook_attn_out"
    assert proven.places["norm2.in"] == "norm2.in"


def test_halves_side_by_side_are_told_by_what_the_second_norm_reads():
    assert prove_layer(parallel()).wiring == "parallel"
    assert "resid.mid" not in prove_layer(parallel()).places


def test_halves_side_by_side_are_not_told_where_it_is_not_seen_what_the_mlp_reads():
    seen = parallel()
    del seen["norm2.in"]

    proven = prove_layer(seen)

    assert proven.wiring is None
    assert proven.places["mlp.contribution"] == "mlp mlp"


def test_what_a_norm_makes_of_a_half_is_what_it_adds():
    added = torch.randn(2, 11, 8, dtype=torch.float64)
    seen = sequential()
    seen |= {
        "attn ln1_post": added,
        "mid ln2": seen["pre"] + added,
        "norm2.in": seen["pre"] + added,
    }
    seen["post"] = seen["mid ln2"] + seen["mlp mlp"]

    proven = prove_layer(seen)

    assert proven.places["attn.contribution"] == "attn ln1_post"
    assert not proven.is_plain


def test_attention_alone_may_be_all_that_is_added():
    seen = tensors("pre", "attn attn")

    proven = prove_layer({**seen, "post": seen["pre"] + seen["attn attn"]})

    assert dict(proven.places) == {
        "resid.pre": "pre",
        "resid.post": "post",
        "attn.contribution": "attn attn",
    }


@pytest.mark.parametrize("name", ["pre", "post", "attn hook_attn_out", "mlp hook_mlp_out"])
@pytest.mark.parametrize("factor", [-1.0, 1.1, 0.0])
def test_a_wrong_term_adds_up_to_nothing(name, factor):
    seen = sequential()
    seen[name] = seen[name] * factor
    for other in ("attn attn", "mlp mlp"):
        del seen[other]

    assert "mlp.contribution" not in prove_layer(seen).places


def test_a_norm_that_reads_something_else_is_not_named():
    seen = sequential(**{"norm1.in": torch.randn(2, 11, 8, dtype=torch.float64)})

    assert "norm1.in" not in prove_layer(seen).places


def test_nothing_is_said_of_a_layer_whose_ends_were_not_seen():
    assert prove_layer(tensors("attn attn", "mlp mlp")) == Proven()
