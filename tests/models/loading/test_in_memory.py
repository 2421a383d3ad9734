"""Objects of other libraries, recognised by their class; the libraries are in tests/neighbours."""

import pytest
import torch
from torch import nn

import backlight
from backlight.errors import ConfigError, ModelError
from backlight.models.loading.objects import library_of
from zoo.models import tiny_model
from zoo.tokenizers import TEXTS, WordTokenizer


def of_library(library, name, **held):
    """Make an object whose class is called as one of a library."""
    base = type(name, (), {"__module__": f"{library}.modeling.some"})
    given = type("OfAUser", (base,), {})()
    vars(given).update(held)
    return given


def language_model(**held):
    settings = {"_module": tiny_model("llama"), "tokenizer": WordTokenizer(), "dispatched": True}
    return of_library("nnsight", "LanguageModel", **{**settings, **held})


@pytest.mark.parametrize(
    ("library", "name", "expected"),
    [
        ("transformer_lens", "HookedTransformer", "TransformerLens"),
        ("transformer_lens", "TransformerBridge", "TransformerLens"),
        ("nnsight", "LanguageModel", "nnsight"),
        ("nnsight", "NNsight", "nnsight"),
        ("nnsight", "VLLM", None),
        ("transformer_lenses", "HookedTransformer", None),
        ("somebody", "LanguageModel", None),
    ],
)
def test_a_class_and_those_made_from_it_are_recognised_by_name(library, name, expected):
    assert library_of(of_library(library, name)) == expected


def test_the_model_inside_a_wrapper_is_measured_with_its_own_tokenizer(place):
    given = language_model()
    plain = backlight.subject_from_transformers(vars(given)["_module"], WordTokenizer())

    subject = backlight.subject_from_object(given, name="mine")
    found = backlight.layers(subject=given, dataset=TEXTS, max_length=12)

    assert (subject.model, subject.name) == (vars(given)["_module"], "mine")
    assert list(subject.sites) == list(plain.sites)
    expected = backlight.layers(subject=plain, dataset=TEXTS, max_length=12)
    assert found.tables["layers"]["norm"].tolist() == expected.tables["layers"]["norm"].tolist()


def test_weights_that_are_not_loaded_yet_are_loaded():
    given = language_model(_module=None, dispatched=False)
    vars(given)["dispatch"] = lambda: vars(given).update(_module=tiny_model("gpt2"))

    assert backlight.subject_from_object(given).facts["model_type"] == "gpt2"


def test_a_subject_is_taken_as_it_is():
    subject = backlight.subject_from_object(tiny_model("llama"), WordTokenizer())

    assert backlight.subject_from_object(subject) is subject
    with pytest.raises(ModelError, match="has its tokenizer and its name already"):
        backlight.subject_from_object(subject, WordTokenizer())


def test_a_module_is_taken_with_its_tokenizer():
    model = nn.Sequential(nn.Embedding(9, 8), nn.Linear(8, 9))

    assert list(backlight.subject_from_object(model, WordTokenizer()).sites) == ["0", "1"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("gpt2", r"builtins\.str is no model that backlight knows\. What is taken: a subject"),
        (torch.zeros(2), r"torch\.Tensor is no model"),
        (of_library("nnsight", "VLLM", tokenizer=1), r"OfAUser is no model that backlight knows"),
        (language_model(_module=3), r"OfAUser is no model that backlight knows"),
        (tiny_model("llama"), r"LlamaForCausalLM has no tokenizer.*subject_from_object\(model, to"),
        (language_model(tokenizer=None), r"OfAUser has no tokenizer"),
        (language_model(tokenizer="gpt2"), r"A tokenizer is needed"),
    ],
    ids=["name", "tensor", "engine", "no module", "plain", "no tokenizer", "wrong tokenizer"],
)
def test_what_is_not_taken_is_told_with_what_is(given, sentence):
    with pytest.raises(ModelError, match=sentence):
        backlight.layers(subject=given, dataset=TEXTS)


def test_a_wrapper_is_sent_on_by_the_door_for_models_of_transformers():
    class HookedTransformer(nn.Module):
        pass

    HookedTransformer.__module__ = "transformer_lens.somewhere"

    with pytest.raises(ModelError, match=r"a model of TransformerLens: give it to backlight\.su"):
        backlight.subject_from_transformers(HookedTransformer(), WordTokenizer())


def test_options_for_loading_have_no_place_beside_an_object():
    with pytest.raises(ConfigError, match="A subject is given, so dtype would have no effect"):
        backlight.layers(subject=language_model(), dataset=TEXTS, dtype="float64")
