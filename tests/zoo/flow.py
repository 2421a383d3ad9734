"""Subjects, passages and finished surveys for the tests of ``backlight flow``."""

from functools import cache

from transformers import CONFIG_MAPPING

from backlight.data.batches import bucket
from backlight.models.wiring.families import find_family
from backlight.surveys.flow.measure.survey import VIEWS, Flow, survey_flow
from backlight.surveys.flow.tables import flow_tables
from zoo import subjects
from zoo.models import CONFIGS
from zoo.subjects import LENGTHS, passages_of


def _goes_through_the_interface(name):
    model_type, options = CONFIGS[name]
    return find_family(CONFIG_MAPPING[model_type](**options)).attn_interface


TAPPABLE = [name for name in CONFIGS if _goes_through_the_interface(name)]
"""The models whose attention can be seen."""

subject_of = cache(subjects.subject_of)
"""Nobody changes these, so each is loaded once."""


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
    """Compute how far tensors are apart, relative to their size."""
    return float((found.double() - expected.double()).norm() / expected.double().norm())
