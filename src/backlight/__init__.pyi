from .commands.layers import layers
from .models.loading import load_subject, subject_from_transformers
from .models.subject import Subject, subject_from_module
from .runs.results import Results, load_results

__all__ = [
    "Results",
    "Subject",
    "layers",
    "load_results",
    "load_subject",
    "subject_from_module",
    "subject_from_transformers",
]
