"""All formats, and which of them a file is in."""

from pathlib import PurePath

from backlight.dictionaries.formats.base import Format
from backlight.dictionaries.formats.dictionary_learning import DictionaryLearning
from backlight.dictionaries.formats.gemma_scope import GemmaScope
from backlight.dictionaries.formats.saelens import SAELens
from backlight.dictionaries.formats.sparsify import Sparsify

FORMATS: tuple[Format, ...] = (SAELens(), DictionaryLearning(), Sparsify(), GemmaScope())


def is_dictionary(file: PurePath) -> bool:
    """Say whether a file has the name of a dictionary's weights in some format."""
    return any(each.recognises(file) for each in FORMATS)


def format_of(file: PurePath) -> Format:
    """Find the format of a file of weights; one that ``is_dictionary`` accepts."""
    return next(each for each in FORMATS if each.recognises(file))
