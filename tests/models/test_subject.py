"""Any module can be a subject; a model that looks ahead cannot."""

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, BertConfig, BertLMHeadModel

from backlight.errors import DeviceError, ModelError, UnsupportedSiteError
from backlight.models.loading import load_subject, subject_from_transformers
from backlight.models.modules import subject_from_module
from backlight.models.proof import probe_tokens, prove_causal
from backlight.models.sites import resolve_sites
from backlight.models.taps import tapping
from backlight.models.unknown.contract import check_module
from backlight.world import CITY_MODEL
from zoo.hubs import SIGN_OF_LIFE, hub
from zoo.models import OUTSIDE_THE_TABLE, tiny_model
from zoo.tokenizers import WordTokenizer


class TinyRecurrent(nn.Module):
    """A causal language model that is no transformer."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(99, 8)
        self.mixer = nn.GRU(8, 8, batch_first=True)
        self.out = nn.Linear(8, 99)

    def forward(self, input_ids):
        return self.out(self.mixer(self.embedding(input_ids))[0])


def test_the_sites_of_any_module_are_its_modules():
    subject = subject_from_module(TinyRecurrent(), WordTokenizer(), name="gru")

    assert list(subject.sites) == ["embedding", "mixer", "out"]
    prove_causal(subject, probe_tokens(subject, 99))


@pytest.mark.parametrize("vocabulary", [2, 3, 4])
def test_a_model_of_very_few_tokens_is_a_model(vocabulary):
    model = TinyRecurrent()
    model.embedding, model.out = nn.Embedding(vocabulary, 8), nn.Linear(8, vocabulary)

    assert not any(
        site.problem for site in subject_from_module(model, WordTokenizer()).sites.values()
    )


@pytest.mark.parametrize("vocabulary", [2, 3])
def test_a_model_of_very_few_tokens_that_looks_ahead_is_refused(vocabulary):
    model = TinyRecurrent()
    model.embedding, model.out = nn.Embedding(vocabulary, 8), nn.Linear(16, vocabulary)
    model.mixer = nn.GRU(8, 8, batch_first=True, bidirectional=True)

    with pytest.raises(ModelError, match="not a causal language model"):
        subject_from_module(model, WordTokenizer())


@pytest.mark.parametrize("thing", ["gpt2", None, len, TinyRecurrent])
def test_what_is_no_module_is_one_sentence(thing):
    with pytest.raises(ModelError, match=r"A torch\.nn\.Module is needed, not a"):
        check_module(thing)


def test_an_unknown_architecture_keeps_module_paths_with_their_widths():
    model = AutoModelForCausalLM.from_config(OUTSIDE_THE_TABLE)

    subject = subject_from_transformers(model, WordTokenizer())

    found = resolve_sites("model.layers.*.mlp", subject.sites)
    assert [(site.name, site.width) for site in found] == [
        ("layers.0.mlp.out", 32),
        ("layers.1.mlp.out", 32),
    ]
    assert subject.sites["model.layers.0.self_attn.query_key_value"].width == 96
    assert subject.head is not None
    assert subject.wiring == "sequential"


def test_a_model_that_looks_ahead_is_refused():
    config = BertConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=64,
        vocab_size=99,
    )
    with pytest.raises(ModelError, match="is not a causal language model: a token's output"):
        subject_from_transformers(BertLMHeadModel(config), WordTokenizer(), name="bert")


@pytest.mark.parametrize(
    ("device", "complaint"),
    [("abacus", "'abacus' is no device"), ("cuda:7", "no device 'cuda:7' here; there is cpu")],
)
def test_a_device_that_is_not_there_is_refused_before_anything_is_loaded(device, complaint):
    with pytest.raises(DeviceError, match=complaint):
        load_subject("nowhere/nothing", device=device)


def test_a_folder_that_is_not_there_is_named():
    with pytest.raises(ModelError, match=r"no folder './nowhere'"):
        load_subject("./nowhere", device="cpu")


def test_a_model_that_cannot_be_fetched_is_one_sentence_with_the_remedy():
    with pytest.raises(
        ModelError,
        match=r"'nobody/nothing' is not in the local cache\. The hub is not asked, as "
        r"HF_HUB_OFFLINE is set\. Or name a local folder that holds it, or city or smollm2\.",
    ):
        load_subject("nobody/nothing", device="cpu")


def test_a_hub_that_cannot_be_reached_is_not_asked_for_a_model_file_by_file(monkeypatch):
    with (
        hub(monkeypatch, b"") as asked,
        pytest.raises(ModelError, match=r"not in the local cache\. The hub .* cannot be reach"),
    ):
        load_subject("nobody/nothing", device="cpu")

    assert asked[:2] == [SIGN_OF_LIFE] * 2
    assert not any("nobody" in each for each in asked)


def test_the_shipped_model_has_the_name_in_python_that_commands_know():
    subject = load_subject("city", device="cpu")

    there = load_subject(CITY_MODEL / "final", device="cpu")
    assert subject.name == "city"
    assert subject.facts == there.facts


def test_logits_cannot_be_tapped_and_the_message_says_where_to_look():
    subject = subject_from_transformers(tiny_model("llama"), WordTokenizer())

    with (
        pytest.raises(UnsupportedSiteError, match=r"Ask for final_norm\.out"),
        tapping(subject, [subject.sites["logits"]], lambda site, tensor: tensor),
    ):
        subject.forward(torch.arange(5)[None])


def test_queries_of_a_model_with_its_own_attention_cannot_be_tapped():
    subject = subject_from_transformers(tiny_model("bloom"), WordTokenizer())

    with (
        pytest.raises(UnsupportedSiteError, match=r"does not go through .* attention interface"),
        subject.tap_attention(lambda call: (call.query, call.key, call.value)),
    ):
        pass
