from .subjects import load_subject, subject_from_transformers

__all__ = ["load_subject", "subject_from_transformers"]
