"""Dictionaries of SAELens themselves, in memory: features by backlight are those of SAELens."""

import warnings

import pytest
import torch

import backlight
from neighbours.small import loaded_tokenizer, tell
from zoo.models import tiny_model
from zoo.tokenizers import TEXTS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    sae_lens = pytest.importorskip("sae_lens")

pytestmark = pytest.mark.filterwarnings("ignore")

WIDTH, FEATURES = 32, 96
KINDS = {
    "standard": ("StandardSAE", "StandardSAEConfig", {}),
    "topk": ("TopKSAE", "TopKSAEConfig", {"k": 8}),
    "jumprelu": ("JumpReLUSAE", "JumpReLUSAEConfig", {}),
    "gated": ("GatedSAE", "GatedSAEConfig", {}),
}


def made(kind):
    """Make one with random weights, as SAELens makes them."""
    of, settings, more = KINDS[kind]
    torch.manual_seed(0)
    chosen = getattr(sae_lens, settings)(d_in=WIDTH, d_sae=FEATURES, device="cpu", **more)
    sae = getattr(sae_lens, of)(chosen)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.normal_(std=0.2)
        if kind == "jumprelu":
            sae.threshold.abs_()
    return sae


@pytest.mark.parametrize("kind", KINDS)
def test_features_and_reconstructions_are_those_of_the_object(kind):
    sae = made(kind)
    given = torch.randn(40, WIDTH)

    found = backlight.dictionary_from_object(sae)

    with torch.no_grad():
        expected = sae.encode(given)
        rebuilt = sae.decode(expected)
    codes = found.encode(given)
    ours = found.decode(codes, given)
    error = float((ours - rebuilt).abs().max() / rebuilt.abs().max())
    tell(f"SAELens {kind}: reconstructions within {error:.1e}")
    torch.testing.assert_close(codes.times(torch.eye(FEATURES)), expected, rtol=1e-4, atol=1e-5)
    assert error < 1e-4


def test_a_survey_takes_them_as_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    subject = backlight.subject_from_transformers(tiny_model("llama"), loaded_tokenizer())

    found = backlight.sae(
        subject=subject,
        dictionaries={1: made("standard")},
        site="mlp.out",
        dataset=TEXTS,
        max_length=12,
        allow_poor_reconstruction=True,
        splice="error",
    )

    assert found.statistics["layer_1_mean"].shape == (FEATURES,)
