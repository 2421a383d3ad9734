"""From the history of a training run to what is wrong with it: where, since when, and why."""

from backlight.training.symptoms.catalogue import SYMPTOMS, Symptom
from backlight.training.symptoms.diagnosis import diagnose
from backlight.training.symptoms.findings import Diagnosis, Finding, Place, Severity, Verdict

__all__ = [
    "SYMPTOMS",
    "Diagnosis",
    "Finding",
    "Place",
    "Severity",
    "Symptom",
    "Verdict",
    "diagnose",
]
