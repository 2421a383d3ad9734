"""Models of TransformerLens themselves: gradients by backlight are those of its own hooks.

Runs where the library is installed (`make neighbours`): TransformerLens 3 has both kinds of models,
TransformerLens 4 the bridge alone.
"""

import copy
import warnings

import pytest
import torch

import backlight
from backlight.capture.record import record
from backlight.data.batches import Batch, Passages
from backlight.errors import ModelError, UnsupportedSiteError
from backlight.models.sites import kind_of, layer_of
from neighbours.small import loaded_tokenizer, tell
from zoo.models import tiny_model
from zoo.tokenizers import TEXTS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    transformer_lens = pytest.importorskip("transformer_lens")
    from transformer_lens.model_bridge import TransformerBridge

    try:
        from transformer_lens import HookedTransformer, HookedTransformerConfig
    except ImportError:
        HookedTransformer = None

pytestmark = pytest.mark.filterwarnings("ignore")
by_hand = pytest.mark.skipif(HookedTransformer is None, reason="removed in TransformerLens 4")

IDS = torch.tensor([[5, 9, 3, 40, 7, 21, 8, 11, 90]])
KINDS = [
    *("resid.pre", "resid.mid", "resid.post", "attn.v", "attn.z"),
    *("attn.contribution", "mlp.contribution", "attn.out", "mlp.out"),
]


def a_bridge(kind, dtype=torch.float32):
    """Wrap a tiny model, and keep a copy of it that nothing has been put into."""
    model = _noisy(tiny_model(kind, dtype))
    plain = copy.deepcopy(model)
    tokenizer = loaded_tokenizer()
    bridge = TransformerBridge.boot_transformers(
        "tiny", hf_model=model, tokenizer=tokenizer, device="cpu", dtype=dtype
    )
    return bridge, plain, tokenizer


def by_hand_model(**changed):
    """Make a model of TransformerLens's own, with random gains and biases too."""
    options = {
        "n_layers": 3,
        "d_model": 32,
        "n_ctx": 64,
        "d_head": 8,
        "n_heads": 4,
        "d_mlp": 64,
        "d_vocab": 99,
        "act_fn": "gelu",
        "normalization_type": "LN",
        "device": "cpu",
        "init_weights": True,
        "seed": 0,
        **changed,
    }
    model = HookedTransformer(HookedTransformerConfig(**options), tokenizer=loaded_tokenizer())
    return _noisy(model)


