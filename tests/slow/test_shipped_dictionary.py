"""The dictionary that comes with the package, on the last play, which it was not learned from."""

import pytest
import torch

from backlight.data.batches import bucket, tokenize
from backlight.data.corpora import RowReader
from backlight.dictionaries.collection import read_dictionary
from backlight.dictionaries.quality import Reconstruction
from backlight.models.loading import load_subject
from backlight.tools.train_sae.activation_store import ActivationStore, store_activations
from backlight.tools.train_sae.recovery import measure_recovery

pytestmark = pytest.mark.slow

NUM_ROWS, NUM_LEARNED_FROM = 7098, 6000


def test_it_explains_most_of_a_play_that_it_has_not_seen():
    subject = load_subject("smollm2", device="cpu")
    rows = RowReader("shakespeare").first(NUM_ROWS).rows
    assert len(rows) == NUM_ROWS
    passages = tokenize(rows[NUM_LEARNED_FROM::20], subject.tokenizer, max_length=128)
    batches = bucket(passages, batch_size=16, seed=0)
    site, gathered = subject.sites["layers.15.mlp.out"], ActivationStore(passages.num_tokens)
    for _ in store_activations(subject, site, passages, batches, gathered, with_first=True):
        pass
    dictionary = read_dictionary("smollm2", dtype=torch.float32, device=torch.device("cpu"))
    x, seen = gathered.values, Reconstruction()
    codes = dictionary.encode(x)

    seen.update(x, dictionary.decode(codes, x), codes, first=gathered.first)
    recovery = measure_recovery(subject, site, dictionary, passages, batches[:2])

    assert seen.result().explained_variance > 0.75
    assert seen.result().l0 < 44
    assert recovery.clean < recovery.spliced < recovery.zeroed
