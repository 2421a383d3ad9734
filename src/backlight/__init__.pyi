from .commands.layers import layers
from .commands.sae import sae
from .models.loading import load_subject, subject_from_transformers
from .models.subject import Subject, subject_from_module
from .runs.results import Results, load_results
from .sae.collection import find_dictionaries, read_dictionary
from .sae.dictionary import Dictionary
from .sae.foreign import dictionary_from_object

__all__ = [
    "Dictionary",
    "Results",
    "Subject",
    "dictionary_from_object",
    "find_dictionaries",
    "layers",
    "load_results",
    "load_subject",
    "read_dictionary",
    "sae",
    "subject_from_module",
    "subject_from_transformers",
]
