"""Subjects, passages and finished surveys for the tests of ``backlight flow``."""

from functools import cache

import numpy as np
import torch
from transformers import CONFIG_MAPPING

from backlight.data.batches import Batch, Passages, bucket
from backlight.models.families import find_family
from backlight.models.loading import subject_from_transformers
from backlight.surveys.flow.measure.survey import VIEWS, Flow, survey_flow
from backlight.surveys.flow.tables import flow_tables
from zoo.models import CONFIGS, tiny_model
from zoo.tokenizers import WordTokenizer

LENGTHS = (9, 14, 5, 2, 11, 7)


def _goes_through_the_interface(name):
    model_type, options = CONFIGS[name]
    return find_family(CONFIG_MAPPING[model_type](**options)).attn_interface


TAPPABLE = [name for name in CONFIGS if _goes_through_the_interface(name)]
"""The models whose attention can be seen."""


@cache
def subject_of(name, dtype=torch.float32, **overrides):
    """Load one of the tiny models; nobody changes them."""
    return subject_from_transformers(
        tiny_model(name, dtype, **overrides), WordTokenizer(), name=name
    )


def passages_of(lengths=LENGTHS):
    random = np.random.default_rng(0)
    return Passages(tokens=[random.integers(3, 99, length) for length in lengths])


def batch_of(members=(0, 1, 2)):
    return Batch.of(passages_of(), members)


def fresh(subject, names=tuple(VIEWS), layers=None):
    layers = tuple(range(subject.num_layers)) if layers is None else layers
    return Flow({name: VIEWS[name](subject, layers) for name in names})


def surveyed(subject, names=tuple(VIEWS), *, layers=None, batch_size=3, lengths=LENGTHS, **options):
    passages = passages_of(lengths)
    state = fresh(subject, names, layers)
    batches = bucket(passages, batch_size=batch_size, seed=0)
    for _ in survey_flow(subject, passages, batches, state, **options):
        pass
    return state


def tables_of(state):
    return {table.name: table for table in flow_tables(state)}


def distance(found, expected):
    """Say how far tensors are apart, relative to their size."""
    return float((found.double() - expected.double()).norm() / expected.double().norm())
