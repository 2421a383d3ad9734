"""Models of nnsight themselves: gradients by backlight are those of its own traces."""

import warnings

import pytest
import torch

import backlight
from backlight.capture.record import record
from backlight.data.batches import Batch, Passages
from neighbours.small import loaded_tokenizer, tell
from zoo.models import tiny_model
from zoo.tokenizers import TEXTS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    nnsight = pytest.importorskip("nnsight")

pytestmark = pytest.mark.filterwarnings("ignore")

IDS = torch.tensor([[5, 9, 3, 40, 7, 21, 8, 11, 90]])


def by_traces(model):
    """Gradients at what layers, attention and MLPs give, as nnsight hands them out."""
    with model.trace(IDS, labels=IDS, use_cache=False):
        outputs = []
        for layer in model.model.layers:
            outputs.append(layer.self_attn.output[0].requires_grad_())
            outputs.append(layer.mlp.output)
            outputs.append(layer.output)
        with model.output.loss.backward():
            gradients = nnsight.save([output.grad for output in reversed(outputs)])
    return gradients[::-1]


def measured(subject, names):
    sites = [subject.sites[name] for name in names]
    tape = record(subject, Batch.of(Passages(tokens=[IDS[0].numpy()]), [0]), sites)
    return [tape.gradients[name] for name in names]


def test_gradients_of_a_language_model_are_those_of_its_traces():
    model = nnsight.LanguageModel(tiny_model("llama"), tokenizer=loaded_tokenizer())
    names = [
        f"layers.{layer}.{kind}"
        for layer in range(3)
        for kind in ("attn.out", "mlp.out", "resid.post")
    ]
    expected = by_traces(model)

    found = measured(backlight.subject_from_object(model), names)

    errors = [
        float((ours - theirs.reshape(ours.shape)).abs().max() / theirs.abs().max())
        for ours, theirs in zip(found, expected, strict=True)
    ]
    tell(f"nnsight: {len(errors)} sites, at most {max(errors):.1e}")
    assert max(errors) < 1e-5


def test_a_model_that_is_not_loaded_yet_is_loaded_and_measured(tmp_path):
    original = tiny_model("llama")
    original.save_pretrained(tmp_path)
    model = nnsight.LanguageModel(str(tmp_path), tokenizer=loaded_tokenizer())
    assert not model.dispatched

    subject = backlight.subject_from_object(model)

    assert model.dispatched
    assert subject.name == str(tmp_path)
    plain = backlight.subject_from_transformers(original, loaded_tokenizer())
    names = [name for name, site in plain.sites.items() if site.tap.side != "logits"]
    for ours, theirs in zip(measured(subject, names), measured(plain, names), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-9)


def test_surveys_take_a_language_model_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = nnsight.LanguageModel(tiny_model("llama"), tokenizer=loaded_tokenizer())

    found = backlight.layers(subject=model, dataset=TEXTS, max_length=12, batch_size=2)

    assert found.tables["layers"].num_rows == 3
    assert backlight.check(model, dataset=TEXTS).is_fine
    by_traces(model)  # nnsight goes on working
