from .in_memory import subject_from_object, subject_of
from .subjects import load_subject, subject_from_transformers

__all__ = ["load_subject", "subject_from_object", "subject_from_transformers", "subject_of"]