def _noisy(model):
    """Give every parameter numbers of its own: gains of one and biases of zero hide mistakes."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator).to(parameter)
    return model.eval()


def measured(subject, sites):
    return record(subject, Batch.of(Passages(tokens=[IDS[0].numpy()]), [0]), sites)


def by_hooks(model):
    """Gradients at all hook points as TransformerLens itself caches them."""
    _, cache = model.run_with_cache(IDS, return_type="loss", incl_bwd=True)
    return {
        name.removesuffix("_grad"): tensor
        for name, tensor in dict(cache).items()
        if name.endswith("_grad") and tensor is not None
    }


def usable(subject):
    return [site for site in subject.sites.values() if site.problem is None]


def worst(found, expected):
    """The largest difference, as a share of the largest number."""
    if expected.dim() == 4 and expected.shape[1] != found.shape[1]:
        expected = expected.transpose(1, 2)  # heads before positions
    expected = expected.reshape(found.shape).to(found)
    return float((found - expected).abs().max() / expected.abs().max())


def compared_with_hooks(model, subject):
    """Compare every site that is at a hook point; give the difference at each."""
    expected = by_hooks(model)
    hooks = {site.name: hook_at(site, model, expected) for site in usable(subject)}
    hooks = {name: hook for name, hook in hooks.items() if hook is not None}
    tape = measured(subject, [subject.sites[name] for name in hooks])
    return {
        name: worst(tape.gradients[name], expected[hook])
        for name, hook in hooks.items()
        # The one name that means the whole stream to us and, in a bridge, a branch to its cache.
        if kind_of(name) != "resid.mid" or not isinstance(model, TransformerBridge)
    }


def hook_at(site, model, expected):
    """Find the name by which the cache holds what passes at a site, None if it does not."""
    module = model.get_submodule(site.tap.module)
    names = [name for name, hook in model.hook_dict.items() if hook is module]
    if site.tap.side != "output":
        names = []
    return next((name for name in (site.transformer_lens, *names) if name in expected), None)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen3", "gemma2", "gpt_neox"])
def test_gradients_at_the_hooks_of_a_bridge_are_those_that_it_caches(kind):
    bridge, _, _ = a_bridge(kind)
    subject = backlight.subject_from_object(bridge)

    errors = compared_with_hooks(bridge, subject)

    tell(f"bridge {kind}: {len(errors)} hooks, at most {max(errors.values()):.1e}")
    assert len(errors) > 40
    assert max(errors.values()) < 1e-5


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen3", "gemma2", "gpt_neox"])
def test_sites_of_a_bridge_are_those_of_the_model_that_it_was_made_of(kind):
    bridge, plain, tokenizer = a_bridge(kind)
    subject = backlight.subject_from_object(bridge)
    original = backlight.subject_from_transformers(plain, tokenizer)
    shared = [site for site in usable(subject) if site.name in original.sites]

    found = measured(subject, shared)
    expected = measured(original, [original.sites[site.name] for site in shared])

    errors = {
        site.name: worst(found.gradients[site.name], expected.gradients[site.name])
        for site in shared
    }
    tell(f"bridge {kind} and plain: {len(errors)} sites, at most {max(errors.values()):.1e}")
    kinds = {kind_of(site.name) for site in shared if layer_of(site.name) is not None}
    assert {*KINDS} - {"resid.mid"} <= kinds
    assert max(errors.values()) < 1e-5
    assert found.nats == pytest.approx(expected.nats, rel=1e-5)


def test_resid_mid_of_a_bridge_is_the_whole_stream_and_its_hook_the_norm_s_branch():
    bridge, _, _ = a_bridge("llama")
    subject = backlight.subject_from_object(bridge)
    hooks = by_hooks(bridge)
    sites = [subject.sites[f"layers.1.{kind}"] for kind in ("resid.mid", "norm2.in", "resid.post")]

    mid, branch, post = measured(subject, sites).gradients.values()

    assert worst(branch, hooks["blocks.1.hook_resid_mid"]) < 1e-5
    assert worst(mid, hooks["blocks.1.hook_resid_mid"] + hooks["blocks.1.hook_resid_post"]) < 1e-5
    assert worst(mid, branch + post) < 1e-5


@by_hand
@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"normalization_type": "RMS", "positional_embedding_type": "rotary", "gated_mlp": True},
        {"positional_embedding_type": "rotary", "rotary_dim": 8, "n_key_value_heads": 2},
        {"parallel_attn_mlp": True},
        {"use_normalization_before_and_after": True, "normalization_type": "RMS"},
        {"attn_only": True, "normalization_type": None},
    ],
    ids=str,
)
def test_gradients_at_the_hooks_of_a_hooked_transformer_are_those_that_it_caches(changed):
    model = by_hand_model(**changed)
    subject = backlight.subject_from_object(model)

    errors = compared_with_hooks(model, subject)

    tell(f"by hand {changed}: {len(errors)} hooks, at most {max(errors.values()):.1e}")
    assert len(errors) > 20
    assert max(errors.values()) < 1e-5
    assert "wiring" not in subject.facts


@by_hand
def test_sites_of_a_hooked_transformer_have_our_names():
    subject = backlight.subject_from_object(by_hand_model())

    assert subject.wiring == "sequential"
    assert {kind_of(name) for name in subject.sites if name.startswith("layers.1.")} >= {*KINDS}
    assert subject.sites["layers.1.attn.z"].num_heads == 4
    with pytest.raises(UnsupportedSiteError, match=r"blocks\.1\.ln1 .* is used 3 times"):
        measured(subject, [subject.sites["layers.1.norm1.in"]])


@by_hand
def test_folded_weights_are_told():
    model = by_hand_model(init_weights=True)
    plain = backlight.subject_from_object(model)
    model.process_weights_(fold_ln=True, center_writing_weights=True, center_unembed=True)
    folded = backlight.subject_from_object(model)

    assert "note" not in plain.facts
    assert "folded norms into the weights" in folded.facts["note"]
    assert max(compared_with_hooks(model, folded).values()) < 1e-5


def test_surveys_take_a_bridge_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bridge, _, _ = a_bridge("llama")
    options = {"dataset": TEXTS, "max_length": 12, "batch_size": 2}

    by_object = backlight.layers(subject=bridge, **options)
    by_subject = backlight.layers(subject=backlight.subject_from_object(bridge), **options)

    assert (
        by_object.tables["layers"]["mean_abs"].tolist()
        == by_subject.tables["layers"]["mean_abs"].tolist()
    )
    assert backlight.flow(subject=bridge, view="residual", **options).tables["residual"].num_rows
    assert backlight.check(bridge, dataset=TEXTS).is_fine


def test_a_bridge_given_to_the_wrong_door_is_sent_to_the_right_one():
    bridge, _, tokenizer = a_bridge("llama")

    with pytest.raises(ModelError, match=r"backlight\.subject_from_object"):
        backlight.subject_from_transformers(bridge, tokenizer)
