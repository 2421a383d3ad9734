"""A foreign name means exactly the tensor that it means in its own dialect, in every family."""

import functools

import pytest
import torch
from torch.testing import assert_close

from backlight.capture.record import record
from backlight.data.batches import Batch, Passages
from backlight.errors import UnknownSiteError, UnsupportedSiteError
from backlight.models.loading import subject_from_transformers
from backlight.models.sites import resolve_sites
from backlight.models.taps import per_token, tapping
from backlight.models.wiring.families import find_family
from zoo.models import CONFIGS, tiny_model
from zoo.tokenizers import WordTokenizer

_TOKENS = torch.arange(3, 25).reshape(2, 11)


def _first(value):
    return value[0] if isinstance(value, tuple) else value


@functools.cache
def _run(name):
    """Give a subject, what each of its sites shows, and what its modules are given and return."""
    model = tiny_model(name, torch.float64)
    subject = subject_from_transformers(model, WordTokenizer(), name=name)
    sites, given, returned = {}, {}, {}

    def note(path):
        def hook(module, args, kwargs, output):
            tensor = args[0] if args else kwargs.get("hidden_states")
            if isinstance(tensor, torch.Tensor):
                given[path] = tensor.clone()
            if isinstance(_first(output), torch.Tensor):
                returned[path] = _first(output).clone()

        return hook

    def visit(site, tensor):
        sites[site.name] = per_token(site, tensor * site.tap.multiplier, _TOKENS.shape)
        return tensor

    handles = [
        module.register_forward_hook(note(path), with_kwargs=True)
        for path, module in model.named_modules()
    ]
    tapped = [site for site in subject.sites.values() if site.tap.side != "logits"]
    with torch.no_grad(), tapping(subject, tapped, visit):
        subject.forward(_TOKENS)
    with torch.no_grad():
        logits = model(_TOKENS, use_cache=False).logits
    for handle in handles:
        handle.remove()
    return subject, sites, given, returned, logits


@pytest.mark.parametrize("name", CONFIGS)
def test_every_path_of_a_module_is_what_the_module_returns(name):
    subject, sites, _, returned, logits = _run(name)
    for site in subject.sites.values():
        if site.transformers is None:
            continue
        seen = logits if site.name == "logits" else sites[site.name]
        assert_close(per_token(site, returned[site.transformers], _TOKENS.shape), seen)
        (found,) = resolve_sites(site.transformers, subject.sites)
        assert found.name == "logits" or torch.equal(sites[found.name], seen)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_path_of_a_module_is_understood_exactly_or_refused(name):
    subject, sites, _, returned, _ = _run(name)
    for path in returned:
        try:
            found = resolve_sites(path, subject.sites) if path else ()
        except (UnknownSiteError, UnsupportedSiteError):
            continue
        for site in found:
            if site.name != "logits":
                shown = per_token(site, returned[path], _TOKENS.shape)
                assert_close(shown, sites[site.name])


@pytest.mark.parametrize("name", CONFIGS)
def test_the_halves_in_transformer_lens_are_what_is_added_to_the_stream(name):
    subject, sites, _, _, _ = _run(name)
    for layer in range(subject.num_layers):
        attention, mlp, pre = (
            sites[resolve_sites(f"blocks.{layer}.{hook}", subject.sites)[0].name]
            for hook in ("hook_attn_out", "hook_mlp_out", "hook_resid_pre")
        )
        prefix = f"layers.{layer}."
        if subject.wiring == "post_norm":
            assert_close(pre + attention, sites[f"{prefix}norm1.in"])
            assert_close(sites[f"{prefix}resid.mid"] + mlp, sites[f"{prefix}norm2.in"])
        elif subject.wiring == "parallel":
            assert_close(pre + attention + mlp, sites[f"{prefix}resid.post"])
        else:
            assert_close(pre + attention, sites[f"{prefix}resid.mid"])
            assert_close(sites[f"{prefix}resid.mid"] + mlp, sites[f"{prefix}resid.post"])


def test_the_gradient_at_what_granite_adds_is_that_of_its_mlp_over_the_multiplier():
    subject = _run("granite")[0]
    batch = Batch.of(Passages(tokens=[_TOKENS[0].numpy()]), [0])
    sites = [
        resolve_sites(name, subject.sites)[0]
        for name in ("blocks.1.hook_mlp_out", "model.layers.1.mlp")
    ]

    tape = record(subject, batch, sites)

    added, returned = (tape.gradients[site.name] for site in sites)
    assert_close(added * 0.22, returned)


@pytest.mark.parametrize("name", CONFIGS)
def test_hooks_on_the_heads_are_what_the_projections_give(name):
    subject, sites, given, returned, _ = _run(name)
    family = find_family(subject.model.config)
    block = f"{family.blocks}.1"

    def seen(hook):
        return sites[resolve_sites(f"blocks.1.attn.{hook}", subject.sites)[0].name]

    assert_close(seen("hook_z"), given[f"{block}.{family.z}"].reshape(seen("hook_z").shape))
    queries = returned.get(f"{block}.{family.attn}.q_proj")
    if queries is None or not family.attn_interface:
        return
    assert_close(seen("hook_v"), returned[f"{block}.{family.attn}.v_proj"])
    switch = family.qk_norm_when
    has_norm = family.q_norm and (switch is None or getattr(subject.model.config, switch))
    if family.rotary and not has_norm and name != "gpt_oss":  # where angles come with a factor
        rotated, heads = seen("hook_rot_q"), subject.sites["layers.1.attn.q"].num_heads
        width = rotated.shape[-1] // heads
        assert_close(
            rotated.reshape(2, 11, heads, width).norm(dim=-1),
            queries.reshape(2, 11, heads, width).norm(dim=-1),
        )


