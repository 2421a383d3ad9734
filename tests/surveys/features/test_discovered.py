"""Dictionaries at sites that were found by arithmetic, in both splices."""

import numpy as np
import pytest
import torch

import backlight
from backlight.models.loading import subject_from_transformers
from backlight.models.modules import subject_from_module
from backlight.models.wiring import families
from backlight.models.wiring.families import family_of
from backlight.surveys.features import figures
from zoo.by_hand import WIDTH, ByHand, Remembering, Turned
from zoo.dictionaries import random_dictionary
from zoo.folders import lines
from zoo.models import tiny_model
from zoo.tokenizers import WordTokenizer


@pytest.fixture(autouse=True)
def _plain(monkeypatch):
    monkeypatch.setattr(figures, "draw", lambda results: iter(()))


def surveyed(subject, width, **options):
    dictionaries = {
        layer: random_dictionary(width, dtype=torch.float32, seed=layer) for layer in (0, 1)
    }
    return backlight.sae(
        subject=subject,
        dictionaries=dictionaries,
        dataset=lines(5),
        max_length=20,
        batch_size=3,
        allow_poor_reconstruction=True,
        aggregation_mode="both",
        **options,
    ).data


def by_hand(kind):
    torch.manual_seed(0)
    return subject_from_module(kind(), WordTokenizer(), name=kind.__name__)


@pytest.mark.parametrize("splice", ["error", "replace"])
@pytest.mark.parametrize("site", ["mlp.out", "resid.post"])
def test_without_the_table_the_numbers_are_the_same(splice, site, monkeypatch):
    model = tiny_model("llama")
    table = subject_from_transformers(model, WordTokenizer())
    expected = surveyed(table, 32, splice=splice, site=site)
    monkeypatch.setattr(families, "FAMILIES", ())
    subject = subject_from_transformers(model, WordTokenizer())
    found = surveyed(subject, 32, splice=splice, site=site)
    assert family_of(model) is None
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize("splice", ["error", "replace"])
def test_the_order_of_axes_between_blocks_changes_no_number(splice):
    plain, turned = (
        surveyed(by_hand(kind), WIDTH, splice=splice, site="mlp.out") for kind in (ByHand, Turned)
    )
    for name, array in plain.items():
        np.testing.assert_allclose(turned[name], array, rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_model_that_cannot_be_run_from_a_block_on_says_what_can_be_done():
    with pytest.raises(
        backlight.errors.UnsupportedSiteError,
        match=r"Block 1 of Remembering needs more than .*use --splice error",
    ):
        surveyed(by_hand(Remembering), WIDTH, splice="replace", site="resid.post")
    assert surveyed(by_hand(Remembering), WIDTH, splice="error", site="resid.post")
