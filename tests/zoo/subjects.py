"""Tiny models of every wiring as subjects, and what they read."""

import numpy as np
import torch
from transformers import CONFIG_MAPPING

from backlight.data.batches import Batch, Passages
from backlight.models.loading import subject_from_transformers
from backlight.models.wiring.families import find_family
from backlight.models.wiring.layout import sites_of
from zoo.models import CONFIGS, tiny_model
from zoo.tokenizers import WordTokenizer

LENGTHS = (9, 14, 5, 2, 11, 7)


def subject_of(name="llama", dtype=torch.float32, **overrides):
    """Load one of the tiny models of ``zoo.models``."""
    model = tiny_model(name, dtype, **overrides)
    return subject_from_transformers(model, WordTokenizer(), name=name)


def passages_of(lengths=LENGTHS):
    """Draw passages of given lengths; a longer list begins with the passages of a shorter one."""
    random = np.random.default_rng(0)
    return Passages(tokens=[random.integers(3, 99, length) for length in lengths])


def batch_of(members=(0, 1, 2)):
    return Batch.of(passages_of(), members)


def tappable(subject):
    """List the sites whose gradient can be had by itself: all but the logits."""
    return [site for site in subject.sites.values() if site.tap.side != "logits"]


def sites_of_model(name):
    """List the sites of a model by its configuration alone."""
    model_type, options = CONFIGS[name]
    config = CONFIG_MAPPING[model_type](**options)
    return {site.name: site for site in sites_of(find_family(config), config)}
