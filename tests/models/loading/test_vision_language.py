"""Vision-language models from a folder: their text decoder is measured, by itself."""

import pytest
import torch
from transformers import AutoModelForImageTextToText

from backlight.capture.record import record
from backlight.data.batches import Batch, tokenize
from backlight.errors import ModelError
from backlight.models.loading import load_subject
from backlight.objectives.objective import NextToken
from zoo.every_type import tiny_config
from zoo.folders import lines, save_tokenizer


@pytest.fixture(scope="module", params=["llava", "mistral3", "idefics3"])
def folder(request, tmp_path_factory):
    place = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    AutoModelForImageTextToText.from_config(tiny_config(request.param)).save_pretrained(place)
    save_tokenizer(place)
    return place


def test_the_gradients_of_a_vision_language_model_are_those_of_its_loss_on_text(folder):
    subject = load_subject(folder, device="cpu")
    passages = tokenize(lines(4), subject.tokenizer, max_length=12)
    batch = Batch.of(passages, range(len(passages.tokens)))
    sites = [subject.sites[f"layers.{layer}.mlp.contribution"] for layer in (0, 3)]

    tape = record(subject, batch, sites, objective=NextToken())

    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    for site in sites:
        module, kept = model.get_submodule(site.tap.module), []
        handle = module.register_forward_hook(lambda _, __, output, kept=kept: kept.append(output))
        logits = model(input_ids=batch.input_ids, attention_mask=batch.valid.long()).logits
        losses = torch.nn.functional.cross_entropy(
            logits[:, :-1].transpose(1, 2), batch.input_ids[:, 1:], reduction="none"
        )
        means = (losses * batch.valid[:, 1:]).sum(1) / batch.valid[:, 1:].sum(1)
        (gradient,) = torch.autograd.grad(means.sum(), kept)
        handle.remove()
        torch.testing.assert_close(
            tape.gradients[site.name], gradient * batch.valid[..., None], rtol=1e-4, atol=1e-7
        )


def test_a_model_whose_tokens_see_those_to_their_right_is_refused(tmp_path):
    torch.manual_seed(0)
    AutoModelForImageTextToText.from_config(tiny_config("paligemma")).save_pretrained(tmp_path)
    save_tokenizer(tmp_path)

    with pytest.raises(ModelError, match="changes with the tokens to its right"):
        load_subject(tmp_path, device="cpu")
