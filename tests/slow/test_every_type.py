"""Every decoder type of the installed Transformers: what arithmetic proves of it."""

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError

from backlight.errors import ModelError
from backlight.models.discovery.finding import discover
from backlight.models.discovery.wiring import Layer
from backlight.models.loading.loaded import logits_of
from backlight.models.subject import plain_subject
from zoo.every_type import decoder_types, tiny
from zoo.models import VOCABULARY
from zoo.tokenizers import WordTokenizer

NOT_BUILT = (
    StrictDataclassError,
    AttributeError,
    AssertionError,
    ImportError,
    KeyError,
    TypeError,
    ValueError,
)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_at_least_130_types_are_explained_in_every_block():
    explained = {name for name in decoder_types() if is_explained(name)}
    assert len(explained) >= 130, sorted(explained)


def is_explained(name):
    try:
        model = tiny(name)
        with torch.no_grad():
            model(input_ids=torch.ones(1, 2, dtype=torch.long), use_cache=False)
        subject = plain_subject(model, WordTokenizer(), forward=logits_of(model))
    except (*NOT_BUILT, ModelError):
        return False
    found = discover(subject, VOCABULARY)
    return not isinstance(found, str) and all(isinstance(e, Layer) for e in found.found.layers)