@pytest.mark.parametrize(
    ("name", "asked", "meant"),
    [
        ("granite", "blocks.1.hook_mlp_out", "layers.1.mlp.contribution"),
        ("granite", "blocks.1.hook_attn_out", "layers.1.attn.contribution"),
        ("granite", "model.layers.1.mlp", "layers.1.mlp.out"),
        ("granite", "model.layers.1.self_attn", "layers.1.attn.out"),
        ("olmo2", "blocks.1.hook_mlp_out", "layers.1.mlp.contribution"),
        ("olmo2", "model.layers.1.mlp", "layers.1.mlp.out"),
        ("gemma2", "model.layers.1.post_feedforward_layernorm", "layers.1.norm2_post.out"),
        ("gpt2", "transformer.h.1.mlp", "layers.1.mlp.out"),
        ("gpt2", "h.1.mlp", "layers.1.mlp.out"),
        ("gptj", "h.1.attn", "layers.1.attn.out"),
        ("gpt_neox", "layers.1.mlp", "layers.1.mlp.out"),
        ("opt", "decoder.layers.1.fc2", "layers.1.mlp.out"),
        ("opt", "layers.1.fc2", "layers.1.mlp.out"),
        ("opt", "blocks.1.ln2.hook_normalized", "layers.1.norm2.out"),
        ("bloom", "transformer.h.1.mlp.dense_4h_to_h", "layers.1.mlp.out"),
        ("llama", "norm", "final_norm.out"),
        ("llama", "lm_head", "logits"),
    ],
)
def test_a_foreign_name_is_understood(name, asked, meant):
    subject = _run(name)[0]

    assert [site.name for site in resolve_sites(asked, subject.sites)] == [meant]


@pytest.mark.parametrize("name", CONFIGS)
def test_the_mlp_of_all_layers_is_one_site_in_each_or_refused(name):
    subject = _run(name)[0]
    family = find_family(subject.model.config)
    for asked in (f"{family.blocks}.*.mlp", f"{family.blocks.rpartition('.')[2]}.*.mlp", "mlp"):
        if name.startswith("opt") or name == "mpt":  # no module of that name
            with pytest.raises(UnknownSiteError, match="no site"):
                resolve_sites(asked, subject.sites)
        elif name == "bloom":
            with pytest.raises(UnsupportedSiteError, match=r"ask for layers\.0\.mlp\.out"):
                resolve_sites(asked, subject.sites)
        else:
            found = [site.name for site in resolve_sites(asked, subject.sites)]
            assert found == [f"layers.{layer}.mlp.out" for layer in range(subject.num_layers)]


@pytest.mark.parametrize(
    ("name", "asked", "reason"),
    [
        ("llama", "ln_final.hook_normalized", r"before the gain .* Ask for final_norm\.out"),
        ("llama", "blocks.1.ln2.hook_normalized", r"before the gain .* Ask for layers\.1\.norm2"),
        ("granite", "hook_embed", r"token embedding alone; .* Ask for embed\.out"),
        ("gpt2", "hook_embed", r"token embedding alone; .* Ask for embed\.out"),
        ("opt", "blocks.1.attn.hook_q", r"divided by the root .* Ask for layers\.1\.attn\.q"),
        ("llama", "blocks.1.attn.hook_k", r"before rotary positions"),
        ("opt post-norm", "blocks.1.hook_resid_mid", r"before the norm, layers\.1\.norm1\.in"),
        ("opt post-norm", "blocks.1.hook_resid_post", r"before the norm, layers\.1\.norm2\.in"),
        ("bloom", "transformer.h.1.mlp", r"plus the residual stream.*layers\.1\.mlp\.out"),
        ("bloom", "h.1.self_attention", r"plus the residual stream.*layers\.1\.attn\.out"),
        ("mpt", "transformer.blocks.1.ffn", r"plus the residual stream.*layers\.1\.mlp\.out"),
    ],
)
def test_a_name_of_another_tensor_is_refused_with_the_right_one(name, asked, reason):
    subject = _run(name)[0]

    with pytest.raises(UnsupportedSiteError, match=reason):
        resolve_sites(asked, subject.sites)


@pytest.mark.parametrize("name", ["gemma2", "cohere", "granite"])
def test_the_head_is_not_called_logits_where_they_are_scaled_or_capped(name):
    subject = _run(name)[0]

    assert subject.sites["logits"].transformers is None


def test_a_path_of_another_family_is_unknown_with_the_path_of_this_one():
    subject = _run("llama")[0]

    with pytest.raises(UnknownSiteError, match=r"Did you mean .*model\.layers\.\*\.mlp"):
        resolve_sites("transformers.layers.*.mlp", subject.sites)
